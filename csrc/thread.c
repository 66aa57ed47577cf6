#if !defined(_WIN32) && !defined(_POSIX_C_SOURCE) && !defined(_GNU_SOURCE)
#define _POSIX_C_SOURCE 200809L /* signal masks */
#endif
#include "thread.h"
#include <stddef.h>

#ifdef _WIN32

static DWORD WINAPI run_thread(void *context) {
    nvp_thread *thread = context;
    thread->run(thread->context);
    return 0;
}

bool nvp_thread_start(nvp_thread *thread, void (*run)(void *context), void *context) {
    thread->run = run;
    thread->context = context;
    return (thread->handle = CreateThread(NULL, 0, run_thread, thread, 0, NULL)) != NULL;
}

void nvp_thread_join(nvp_thread *thread) {
    WaitForSingleObject(thread->handle, INFINITE);
    CloseHandle(thread->handle);
}

bool nvp_monitor_init(nvp_monitor *monitor) {
    InitializeSRWLock(&monitor->lock);
    InitializeConditionVariable(&monitor->condition);
    return true;
}
void nvp_monitor_destroy(nvp_monitor *monitor) { (void)monitor; }
void nvp_monitor_enter(nvp_monitor *monitor) { AcquireSRWLockExclusive(&monitor->lock); }
void nvp_monitor_leave(nvp_monitor *monitor) { ReleaseSRWLockExclusive(&monitor->lock); }
void nvp_monitor_wait(nvp_monitor *monitor) {
    SleepConditionVariableSRW(&monitor->condition, &monitor->lock, INFINITE, 0);
}
void nvp_monitor_notify_all(nvp_monitor *monitor) { WakeAllConditionVariable(&monitor->condition); }

void nvp_pause(void) { YieldProcessor(); }

long nvp_process_id(void) { return 0; } /* Windows has no fork */

#else

#include <signal.h>
#include <unistd.h>

static void *run_thread(void *context) {
    nvp_thread *thread = context;
    thread->run(thread->context);
    return NULL;
}

/* Signal handlers may need a large stack, or a lock that the calling thread holds, and a profiler would sample our
 * threads half of the time. But signals that a thread raises by its own fault must be delivered. */
static bool block_signals(sigset_t *old) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    sigset_t others;
    sigfillset(&others);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&others, faults[i]);
    return pthread_sigmask(SIG_BLOCK, &others, old) == 0;
}

bool nvp_thread_start(nvp_thread *thread, void (*run)(void *context), void *context) {
    sigset_t mask;
    thread->run = run;
    thread->context = context;
    if (!block_signals(&mask)) /* the thread inherits it */
        return false;
    const bool started = pthread_create(&thread->handle, NULL, run_thread, thread) == 0;
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return started;
}

void nvp_thread_join(nvp_thread *thread) { pthread_join(thread->handle, NULL); }

bool nvp_monitor_init(nvp_monitor *monitor) {
    if (pthread_mutex_init(&monitor->lock, NULL))
        return false;
    if (pthread_cond_init(&monitor->condition, NULL) == 0)
        return true;
    pthread_mutex_destroy(&monitor->lock);
    return false;
}
void nvp_monitor_destroy(nvp_monitor *monitor) {
    pthread_cond_destroy(&monitor->condition);
    pthread_mutex_destroy(&monitor->lock);
}
void nvp_monitor_enter(nvp_monitor *monitor) { pthread_mutex_lock(&monitor->lock); }
void nvp_monitor_leave(nvp_monitor *monitor) { pthread_mutex_unlock(&monitor->lock); }
void nvp_monitor_wait(nvp_monitor *monitor) { pthread_cond_wait(&monitor->condition, &monitor->lock); }
void nvp_monitor_notify_all(nvp_monitor *monitor) { pthread_cond_broadcast(&monitor->condition); }

void nvp_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb");
#endif
}

long nvp_process_id(void) { return (long)getpid(); }

#endif
