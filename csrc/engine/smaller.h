/* Optimised for size: on x86-64 hardly any machine takes the baseline, which -O3 makes half as large again and a tenth
 * faster. With -Ofast the pragma would hide what reals.h refuses. */
#if defined(NVP_HAVE_X86_TARGETS) && defined(__OPTIMIZE__) && !defined(__FAST_MATH__) && !defined(__clang__) &&        \
    !defined(NVP_FEW_COPIES)
#pragma GCC optimize("Os")
#endif
