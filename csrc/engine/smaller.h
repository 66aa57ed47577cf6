/* Optimised for size: the binding, which takes no time, and the baseline. On x86-64 hardly any machine takes that,
 * which -O3 makes half as large again and a tenth faster. With -Ofast the pragma would hide what reals.h refuses. */
#include "targets.h"
#if defined(NVP_HAVE_X86_TARGETS) && defined(__OPTIMIZE__) && !defined(__FAST_MATH__) && !defined(__clang__) &&        \
    !defined(NVP_FEW_COPIES)
#pragma GCC optimize("Os")
#endif
