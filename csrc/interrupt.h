/* The question to the caller whether to stop. */
#ifndef NVP_INTERRUPT_H
#define NVP_INTERRUPT_H

#include "nvpflow.h"
#include <stdbool.h>

typedef struct {
    nvp_poll poll; /* NULL: nobody is asked */
    void *context;
    double polled_at; /* seconds */
} nvp_interrupt;

/* Whether 50 ms have passed since the last question; the next one is then due now. */
bool nvp_interrupt_is_due(nvp_interrupt *interrupt);

#endif
