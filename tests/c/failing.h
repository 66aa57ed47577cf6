/* Put before every file of the library: its allocations, threads, reading and writing of files come from faults.c, which can let
 * one of them fail, and threads are worth their start for much less work, so that tests of them are quick. */
#ifndef FAILING_H
#define FAILING_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* as thread.c would have it, had it come first */
#endif
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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

#define malloc test_malloc
#define calloc test_calloc
#define realloc test_realloc
#define pthread_create test_pthread_create
#define fopen test_fopen
#define fread test_fread
#undef ferror
#define ferror test_ferror
#define write test_write
#define fchmod test_fchmod
#define fsync test_fsync
#define close test_close
#define rename test_rename
#define NVP_WORTH_A_THREAD 1e5

#endif
