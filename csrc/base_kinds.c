#include "base_kinds.h"
#include "reals.h"

#define N_COMPONENTS                                                                                                   \
    {.name = "n_components",                                                                                           \
     .form = NVP_COUNT,                                                                                                \
     .offset = offsetof(nvp_base_config, n_components),                                                                \
     .least = 1,                                                                                                       \
     .most = SIZE_MAX}

#define N_INDICATORS                                                                                                   \
    {.name = "n_indicators", .form = NVP_ADDED, .offset = offsetof(nvp_base_config, n_indicators), .most = SIZE_MAX}

#define PERIODS {.name = "periods", .form = NVP_REALS, .offset = offsetof(nvp_base_config, periods)}

static bool circular_is_valid(nvp_dtype dtype, size_t dim, const nvp_base_config *config) {
    return nvp_are_periods(dtype, dim, config->periods);
}

_Static_assert(sizeof(nvp_base_kind) == sizeof(int), "choices are ints");

const nvp_base_traits nvp_base_kinds[NVP_N_BASE_KINDS] = {
    [NVP_STANDARD_NORMAL] = {.name = "standard_normal", .version = 1},
    [NVP_MIXTURE] = {"mixture", 2, {N_COMPONENTS}, false, NULL},
    [NVP_CONDITIONAL_MIXTURE] = {"conditional_mixture", NVP_FIRST_WITH_KIND, {N_COMPONENTS, N_INDICATORS}, true, NULL},
    [NVP_CIRCULAR] = {"circular", NVP_FIRST_WITH_KIND, {PERIODS}, false, circular_is_valid},
    [NVP_STUDENT_T] = {.name = "student_t", .version = NVP_FIRST_WITH_KIND},
};
