/* All headers from outside of the engine. */
#include "../checked.h"
#include "../coupling.h"
#include "../engine.h"
#include "../normal.h"
#include "../plan.h"
#include "../reals.h"
#include "../rng.h"
#include "../student_t.h"
#include "targets.h"
#if defined(NVP_HAVE_X86_TARGETS) || defined(__SSE2__)
#include <immintrin.h>
#endif
#ifdef __aarch64__
#include <arm_neon.h>
#endif
#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
