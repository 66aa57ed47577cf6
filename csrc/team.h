/* A team of threads. It lives only during one call of the library, so no threads exist at a fork, an exit or an
 * exception. */
#ifndef NVP_TEAM_H
#define NVP_TEAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { NVP_CACHE_LINE = 64 }; /* bytes between variables of different writers, against false sharing */

typedef struct nvp_team nvp_team;
typedef void (*nvp_task)(void *context, size_t worker);

/* Start a team of n workers, or fewer if the system provides fewer threads. The caller is worker 0. NULL: the caller
 * works alone, which is not an error. */
nvp_team *nvp_team_start(size_t n);
void nvp_team_stop(nvp_team *team);

size_t nvp_team_size(const nvp_team *team);

/* For worker 0, after it has called code that may fork. True: this is a forked process, without the threads. The team
 * then consists of the caller alone, and its task must end. */
bool nvp_team_is_forked(nvp_team *team);

/* Run task(context, worker) on every worker, and return when all have finished (fork and join). */
void nvp_team_run(nvp_team *team, nvp_task task, void *context);

/* Within a task: a barrier of all workers. */
void nvp_team_barrier(nvp_team *team, size_t worker);

/* Event counts, Reed and Kanodia (1979), "Synchronization with eventcounts and sequencers": counters that only grow.
 * Wait for a value, first spinning and then parked; advance a counter to a new value. */
void nvp_team_await(nvp_team *team, atomic_size_t *counter, size_t value);
void nvp_team_advance(nvp_team *team, atomic_size_t *counter, size_t value);

#endif
