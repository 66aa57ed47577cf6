#define _POSIX_C_SOURCE 200809L
#include "faults.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

long allocations_left = -1, threads_left = -1, file_calls_left = -1;
size_t largest_allocation, n_faults, n_threads_started;
bool faults_last;

void *test_malloc(size_t size);
void *test_calloc(size_t n, size_t size);
void *test_realloc(void *block, size_t size);
int test_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *context);
FILE *test_fopen(const char *path, const char *mode);
size_t test_fread(void *to, size_t size, size_t n, FILE *file);
int test_ferror(FILE *file);
ssize_t test_write(int descriptor, const void *bytes, size_t n);
int test_fchmod(int descriptor, mode_t mode);
int test_fsync(int descriptor);
int test_close(int descriptor);
int test_rename(const char *from, const char *to);

/* Whether this is the one to fail, or one after it. */
static bool fails(long *left) {
    if (*left != 0) {
        *left -= *left > 0;
        return false;
    }
    *left = faults_last ? 0 : -1;
    n_faults++;
    return true;
}

static bool allocation_fails(size_t size) {
    if (size > largest_allocation)
        largest_allocation = size;
    return fails(&allocations_left);
}

void *test_malloc(size_t size) { return allocation_fails(size) ? NULL : malloc(size); }
void *test_calloc(size_t n, size_t size) { return allocation_fails(n * size) ? NULL : calloc(n, size); }
void *test_realloc(void *block, size_t size) { return allocation_fails(size) ? NULL : realloc(block, size); }

int test_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *context) {
    if (fails(&threads_left))
        return EAGAIN;
    n_threads_started++;
    return pthread_create(thread, attributes, start, context);
}

static bool file_call_fails(void) {
    const bool fail = fails(&file_calls_left);
    if (fail)
        errno = EIO;
    return fail;
}

static FILE *broken; /* of which a read has failed */

FILE *test_fopen(const char *path, const char *mode) {
    broken = NULL; /* a new file may have its address */
    return file_call_fails() ? NULL : fopen(path, mode);
}
size_t test_fread(void *to, size_t size, size_t n, FILE *file) {
    broken = file_call_fails() ? file : NULL;
    return broken ? 0 : fread(to, size, n, file);
}
int test_ferror(FILE *file) { return broken == file ? 1 : ferror(file); }

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
