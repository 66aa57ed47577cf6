/* Threads that live as long as one call of the library, so that a fork, an exit or an exception never meets one. */
#ifndef NVP_THREADS_H
#define NVP_THREADS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { NVP_LINE = 64 }; /* bytes of a cache line: what two threads write is that far apart */

typedef struct nvp_team nvp_team;
typedef void (*nvp_task)(void *context, size_t worker);

/* A team of n workers, the caller being worker 0, or of fewer where so many threads are not to be had. NULL: the caller
 * is alone; that is no error. */
nvp_team *nvp_team_start(size_t n);
void nvp_team_stop(nvp_team *team);

size_t nvp_team_size(const nvp_team *team);

/* Worker 0 asks after it has called code that may fork. True: this is a forked process, which has none of the threads;
 * the team is then of the caller alone, and its task must end. */
bool nvp_team_is_lost(nvp_team *team);

/* task(context, worker) on every worker; returns when all are done. */
void nvp_team_run(nvp_team *team, nvp_task task, void *context);

/* Within a task: waits until all workers of the team have come here. */
void nvp_team_meet(nvp_team *team, size_t worker);

/* Between workers of a team, a counter that only grows: waits until it has reached a value, spinning at first and then
 * asleep; and gives it a new one. */
void nvp_team_wait(nvp_team *team, atomic_size_t *counter, size_t value);
void nvp_team_set(nvp_team *team, atomic_size_t *counter, size_t value);

#endif
