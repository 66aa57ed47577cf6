#if !defined(_WIN32) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include "threads.h"
#include <stdlib.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#include <sched.h>
#include <time.h>
#endif

enum { MOST_WORKERS = 256, LINE = 64 /* bytes, of a cache */ };

/* What one worker alone writes and others wait for has a line of its own. */
typedef struct {
    char apart[LINE];
    atomic_size_t met; /* how often it has come to a meeting, or to the end of a task */
    nvp_team *team;
    size_t number;
#ifdef _WIN32
    HANDLE thread;
#else
    pthread_t thread;
#endif
} worker;

struct nvp_team {
    size_t n_workers;
    char apart[LINE];
    nvp_task task; /* NULL: go home */
    void *context;
    atomic_size_t round; /* of tasks; a worker sees a new one and starts */
    worker workers[];
};

static void relax(size_t waited) {
    if (waited < 40) /* what is waited for is mostly there by then */
        return;
    if (waited < 1024) {
#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
        __builtin_ia32_pause();
#endif
        return;
    }
#ifdef _WIN32
    waited < 4096 ? (void)SwitchToThread() : Sleep(1);
#else
    if (waited < 4096)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
#endif
}

void nvp_wait_for(atomic_size_t *counter, size_t value) {
    for (size_t waited = 0; atomic_load_explicit(counter, memory_order_acquire) < value; waited++)
        relax(waited);
}

/* Returns how often the worker has been somewhere to meet. */
static size_t arrive(worker *self) {
    const size_t met = atomic_load_explicit(&self->met, memory_order_relaxed) + 1;
    atomic_store_explicit(&self->met, met, memory_order_release);
    return met;
}

static void work(worker *self) {
    nvp_team *team = self->team;
    for (size_t round = 1;; round++) {
        nvp_wait_for(&team->round, round);
        if (!team->task)
            return;
        team->task(team->context, self->number);
        arrive(self);
    }
}

#ifdef _WIN32
static DWORD WINAPI start(void *self) {
    work(self);
    return 0;
}
#else
static void *start(void *self) {
    work(self);
    return NULL;
}
#endif

nvp_team *nvp_team_start(size_t n) {
    if (n > MOST_WORKERS)
        n = MOST_WORKERS;
    nvp_team *team = n > 1 ? malloc(sizeof *team + n * sizeof *team->workers) : NULL;
    if (!team)
        return NULL;
    team->n_workers = 1;
    atomic_init(&team->round, 0);
    for (size_t i = 0; i < n; i++) {
        worker *self = &team->workers[i];
        atomic_init(&self->met, 0);
        if (i == 0) /* the caller */
            continue;
        self->team = team;
        self->number = i;
#ifdef _WIN32
        self->thread = CreateThread(NULL, 0, start, self, 0, NULL);
        if (!self->thread)
            break;
#else
        if (pthread_create(&self->thread, NULL, start, self))
            break;
#endif
        team->n_workers = i + 1;
    }
    return team;
}

size_t nvp_team_size(const nvp_team *team) { return team ? team->n_workers : 1; }

static void begin_round(nvp_team *team, nvp_task task, void *context) {
    team->task = task;
    team->context = context;
    const size_t round = atomic_load_explicit(&team->round, memory_order_relaxed) + 1;
    atomic_store_explicit(&team->round, round, memory_order_release);
}

void nvp_team_run(nvp_team *team, nvp_task task, void *context) {
    if (!team) {
        task(context, 0);
        return;
    }
    begin_round(team, task, context);
    task(context, 0);
    nvp_team_meet(team, 0);
}

void nvp_team_meet(nvp_team *team, size_t worker) {
    if (!team)
        return;
    const size_t met = arrive(&team->workers[worker]);
    for (size_t i = 0; i < team->n_workers; i++)
        nvp_wait_for(&team->workers[i].met, met);
}

void nvp_team_stop(nvp_team *team) {
    if (!team)
        return;
    begin_round(team, NULL, NULL);
    for (size_t i = 1; i < team->n_workers; i++) {
#ifdef _WIN32
        WaitForSingleObject(team->workers[i].thread, INFINITE);
        CloseHandle(team->workers[i].thread);
#else
        pthread_join(team->workers[i].thread, NULL);
#endif
    }
    free(team);
}
