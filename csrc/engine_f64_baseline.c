/* The engine in 64-bit precision for any machine that the compiler targets; on 64-bit ARM that means NEON. */
#include "engine/targets.h"
#include "engine/smaller.h"
#define NVP_PRECISION 64
#define NVP_ISA NVP_BASELINE
#define NVP_ENGINE nvp_engine_f64_baseline
#define NVP_VECTORS NVP_BASELINE_VECTORS
#define NVP_VECTOR_BYTES 16
#include "engine/engine.inc"
