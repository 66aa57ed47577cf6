/* Version, memory and statuses of the library. */
#include "nvpflow.h"
#include <stdlib.h>

const char *nvp_version(void) { return NVP_VERSION; }

void nvp_free(void *memory) { free(memory); }

const char *nvp_status_string(nvp_status status) {
    switch (status) {
    case NVP_OK:
        return "success";
    case NVP_ERROR_MEMORY:
        return "out of memory";
    case NVP_ERROR_SIZE:
        return "a size does not fit in memory";
    case NVP_ERROR_ARGUMENT:
        return "an argument is outside of its range";
    case NVP_ERROR_UNSUPPORTED:
        return "NVPFLOW_ISA names an instruction set that is not available here";
    case NVP_ERROR_FILE:
        return "the file cannot be read or written";
    case NVP_ERROR_FORMAT:
        return "this is no whole nvpflow file";
    case NVP_INTERRUPTED:
        return "interrupted";
    case NVP_ERROR_FORKED:
        return "a forked process has no threads of the call that it was forked in";
    case NVP_ERROR_ENSEMBLE:
        return "the file holds an ensemble of flows, which nvp_ensemble_load reads";
    case NVP_ERROR_CATEGORIES:
        return "the file holds a model with columns of categories, whose probabilities this library does not compute";
    }
    return "unknown status";
}
