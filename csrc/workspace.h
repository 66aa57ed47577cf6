/* What a call computes with: scratch memory, threads, and whom it asks whether to stop. */
#ifndef NVP_WORKSPACE_H
#define NVP_WORKSPACE_H

#include "interrupt.h"
#include "nvpflow.h"
#include "scratch.h"
#include "threads.h"

struct nvp_workspace {
    nvp_scratch scratch;
    nvp_interrupt interrupt;
    size_t n_threads; /* that a call may use */
    nvp_team *team;   /* of the call under way; NULL: the caller alone */
};

/* Gather a team for a call that has so many multiply-adds to do for no more than so many workers; a small one is done
 * before threads have started. */
void nvp_workspace_gather(nvp_workspace *workspace, double work, size_t most);
void nvp_workspace_dismiss(nvp_workspace *workspace);

/* Whether the poll function asks to stop; it is asked only every 50 ms. */
bool nvp_interrupted(nvp_workspace *workspace);

#endif
