#define _POSIX_C_SOURCE 200809L
#include "faults.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

long allocations_left = -1, threads_left = -1, file_calls_left = -1;
size_t largest_allocation, n_threads_started;
bool no_more_threads;

void *test_malloc(size_t size);
void *test_calloc(size_t n, size_t size);
void *test_realloc(void *block, size_t size);
int test_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *context);
ssize_t test_write(int descriptor, const void *bytes, size_t n);
int test_fchmod(int descriptor, mode_t mode);
int test_fsync(int descriptor);
int test_close(int descriptor);
int test_rename(const char *from, const char *to);

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

static bool file_call_fails(void) {
    const bool fails = file_calls_left >= 0 && file_calls_left-- == 0;
    if (fails)
        errno = EIO;
    return fails;
}

/* In pieces, as a system may. */
ssize_t test_write(int descriptor, const void *bytes, size_t n) {
    return file_call_fails() ? -1 : write(descriptor, bytes, n < 1000 ? n : 1000);
}
int test_fchmod(int descriptor, mode_t mode) { return file_call_fails() ? -1 : fchmod(descriptor, mode); }
int test_fsync(int descriptor) { return file_call_fails() ? -1 : fsync(descriptor); }
int test_close(int descriptor) {
    const bool fails = file_call_fails();
    return close(descriptor) == 0 && !fails ? 0 : -1;
}
int test_rename(const char *from, const char *to) { return file_call_fails() ? -1 : rename(from, to); }
