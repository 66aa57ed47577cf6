/* Fuzzes nvp_flow_decode. What it accepts must compute, encode to numbers that it accepts again, and save.
 *
 * A byte of the input stands for a number: small ones for themselves, some for odd numbers, and the last one for the
 * double in the eight bytes behind it. The first byte chooses how large the parameters are. */
#include "model_works.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const double odd[] = {-1,     0.5,    0.7,       3.5,      100,    -3,     1e-5,   1e-30,  1e5,
                             1e30,   1e-200, 1e200,     0x1p15,   0x1p31, 0x1p32, 0x1p52, 0x1p53, 0x1p63,
                             0x1p64, 1e300,  -INFINITY, INFINITY, NAN,    -0.0,   6.25};
static const double factors[] = {1, 0, 1, 30, -1e3, 1e12, 1e37, 1e300};
enum { N_ODD = sizeof odd / sizeof *odd, FIRST_ODD = 255 - N_ODD, MOST = 400 };

static size_t read_numbers(const uint8_t *bytes, size_t size, double *numbers) {
    size_t n = 0;
    for (size_t at = 0; at < size && n < MOST; n++) {
        const uint8_t byte = bytes[at++];
        numbers[n] = byte < FIRST_ODD ? (double)byte : byte < 255 ? odd[byte - FIRST_ODD] : 0;
        if (byte == 255 && size - at >= sizeof *numbers) {
            memcpy(&numbers[n], bytes + at, sizeof *numbers);
            at += sizeof *numbers;
        }
    }
    return n;
}

static void works_with_parameters(const nvp_flow *flow, double factor) {
    const nvp_dtype dtype = nvp_flow_dtype(flow);
    double params[MOST_PARAMETERS + 1];
    nvp_flow_initialize(flow, 1, params);
    for (size_t i = 0; i < nvp_flow_n_parameters(flow); i++) {
        const double value = get_real(dtype, params, i) * factor, most = dtype == NVP_FLOAT32 ? 3e38 : 1e308;
        set_real(dtype, params, i, fmax(-most, fmin(value, most)));
    }
    flow_works(flow, params);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    double numbers[MOST];
    nvp_flow *flow;
    if (size == 0)
        return 0;
    const size_t n = read_numbers(bytes + 1, size - 1, numbers);
    const nvp_status status = nvp_flow_decode(&flow, n, numbers);
    MUST(status == NVP_OK || status == NVP_ERROR_ARGUMENT || status == NVP_ERROR_SIZE);
    MUST((status == NVP_OK) == (flow != NULL));
    if (!flow)
        return 0;
    flow_decodes(flow);
    if (is_small(nvp_flow_dim(flow), nvp_flow_context_dim(flow), nvp_flow_n_parameters(flow)))
        works_with_parameters(flow, factors[bytes[0] % 8]);
    nvp_flow_destroy(flow);
    return 0;
}
