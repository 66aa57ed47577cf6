#if !defined(_WIN32) && !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#define _POSIX_C_SOURCE 200809L /* signal masks */
#endif
#include "threads.h"
#include <stdlib.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#endif

enum { MOST_WORKERS = 256 };

/* -- what differs between the systems: threads, monitors to sleep in until somebody wakes all, a short pause, signals
 * and forks -- */

static void work(void *worker);

#ifdef _WIN32

typedef HANDLE thread;
typedef struct {
    SRWLOCK lock;
    CONDITION_VARIABLE woken;
} monitor;

static DWORD WINAPI start(void *worker) {
    work(worker);
    return 0;
}

static bool start_thread(thread *t, void *worker) {
    return (*t = CreateThread(NULL, 0, start, worker, 0, NULL)) != NULL;
}
static void join_thread(thread t) {
    WaitForSingleObject(t, INFINITE);
    CloseHandle(t);
}

static bool open_monitor(monitor *m) {
    InitializeSRWLock(&m->lock);
    InitializeConditionVariable(&m->woken);
    return true;
}
static void close_monitor(monitor *m) { (void)m; }
static void enter(monitor *m) { AcquireSRWLockExclusive(&m->lock); }
static void leave(monitor *m) { ReleaseSRWLockExclusive(&m->lock); }
static void sleep_in(monitor *m) { SleepConditionVariableSRW(&m->woken, &m->lock, INFINITE, 0); }
static void wake_all(monitor *m) { WakeAllConditionVariable(&m->woken); }
static void relax(void) { YieldProcessor(); }

typedef char signal_mask;
static bool block_signals(signal_mask *old) {
    *old = 0;
    return true;
}
static void restore_signals(const signal_mask *old) { (void)old; }

typedef int process;
static process this_process(void) { return 0; } /* nothing forks */

#else

typedef pthread_t thread;
typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t woken;
} monitor;

static void *start(void *worker) {
    work(worker);
    return NULL;
}

static bool start_thread(thread *t, void *worker) { return pthread_create(t, NULL, start, worker) == 0; }
static void join_thread(thread t) { pthread_join(t, NULL); }

static bool open_monitor(monitor *m) {
    if (pthread_mutex_init(&m->lock, NULL))
        return false;
    if (pthread_cond_init(&m->woken, NULL) == 0)
        return true;
    pthread_mutex_destroy(&m->lock);
    return false;
}
static void close_monitor(monitor *m) {
    pthread_cond_destroy(&m->woken);
    pthread_mutex_destroy(&m->lock);
}
static void enter(monitor *m) { pthread_mutex_lock(&m->lock); }
static void leave(monitor *m) { pthread_mutex_unlock(&m->lock); }
static void sleep_in(monitor *m) { pthread_cond_wait(&m->woken, &m->lock); }
static void wake_all(monitor *m) { pthread_cond_broadcast(&m->woken); }
static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb");
#endif
}

/* A signal of the process is for a thread that expects it: handlers may need much stack or a lock that the caller's
 * thread holds, and a profiler would sample ours half of the time. What a thread brings upon itself must stay. */
typedef sigset_t signal_mask;
static bool block_signals(signal_mask *old) {
    static const int own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    sigset_t others;
    sigfillset(&others);
    for (size_t i = 0; i < sizeof own_faults / sizeof *own_faults; i++)
        sigdelset(&others, own_faults[i]);
    return pthread_sigmask(SIG_BLOCK, &others, old) == 0;
}
static void restore_signals(const signal_mask *old) { pthread_sigmask(SIG_SETMASK, old, NULL); }

typedef pid_t process;
static process this_process(void) { return getpid(); }

#endif

/* -- teams -- */

/* What one worker alone writes and others wait for has a line of its own. */
typedef struct {
    char apart[NVP_LINE];
    atomic_size_t met; /* how often it has come to a meeting, or to the end of a task */
    nvp_team *team;
    size_t number;
    thread thread;
} member;

struct nvp_team {
    size_t n_workers;
    process process; /* whose threads they are */
    char apart[NVP_LINE];
    nvp_task task; /* NULL: go home */
    void *context;
    atomic_size_t round; /* of tasks; a worker sees a new one and starts */
    char apart_too[NVP_LINE];
    atomic_size_t n_asleep; /* of those who wait */
    monitor waiting;
    member workers[];
};

/* What is waited for mostly comes within a microsecond or two. Where it does not, its worker may be waiting for this
 * very core: one who spins on, or yields to whoever else wants to run, can keep it from there for milliseconds. */
enum { LOOKS = 40, PAUSES = 1000 };

static bool has_come(atomic_size_t *counter, size_t value) {
    return atomic_load_explicit(counter, memory_order_acquire) >= value;
}

void nvp_team_wait(nvp_team *team, atomic_size_t *counter, size_t value) {
    for (size_t waited = 0; waited < LOOKS + PAUSES; waited++) {
        if (has_come(counter, value))
            return;
        if (waited >= LOOKS)
            relax();
    }
    enter(&team->waiting);
    /* Either this thread sees the counter's new value, or who sets it sees that this thread is asleep: the two stores
     * and the two loads are sequentially consistent. */
    atomic_fetch_add(&team->n_asleep, 1);
    while (atomic_load(counter) < value)
        sleep_in(&team->waiting);
    atomic_fetch_sub(&team->n_asleep, 1);
    leave(&team->waiting);
}

void nvp_team_set(nvp_team *team, atomic_size_t *counter, size_t value) {
    atomic_store(counter, value);
    if (atomic_load(&team->n_asleep) == 0)
        return;
    enter(&team->waiting);
    wake_all(&team->waiting);
    leave(&team->waiting);
}

/* Returns how often the worker has been somewhere to meet. */
static size_t arrive(member *self) {
    const size_t met = atomic_load_explicit(&self->met, memory_order_relaxed) + 1;
    nvp_team_set(self->team, &self->met, met);
    return met;
}

static void work(void *context) {
    member *self = context;
    nvp_team *team = self->team;
    for (size_t round = 1;; round++) {
        nvp_team_wait(team, &team->round, round);
        if (!team->task)
            return;
        team->task(team->context, self->number);
        arrive(self);
    }
}

/* Start up to n - 1 threads; the caller is worker 0. */
static void start_workers(nvp_team *team, size_t n) {
    signal_mask callers;
    team->n_workers = 1;
    if (!block_signals(&callers)) /* threads inherit the mask */
        return;
    while (team->n_workers < n && start_thread(&team->workers[team->n_workers].thread, &team->workers[team->n_workers]))
        team->n_workers++;
    restore_signals(&callers);
}

static void discard(nvp_team *team) {
    close_monitor(&team->waiting);
    free(team);
}

nvp_team *nvp_team_start(size_t n) {
    if (n > MOST_WORKERS)
        n = MOST_WORKERS;
    nvp_team *team = n > 1 ? malloc(sizeof *team + n * sizeof *team->workers) : NULL;
    if (!team)
        return NULL;
    if (!open_monitor(&team->waiting)) {
        free(team);
        return NULL;
    }
    team->process = this_process();
    atomic_init(&team->round, 0);
    atomic_init(&team->n_asleep, 0);
    for (size_t i = 0; i < n; i++) {
        member *self = &team->workers[i];
        self->team = team;
        self->number = i;
        atomic_init(&self->met, 0);
    }
    start_workers(team, n);
    if (team->n_workers > 1)
        return team;
    discard(team); /* a caller alone is no team */
    return NULL;
}

size_t nvp_team_size(const nvp_team *team) { return team ? team->n_workers : 1; }

bool nvp_team_is_lost(nvp_team *team) {
    if (!team || team->process == this_process())
        return false;
    if (team->n_workers > 1) {
        /* Nobody is left who could come, be asleep, or leave the monitor. */
        team->n_workers = 1;
        atomic_store(&team->n_asleep, 0);
        open_monitor(&team->waiting);
    }
    return true;
}

static void begin_round(nvp_team *team, nvp_task task, void *context) {
    team->task = task;
    team->context = context;
    const size_t round = atomic_load_explicit(&team->round, memory_order_relaxed) + 1;
    nvp_team_set(team, &team->round, round);
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
        nvp_team_wait(team, &team->workers[i].met, met);
}

void nvp_team_stop(nvp_team *team) {
    if (!team)
        return;
    begin_round(team, NULL, NULL);
    for (size_t i = 1; i < team->n_workers; i++)
        join_thread(team->workers[i].thread);
    discard(team);
}
