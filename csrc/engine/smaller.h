/* Optimised for less code: on x86-64 hardly any machine takes the baseline, and -O3 unrolls it to a fifth more. */
#if defined(NVP_HAVE_X86_TARGETS) && defined(__OPTIMIZE__) && !defined(__clang__) && !defined(NVP_FEW_COPIES)
#pragma GCC optimize("O2")
#endif
