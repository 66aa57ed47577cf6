/* Instruction sets that the compiler can target besides its default. */
#ifndef NVP_TARGETS_H
#define NVP_TARGETS_H

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define NVP_HAVE_X86_TARGETS 1
#endif

/* The compiler's default instruction set: its name, and its vectors of 16 bytes. */
#if defined(__aarch64__)
#define NVP_BASELINE "neon"
#define NVP_BASELINE_VECTORS "vec_neon.inc"
#elif defined(__SSE2__)
#define NVP_BASELINE "baseline"
#define NVP_BASELINE_VECTORS "vec_sse2.inc"
#else
#define NVP_BASELINE "baseline"
#define NVP_BASELINE_VECTORS "vec_portable.inc"
#endif

#endif
