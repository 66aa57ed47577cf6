/* A team of threads that lives as long as one call of the library, so that a fork, an exit or an exception never meets
 * a thread. */
#ifndef NVP_TEAM_H
#define NVP_TEAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { NVP_CACHE_LINE = 64 }; /* bytes; variables of different writers are that far apart: no false sharing */

typedef struct nvp_team nvp_team;
typedef void (*nvp_task)(void *context, size_t worker);

/* A team of n workers, of which the caller is worker 0, or of fewer if the system gives fewer threads. NULL, which is
 * no error: the caller works alone. */
nvp_team *nvp_team_start(size_t n);
void nvp_team_stop(nvp_team *team);

size_t nvp_team_size(const nvp_team *team);

/* For worker 0, after it has called code that may fork. True: this is a forked process, which has none of the threads;
 * the team then consists of the caller, and its task must end. */
bool nvp_team_is_forked(nvp_team *team);

/* Run task(context, worker) on every worker, and return when all have finished (fork and join). */
void nvp_team_run(nvp_team *team, nvp_task task, void *context);

/* Within a task: a barrier of all workers. */
void nvp_team_barrier(nvp_team *team, size_t worker);

/* Event counts, Reed and Kanodia (1979), "Synchronization with eventcounts and sequencers": counters that only grow.
 * Await a value, spinning at first and then parked; advance a counter to a new value. */
void nvp_team_await(nvp_team *team, atomic_size_t *counter, size_t value);
void nvp_team_advance(nvp_team *team, atomic_size_t *counter, size_t value);

#endif
