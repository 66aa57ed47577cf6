/* The engine in 64-bit precision for any machine that the compiler targets. */
#define NVP_PRECISION 64
#define NVP_ISA "baseline"
#define NVP_ENGINE nvp_engine_f64_baseline
#define NVP_VECTOR_BYTES 16
#include "engine/engine.h"
