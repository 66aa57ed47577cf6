#include "workspace.h"
#include <stdlib.h>

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
    nvp_scratch_free(&workspace->scratch);
    nvp_scratch_free(&workspace->members);
    nvp_scratch_free(&workspace->model);
    free(workspace);
}

void nvp_workspace_set_threads(nvp_workspace *workspace, size_t n_threads) {
    workspace->n_threads = n_threads ? n_threads : 1;
}

/* Starting a thread takes about 20 microseconds, in which a core does about a million multiply-adds. */
#ifndef NVP_WORTH_A_THREAD
#define NVP_WORTH_A_THREAD 5e6
#endif

void nvp_workspace_start_team(nvp_workspace *workspace, double multiply_adds, size_t max_workers) {
    size_t n = workspace->n_threads < max_workers ? workspace->n_threads : max_workers;
    if (multiply_adds < (double)n * NVP_WORTH_A_THREAD)
        n = (size_t)(multiply_adds / NVP_WORTH_A_THREAD);
    workspace->team = nvp_team_start(n);
}

void nvp_workspace_stop_team(nvp_workspace *workspace) {
    nvp_team_stop(workspace->team);
    workspace->team = NULL;
}

void nvp_workspace_set_poll(nvp_workspace *workspace, nvp_poll poll, void *context) {
    workspace->interrupt.poll = poll;
    workspace->interrupt.context = context;
}

bool nvp_interrupted(nvp_workspace *workspace) {
    nvp_interrupt *interrupt = &workspace->interrupt;
    if (!nvp_interrupt_is_due(interrupt))
        return false;
    const bool stop = interrupt->poll(interrupt->context) != 0;
    return nvp_team_is_forked(workspace->team) || stop;
}
