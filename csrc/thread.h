/* What differs between operating systems: threads, monitors, the processor's pause, process numbers. */
#ifndef NVP_THREAD_H
#define NVP_THREAD_H

#include <stdbool.h>
#ifdef _WIN32
#include <windows.h>
#else
#include <pthread.h>
#endif

/* A thread that runs run(context). The struct must stay where it is until the thread has been joined. */
typedef struct {
#ifdef _WIN32
    HANDLE handle;
#else
    pthread_t handle;
#endif
    void (*run)(void *context);
    void *context;
} nvp_thread;

/* Start a thread to which no signal of the process is delivered. False: the system has none to give. */
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
/* Within the monitor: leave it, sleep until notified, and enter it again. May also return without a reason. */
void nvp_monitor_wait(nvp_monitor *monitor);
void nvp_monitor_notify_all(nvp_monitor *monitor);

/* The hint of a spin loop to the processor. */
void nvp_pause(void);

/* A number that differs between a process and its forks. */
long nvp_process_id(void);

#endif
