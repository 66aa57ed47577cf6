/* The least that a C test needs: count, say where, go on. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

static int n_passed, n_failed;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (condition) {                                                                                               \
            n_passed++;                                                                                                \
        } else {                                                                                                       \
            n_failed++;                                                                                                \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                     \
        }                                                                                                              \
    } while (0)

static int report(void) {
    printf("%d passed, %d failed\n", n_passed, n_failed);
    return n_failed != 0;
}

#endif
