#include "interrupt.h"
#include <time.h>

double nvp_seconds(void) {
    struct timespec now = {0}; /* stays so without a clock */
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

bool nvp_interrupt_is_due(nvp_interrupt *interrupt) {
    if (!interrupt->poll)
        return false;
    const double seconds = nvp_seconds();
    /* The clock may have been set back. */
    if (seconds >= interrupt->polled_at && seconds < interrupt->polled_at + 0.05)
        return false;
    interrupt->polled_at = seconds;
    return true;
}
