/* The engine in 64-bit precision for x86-64 with AVX2 with FMA. */
#include "engine/targets.h"
#ifdef NVP_HAVE_X86_TARGETS
#include "engine/headers.h" /* before the target changes: their inline functions belong to the baseline */
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,prfchw"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,prfchw")
#endif
#define NVP_PRECISION 64
#define NVP_ISA "avx2"
#define NVP_ENGINE nvp_engine_f64_avx2
#define NVP_VECTORS "vec_avx2.inc"
#define NVP_VECTOR_BYTES 32
#include "engine/engine.inc"
#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
