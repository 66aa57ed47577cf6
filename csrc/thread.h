/* Functions that depend on the operating system: threads, monitors, the pause in spin loops, process numbers. */
#ifndef NVP_THREAD_H
#define NVP_THREAD_H

#include <stdbool.h>
#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#endif

/* A thread that runs run(context). The struct must not move until the thread has been joined. */
typedef struct {
#ifdef _WIN32
    HANDLE handle;
#else
    pthread_t handle;
#endif
    void (*run)(void *context);
    void *context;
} nvp_thread;

/* Start a thread that receives no signals of the process. False: the system provides none. */
bool nvp_thread_start(nvp_thread *thread, void (*run)(void *context), void *context);
void nvp_thread_join(nvp_thread *thread);

/* A lock with a condition variable. */
typedef struct {
#ifdef _WIN32
    SRWLOCK lock;
    CONDITION_VARIABLE condition;
#else
    pthread_mutex_t lock;
    pthread_cond_t condition;
#endif
} nvp_monitor;

bool nvp_monitor_init(nvp_monitor *monitor);
void nvp_monitor_destroy(nvp_monitor *monitor);
void nvp_monitor_enter(nvp_monitor *monitor);
void nvp_monitor_leave(nvp_monitor *monitor);
/* Within the monitor: leave it, sleep until notified, and enter it again. Spurious wakeups are possible. */
void nvp_monitor_wait(nvp_monitor *monitor);
void nvp_monitor_notify_all(nvp_monitor *monitor);

/* The hint of a spin loop to the processor. */
void nvp_pause(void);

/* A number that differs between a process and its children. */
long nvp_process_id(void);

#endif
