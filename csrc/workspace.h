/* The resources of a call: scratch memory, threads, the poll function. */
#ifndef NVP_WORKSPACE_H
#define NVP_WORKSPACE_H

#include "interrupt.h"
#include "nvpflow.h"
#include "scratch.h"
#include "team.h"

struct nvp_workspace {
    nvp_scratch scratch;
    nvp_scratch members; /* what an ensemble keeps while its members compute */
    nvp_scratch model;   /* what a model keeps while its ensemble computes */
    nvp_interrupt interrupt;
    size_t n_threads; /* upper bound for a call */
    nvp_team *team;   /* of the present call; NULL: the caller alone */
};

/* Start a team for a call. Small calls get none, because they would end before the threads have started. */
void nvp_workspace_start_team(nvp_workspace *workspace, double multiply_adds, size_t max_workers);
void nvp_workspace_stop_team(nvp_workspace *workspace);

/* Whether the poll function asks to stop. It is called at most every 50 ms. */
bool nvp_interrupted(nvp_workspace *workspace);

#endif
