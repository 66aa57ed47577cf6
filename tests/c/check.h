/* The least that a C test needs: count, say where, go on; and run tests by their names. */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* A mixture of n components, or for none N(0, I). */
#define BASE_OF(n)                                                                                                     \
    ((n) ? &(nvp_base_config)NVP_BASE_CONFIG(.kind = NVP_MIXTURE, .n_components = (n)) : (const nvp_base_config *)NULL)

typedef struct {
    const char *name;
    void (*run)(void);
} named_test;

#define TEST(name) {#name, test_##name}
#define RUN_TESTS(tests, n_arguments, arguments)                                                                       \
    run_tests(tests, sizeof(tests) / sizeof *(tests), n_arguments, arguments)

/* The arguments of the program behind "--", or where there is none, none. */
static inline char **own_arguments(int n_arguments, char **arguments) {
    for (int i = 1; i < n_arguments; i++)
        if (strcmp(arguments[i], "--") == 0)
            return arguments + i + 1;
    return arguments + n_arguments;
}

static const named_test *find_test(const named_test *tests, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(tests[i].name, name) == 0)
            return &tests[i];
    return NULL;
}

/* `program [--list] [name...] [-- argument...]`: those tests, or all; the exit status. */
static int run_tests(const named_test *tests, size_t n, int n_arguments, char **arguments) {
    bool named = false;
    for (int i = 1; i < n_arguments && strcmp(arguments[i], "--") != 0; i++) {
        const named_test *test = find_test(tests, n, arguments[i]);
        if (strcmp(arguments[i], "--list") == 0) {
            for (size_t k = 0; k < n; k++)
                printf("%s\n", tests[k].name);
            return EXIT_SUCCESS;
        }
        if (!test) {
            fprintf(stderr, "there is no test %s; --list shows them\n", arguments[i]);
            return 2;
        }
        named = true;
        test->run();
    }
    for (size_t i = 0; i < n && !named; i++)
        tests[i].run();
    printf("%d passed, %d failed\n", n_passed, n_failed);
    return n_failed != 0;
}

#endif
