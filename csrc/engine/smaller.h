/* Optimised for less code: on x86-64 hardly any machine takes the baseline, and -O3 unrolls it to a fifth more. With
 * -Ofast the pragma would hide what reals.h refuses. */
#if defined(NVP_HAVE_X86_TARGETS) && defined(__OPTIMIZE__) && !defined(__FAST_MATH__) && !defined(__clang__) &&        \
    !defined(NVP_FEW_COPIES)
#pragma GCC optimize("O2")
#endif
