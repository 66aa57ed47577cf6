/* Scratch memory that is kept between calls, and the question whether to stop. */
#include "core.h"
#include <stdlib.h>
#include <time.h>

enum { ALIGNMENT = 64 }; /* of the widest vector */

nvp_status nvp_workspace_create(nvp_workspace **workspace) {
    if (!workspace)
        return NVP_ERROR_ARGUMENT;
    *workspace = calloc(1, sizeof **workspace);
    if (!*workspace)
        return NVP_ERROR_MEMORY;
    (*workspace)->n_threads = 1;
    return NVP_OK;
}

void nvp_workspace_destroy(nvp_workspace *workspace) {
    if (!workspace)
        return;
    free(workspace->block);
    free(workspace);
}

void nvp_workspace_set_threads(nvp_workspace *workspace, size_t n_threads) {
    workspace->n_threads = n_threads ? n_threads : 1;
}

/* Starting a thread takes some 20 microseconds, in which a core does about a million multiply-adds. */
#ifndef NVP_WORTH_A_THREAD
#define NVP_WORTH_A_THREAD 5e6
#endif

void nvp_workspace_gather(nvp_workspace *workspace, double work, size_t most) {
    size_t n = workspace->n_threads < most ? workspace->n_threads : most;
    if (work < (double)n * NVP_WORTH_A_THREAD)
        n = (size_t)(work / NVP_WORTH_A_THREAD);
    workspace->team = nvp_team_start(n);
}

void nvp_workspace_dismiss(nvp_workspace *workspace) {
    nvp_team_stop(workspace->team);
    workspace->team = NULL;
}

void nvp_workspace_set_poll(nvp_workspace *workspace, nvp_poll poll, void *context) {
    workspace->poll = poll;
    workspace->poll_context = context;
}

void *nvp_workspace_reserve(nvp_workspace *workspace, size_t size) {
    if (size > SIZE_MAX - ALIGNMENT)
        return NULL;
    if (size + ALIGNMENT > workspace->capacity) {
        void *block = malloc(size + ALIGNMENT);
        if (!block)
            return NULL;
        free(workspace->block);
        workspace->block = block;
        workspace->capacity = size + ALIGNMENT;
    }
    const size_t misaligned = (uintptr_t)workspace->block % ALIGNMENT;
    return (char *)workspace->block + (ALIGNMENT - misaligned);
}

bool nvp_interrupted(nvp_workspace *workspace) {
    if (!workspace->poll)
        return false;
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    const double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    /* Also when the clock was set back. */
    if (seconds >= workspace->polled_at && seconds < workspace->polled_at + 0.05)
        return false;
    workspace->polled_at = seconds;
    const bool stop = workspace->poll(workspace->poll_context) != 0;
    return nvp_team_is_lost(workspace->team) || stop;
}
