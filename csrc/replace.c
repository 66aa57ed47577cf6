/* Atomic replacement of files: written under a temporary name, then renamed. */
#if !defined(_WIN32) && !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#define _POSIX_C_SOURCE 200809L /* files by their descriptors, and symbolic links */
#endif
#include "replace.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

/* The path of `name` in the directory of a path. NULL: no memory. */
static char *beside(const char *path, const char *name) {
    size_t directory = strlen(path);
    while (directory && path[directory - 1] != '/'
#ifdef _WIN32
           && path[directory - 1] != '\\' && path[directory - 1] != ':'
#endif
    )
        directory--;
    const size_t size = strlen(name) + 1;
    char *joined = malloc(directory + size);
    if (joined) {
        memcpy(joined, path, directory);
        memcpy(joined + directory, name, size);
    }
    return joined;
}

enum { ATTEMPTS = 1000 }; /* to find an unused name: a killed process may have left files behind */

/* The name of attempt i of a process. Python's temporary files have other names. */
static char *temporary_name(const char *path, unsigned long process, int i) {
    char name[60];
    snprintf(name, sizeof name, ".nvpflow-%lu-%d", process, i);
    return beside(path, name);
}

#ifdef _WIN32

static bool write_all(HANDLE file, const char *bytes, size_t n) {
    while (n) {
        DWORD written;
        if (!WriteFile(file, bytes, n < 1 << 30 ? (DWORD)n : 1 << 30, &written, NULL))
            return false;
        bytes += written, n -= written;
    }
    return FlushFileBuffers(file) != 0;
}

nvp_status nvp_write_file(const char *path, const void *bytes, size_t n) {
    HANDLE file = INVALID_HANDLE_VALUE;
    char *temporary = NULL;
    for (int i = 0; i < ATTEMPTS && file == INVALID_HANDLE_VALUE; i++) {
        free(temporary);
        temporary = temporary_name(path, GetCurrentProcessId(), i);
        if (!temporary)
            return NVP_ERROR_MEMORY;
        file = CreateFileA(temporary, GENERIC_WRITE, 0, NULL, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
        if (file == INVALID_HANDLE_VALUE && GetLastError() != ERROR_FILE_EXISTS)
            break;
    }
    bool done = false;
    if (file != INVALID_HANDLE_VALUE) {
        const bool written = write_all(file, bytes, n), closed = CloseHandle(file) != 0;
        done =
            written && closed && MoveFileExA(temporary, path, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH) != 0;
        if (!done)
            DeleteFileA(temporary);
    }
    free(temporary);
    return done ? NVP_OK : NVP_ERROR_FILE;
}

#else

#ifndef O_CLOEXEC
#define O_CLOEXEC 0
#endif

/* Write, sync to the disk where the file supports that (pipes do not), and close. */
static bool write_and_close(int descriptor, const char *bytes, size_t n) {
    enum { MOST = 1 << 30 };
    bool done = true;
    while (done && n) {
        const ssize_t written = write(descriptor, bytes, n < MOST ? n : MOST);
        if (written > 0)
            bytes += written, n -= (size_t)written;
        else
            done = written < 0 && errno == EINTR;
    }
    done = done && (fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS);
    return close(descriptor) == 0 && done;
}

/* The target of a symbolic link. NULL: path is not a link, or there is no memory, which sets *status. */
static char *read_link(const char *path, nvp_status *status) {
    for (size_t size = 128;; size *= 2) {
        char *text = malloc(size);
        if (!text) {
            *status = NVP_ERROR_MEMORY;
            return NULL;
        }
        const ssize_t length = readlink(path, text, size);
        if (length >= 0 && (size_t)length < size) {
            text[length] = 0;
            return text;
        }
        free(text);
        if (length < 0)
            return NULL;
    }
}

/* Resolve symbolic links. The last target need not exist. */
static char *follow(const char *path, nvp_status *status) {
    enum { MOST_LINKS = 40 };
    char *place = beside(path, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    if (!place)
        *status = NVP_ERROR_MEMORY;
    for (int i = 0; place; i++) {
        char *text = read_link(place, status);
        if (!text && *status == NVP_OK)
            return place;
        char *next = NULL;
        if (text && i == MOST_LINKS)
            *status = NVP_ERROR_FILE;
        else if (text && !(next = *text == '/' ? beside(text, strrchr(text, '/') + 1) : beside(place, text)))
            *status = NVP_ERROR_MEMORY;
        free(text);
        free(place);
        place = next;
    }
    return NULL;
}

/* The owner, if permitted, comes first: changing it clears bits of the mode. */
static bool keep_owner_and_mode(int descriptor, const struct stat *old) {
    if (fchown(descriptor, old->st_uid, old->st_gid) != 0 && fchown(descriptor, (uid_t)-1, old->st_gid) != 0)
        errno = 0;
    return fchmod(descriptor, old->st_mode & 07777) == 0;
}

/* Sync the new name to the disk, if the directory is readable. */
static void sync_directory(const char *target) {
    char *directory = beside(target, ".");
    const int descriptor = directory ? open(directory, O_RDONLY | O_CLOEXEC) : -1;
    if (descriptor >= 0) {
        fsync(descriptor);
        close(descriptor);
    }
    free(directory);
}

/* `old`: the file to replace, or NULL. */
static nvp_status replace(const char *target, const struct stat *old, const void *bytes, size_t n) {
    int descriptor = -1;
    char *temporary = NULL;
    for (int i = 0; i < ATTEMPTS && descriptor < 0; i++) {
        free(temporary);
        temporary = temporary_name(target, (unsigned long)getpid(), i);
        if (!temporary)
            return NVP_ERROR_MEMORY;
        descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, old ? 0600 : 0666);
        if (descriptor < 0 && errno != EEXIST)
            break;
    }
    bool done = false;
    if (descriptor >= 0) {
        const bool kept = !old || keep_owner_and_mode(descriptor, old);
        done = write_and_close(descriptor, bytes, n) && kept && rename(temporary, target) == 0;
        if (!done)
            unlink(temporary);
    }
    free(temporary);
    if (done)
        sync_directory(target);
    return done ? NVP_OK : NVP_ERROR_FILE;
}

nvp_status nvp_write_file(const char *path, const void *bytes, size_t n) {
    struct stat old;
    const bool exists = stat(path, &old) == 0;
    if (!exists && errno != ENOENT)
        return NVP_ERROR_FILE;
    if (exists && !S_ISREG(old.st_mode)) {
        const int descriptor = open(path, O_WRONLY | O_CLOEXEC);
        return descriptor >= 0 && write_and_close(descriptor, bytes, n) ? NVP_OK : NVP_ERROR_FILE;
    }
    nvp_status status = NVP_OK;
    char *target = follow(path, &status);
    if (target)
        status = replace(target, exists ? &old : NULL, bytes, n);
    free(target);
    return status;
}

#endif
