/* Which instruction sets the compiler can target besides the one it was told to. */
#ifndef NVP_TARGETS_H
#define NVP_TARGETS_H

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define NVP_HAVE_X86_TARGETS 1
#endif

/* The name of the instruction set that it was told to target. */
#ifdef __aarch64__
#define NVP_BASELINE "neon"
#else
#define NVP_BASELINE "baseline"
#endif

#endif
