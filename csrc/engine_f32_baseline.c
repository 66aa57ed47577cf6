/* The engine in 32-bit precision for any machine that the compiler targets; on 64-bit ARM that means NEON. */
#include "engine/targets.h"
#include "engine/smaller.h"
#define NVP_PRECISION 32
#define NVP_ISA NVP_BASELINE
#define NVP_ENGINE nvp_engine_f32_baseline
#define NVP_VECTORS NVP_BASELINE_VECTORS
#define NVP_VECTOR_BYTES 16
#include "engine/engine.inc"
