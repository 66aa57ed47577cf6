#define _POSIX_C_SOURCE 200809L
#include "faults.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

long allocations_left = -1, threads_left = -1;
size_t largest_allocation, n_threads_started;
bool no_more_threads;

void *test_malloc(size_t size);
void *test_calloc(size_t n, size_t size);
void *test_realloc(void *block, size_t size);
int test_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *context);

static bool allocation_fails(size_t size) {
    if (size > largest_allocation)
        largest_allocation = size;
    return allocations_left >= 0 && allocations_left-- == 0;
}

void *test_malloc(size_t size) { return allocation_fails(size) ? NULL : malloc(size); }
void *test_calloc(size_t n, size_t size) { return allocation_fails(n * size) ? NULL : calloc(n, size); }
void *test_realloc(void *block, size_t size) { return allocation_fails(size) ? NULL : realloc(block, size); }

int test_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *context) {
    if (threads_left == 0) {
        threads_left = no_more_threads ? 0 : -1;
        return EAGAIN;
    }
    if (threads_left > 0)
        threads_left--;
    n_threads_started++;
    return pthread_create(thread, attributes, start, context);
}
