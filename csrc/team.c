#include "team.h"
#include "thread.h"
#include <stdlib.h>

enum { MAX_WORKERS = 256 };

typedef struct {
    char padding[NVP_CACHE_LINE];
    atomic_size_t n_arrivals; /* event count: barriers and ends of tasks that the worker has reached */
    nvp_team *team;
    size_t number;
    nvp_thread thread;
} member;

struct nvp_team {
    size_t n_workers;
    long process; /* the process that has the threads */
    char padding[NVP_CACHE_LINE];
    nvp_task task; /* NULL: end the thread */
    void *context;
    atomic_size_t n_tasks; /* event count: tasks so far */
    char more_padding[NVP_CACHE_LINE];
    atomic_size_t n_parked; /* number of waiting threads that sleep */
    nvp_monitor parking;
    member workers[];
};

/* Spin, then park. Most waits end within two microseconds. In a longer wait, the awaited worker may need this very
 * core. More spinning, or yielding to other processes, could keep it from running for milliseconds. */
enum { SPINS = 40, SPINS_WITH_PAUSE = 1000 };

static bool has_reached(atomic_size_t *counter, size_t value) {
    return atomic_load_explicit(counter, memory_order_acquire) >= value;
}

void nvp_team_await(nvp_team *team, atomic_size_t *counter, size_t value) {
    for (size_t spin = 0; spin < SPINS + SPINS_WITH_PAUSE; spin++) {
        if (has_reached(counter, value))
            return;
        if (spin >= SPINS)
            nvp_pause();
    }
    nvp_monitor_enter(&team->parking);
    /* Either this thread sees the new value of the counter, or the thread that advances it sees a parked thread,
     * because both stores and both loads are sequentially consistent. */
    atomic_fetch_add(&team->n_parked, 1);
    while (atomic_load(counter) < value)
        nvp_monitor_wait(&team->parking);
    atomic_fetch_sub(&team->n_parked, 1);
    nvp_monitor_leave(&team->parking);
}

void nvp_team_advance(nvp_team *team, atomic_size_t *counter, size_t value) {
    atomic_store(counter, value);
    if (atomic_load(&team->n_parked) == 0)
        return;
    nvp_monitor_enter(&team->parking);
    nvp_monitor_notify_all(&team->parking);
    nvp_monitor_leave(&team->parking);
}

/* Return the worker's number of arrivals. */
static size_t arrive(member *self) {
    const size_t n = atomic_load_explicit(&self->n_arrivals, memory_order_relaxed) + 1;
    nvp_team_advance(self->team, &self->n_arrivals, n);
    return n;
}

static void run_tasks(void *context) {
    member *self = context;
    nvp_team *team = self->team;
    for (size_t n = 1;; n++) {
        nvp_team_await(team, &team->n_tasks, n);
        if (!team->task)
            return;
        team->task(team->context, self->number);
        arrive(self);
    }
}

/* Start up to n - 1 threads. The caller is worker 0. */
static void start_threads(nvp_team *team, size_t n) {
    for (team->n_workers = 1; team->n_workers < n; team->n_workers++) {
        member *next = &team->workers[team->n_workers];
        if (!nvp_thread_start(&next->thread, run_tasks, next))
            return;
    }
}

static void discard(nvp_team *team) {
    nvp_monitor_destroy(&team->parking);
    free(team);
}

nvp_team *nvp_team_start(size_t n) {
    if (n > MAX_WORKERS)
        n = MAX_WORKERS;
    nvp_team *team = n > 1 ? malloc(sizeof *team + n * sizeof *team->workers) : NULL;
    if (!team)
        return NULL;
    if (!nvp_monitor_init(&team->parking)) {
        free(team);
        return NULL;
    }
    team->process = nvp_process_id();
    atomic_init(&team->n_tasks, 0);
    atomic_init(&team->n_parked, 0);
    for (size_t i = 0; i < n; i++) {
        member *self = &team->workers[i];
        self->team = team;
        self->number = i;
        atomic_init(&self->n_arrivals, 0);
    }
    start_threads(team, n);
    if (team->n_workers > 1)
        return team;
    discard(team);
    return NULL;
}

size_t nvp_team_size(const nvp_team *team) { return team ? team->n_workers : 1; }

bool nvp_team_is_forked(nvp_team *team) {
    if (!team || team->process == nvp_process_id())
        return false;
    if (team->n_workers > 1) {
        /* No thread is left to arrive, to be parked, or to leave the monitor. */
        team->n_workers = 1;
        atomic_store(&team->n_parked, 0);
        nvp_monitor_init(&team->parking);
    }
    return true;
}

static void begin_task(nvp_team *team, nvp_task task, void *context) {
    team->task = task;
    team->context = context;
    const size_t n = atomic_load_explicit(&team->n_tasks, memory_order_relaxed) + 1;
    nvp_team_advance(team, &team->n_tasks, n);
}

void nvp_team_run(nvp_team *team, nvp_task task, void *context) {
    if (!team) {
        task(context, 0);
        return;
    }
    begin_task(team, task, context);
    task(context, 0);
    nvp_team_barrier(team, 0);
}

void nvp_team_barrier(nvp_team *team, size_t worker) {
    if (!team)
        return;
    const size_t n = arrive(&team->workers[worker]);
    for (size_t i = 0; i < team->n_workers; i++)
        nvp_team_await(team, &team->workers[i].n_arrivals, n);
}

void nvp_team_stop(nvp_team *team) {
    if (!team)
        return;
    begin_task(team, NULL, NULL);
    for (size_t i = 1; i < team->n_workers; i++)
        nvp_thread_join(&team->workers[i].thread);
    discard(team);
}
