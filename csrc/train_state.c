#include "train_state.h"
#include "checked.h"
#include "engine.h"
#include <math.h>
#include <string.h>

enum { HEADER = 128, STATE_ROWS = 5 };
_Static_assert(sizeof(nvp_progress) <= HEADER, "the rows begin behind the progress");

nvp_status nvp_train_state_size(const nvp_flow *flow, size_t *size) {
    size_t row;
    if (!flow || !size)
        return NVP_ERROR_ARGUMENT;
    *size = HEADER;
    return nvp_multiply(flow->n_params, flow->engine->real_size, &row) && nvp_add_product(STATE_ROWS, row, size)
               ? NVP_OK
               : NVP_ERROR_SIZE;
}

nvp_train_state nvp_train_state_at(const nvp_flow *flow, void *memory) {
    const size_t row = flow->n_params * flow->engine->real_size;
    char *rows = (char *)memory + HEADER;
    return (nvp_train_state){.progress = memory,
                             .last = rows,
                             .m = rows + row,
                             .v = rows + 2 * row,
                             .average = rows + 3 * row,
                             .best = rows + 4 * row};
}

void nvp_begin_train_state(const nvp_train_state *state, const nvp_flow *flow, const void *params) {
    const size_t row = flow->n_params * flow->engine->real_size;
    *state->progress = (nvp_progress){
        .begun = true, .best_validation_nll = INFINITY, .best_train_nll = INFINITY, .improved_nll = INFINITY};
    memset(state->m, 0, 2 * row); /* m and v: a call that failed may have left some */
    memcpy(state->average, params, row);
    memcpy(state->best, params, row);
}
