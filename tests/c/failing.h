/* Put before every file of the library: its allocations and threads come from faults.c, which can let one of them fail,
 * and threads are worth their start for much less work, so that tests of them are quick. */
#ifndef FAILING_H
#define FAILING_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* as threads.c would have it, had it come first */
#endif
#include <pthread.h>
#include <stdlib.h>

void *test_malloc(size_t size);
void *test_calloc(size_t n, size_t size);
void *test_realloc(void *block, size_t size);
int test_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *context);

#define malloc test_malloc
#define calloc test_calloc
#define realloc test_realloc
#define pthread_create test_pthread_create
#define NVP_WORTH_A_THREAD 1e5

#endif
