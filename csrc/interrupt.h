/* Rate-limited calls of the caller's poll function. */
#ifndef NVP_INTERRUPT_H
#define NVP_INTERRUPT_H

#include "nvpflow.h"
#include <stdbool.h>

typedef struct nvp_interrupt {
    nvp_poll poll; /* may be NULL */
    void *context;
    double polled_at; /* seconds */
} nvp_interrupt;

/* The time of day in seconds. */
double nvp_seconds(void);

/* Whether 50 ms have passed since the last poll; counts the present moment as the next poll. */
bool nvp_interrupt_is_due(nvp_interrupt *interrupt);

#endif
