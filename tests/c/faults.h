/* What a test says about the allocations and threads of the library (failing.h). */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stddef.h>

extern long allocations_left; /* the one after these fails; -1: none does */
extern size_t largest_allocation;

extern long file_calls_left; /* the same for the calls that read or write a file, */
extern long threads_left;    /* and for threads */
extern bool faults_last;     /* all after it fail as well */
extern size_t n_faults, n_threads_started;

/* Every allocation of the call fails once. For programs that include check.h. */
#define FAIL_EACH(call)                                                                                                \
    do {                                                                                                               \
        long n_allocations = -1;                                                                                       \
        nvp_status status;                                                                                             \
        do {                                                                                                           \
            allocations_left = ++n_allocations;                                                                        \
            status = (call);                                                                                           \
            CHECK(allocations_left < 0 ? status == NVP_ERROR_MEMORY : status == NVP_OK);                               \
        } while (status == NVP_ERROR_MEMORY && n_allocations < 20);                                                    \
        CHECK(n_allocations > 0 && status == NVP_OK);                                                                  \
        allocations_left = -1;                                                                                         \
    } while (0)

#endif
