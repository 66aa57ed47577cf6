#include "base_kinds.h"

_Static_assert(sizeof(nvp_base_kind) == sizeof(int), "choices are ints");

const nvp_base_traits nvp_base_kinds[NVP_N_BASE_KINDS] = {
    [NVP_STANDARD_NORMAL] = {.name = "standard_normal", .version = 1},
    [NVP_MIXTURE] = {"mixture",
                     2,
                     {{.name = "n_components",
                       .form = NVP_COUNT,
                       .offset = offsetof(nvp_base_config, n_components),
                       .least = 1,
                       .most = SIZE_MAX}}},
};
