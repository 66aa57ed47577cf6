/* Put before every file of the library when the tests count its allocations and let one of them fail. */
#ifndef FAILING_MALLOC_H
#define FAILING_MALLOC_H

#define _POSIX_C_SOURCE 200809L /* as threads.c would have it, had it come first */
#include <stdlib.h>

void *test_malloc(size_t size);
void *test_calloc(size_t n, size_t size);

#define malloc test_malloc
#define calloc test_calloc

#endif
