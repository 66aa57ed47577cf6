/* What a test says about the allocations and threads of the library (failing.h). */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stddef.h>

extern long allocations_left; /* the one after these fails; -1: none does */
extern size_t largest_allocation;

extern long file_calls_left; /* the same for the calls that write a file */

extern long threads_left;    /* the same for threads, */
extern bool no_more_threads; /* and all after it fail, too */
extern size_t n_threads_started;

#endif
