#include "interrupt.h"
#include <time.h>

bool nvp_interrupt_is_due(nvp_interrupt *interrupt) {
    if (!interrupt->poll)
        return false;
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    const double seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    /* The clock may have been set back. */
    if (seconds >= interrupt->polled_at && seconds < interrupt->polled_at + 0.05)
        return false;
    interrupt->polled_at = seconds;
    return true;
}
