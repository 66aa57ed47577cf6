/* Optimised for less code: on x86-64 hardly any machine takes the baseline. -O3 makes more than half as much again, and
 * saves a tenth of the time. With -Ofast the pragma would hide what reals.h refuses. */
#if defined(NVP_HAVE_X86_TARGETS) && defined(__OPTIMIZE__) && !defined(__FAST_MATH__) && !defined(__clang__) &&        \
    !defined(NVP_FEW_COPIES)
#pragma GCC optimize("Os")
#endif
