/* Optimised for size: the binding, where no time is spent, and the baseline engines. Hardly any x86-64 machine runs
 * these, which -O3 makes half as large again and a tenth faster. With -Ofast the pragma would hide what reals.h
 * refuses. */
#include "targets.h"
#if defined(NVP_HAVE_X86_TARGETS) && defined(__OPTIMIZE__) && !defined(__FAST_MATH__) && !defined(__clang__) &&        \
    !defined(NVP_FEW_COPIES)
#pragma GCC optimize("Os")
#endif
