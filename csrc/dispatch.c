/* The choice of an engine at run time. */
#include "engine.h"
#include "engine/targets.h"
#include <stdlib.h>
#include <string.h>

extern const nvp_engine nvp_engine_f32_baseline, nvp_engine_f64_baseline;
#ifdef NVP_HAVE_X86_TARGETS
extern const nvp_engine nvp_engine_f32_avx2, nvp_engine_f64_avx2, nvp_engine_f32_avx512, nvp_engine_f64_avx512;

static int has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif
static int always(void) { return 1; }

/* Widest first. */
static const struct {
    const nvp_engine *engines[2]; /* by nvp_dtype */
    int (*runs_here)(void);
} targets[] = {
#ifdef NVP_HAVE_X86_TARGETS
    {{&nvp_engine_f32_avx512, &nvp_engine_f64_avx512}, has_avx512},
    {{&nvp_engine_f32_avx2, &nvp_engine_f64_avx2}, has_avx2},
#endif
    {{&nvp_engine_f32_baseline, &nvp_engine_f64_baseline}, always},
};

enum { N_TARGETS = sizeof targets / sizeof *targets };

const nvp_engine *nvp_choose_engine(nvp_dtype dtype) {
    const char *forced = getenv("NVPFLOW_ISA");
    if (forced && !*forced)
        forced = NULL;
    for (size_t i = 0; i < N_TARGETS; i++) {
        const nvp_engine *engine = targets[i].engines[dtype];
        /* The last one is the baseline, even if it has another name, such as "neon". */
        const int named =
            !forced || !strcmp(forced, engine->isa) || (i == N_TARGETS - 1 && !strcmp(forced, "baseline"));
        if (named && targets[i].runs_here())
            return engine;
    }
    return NULL;
}
