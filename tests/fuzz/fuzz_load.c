/* Fuzzes nvp_flow_load_bytes and nvp_ensemble_load_bytes: a status, or a model that works.
 *
 * Most files with a changed byte would fail their checksums. So after most mutations these are made right again, and
 * half of the mutations change a number of an array. */
#include "model_works.h"
#include "bytes.h"
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t most);

static void check_status(nvp_status status, const void *model, const void *params) {
    MUST(status == NVP_OK || status == NVP_ERROR_FORMAT || status == NVP_ERROR_ENSEMBLE);
    MUST((status == NVP_OK) == (model != NULL) && (status == NVP_OK) == (params != NULL));
}

static void ensemble_works(const nvp_ensemble *ensemble, const void *params) {
    const nvp_dtype dtype = nvp_ensemble_dtype(ensemble);
    const size_t dim = nvp_ensemble_dim(ensemble), n_context = nvp_ensemble_context_dim(ensemble);
    if (!is_small(dim, n_context, nvp_ensemble_n_parameters(ensemble)))
        return;
    double x[N * MOST_COLUMNS], context[N * MOST_COLUMNS], log_prob[N];
    fill_rows(dtype, dim, false, x);
    fill_rows(dtype, n_context, true, context);
    const void *given = n_context ? context : NULL;
    MUST(nvp_ensemble_log_prob(ensemble, params, N, x, given, log_prob, the_workspace()) == NVP_OK);
    check_log_prob(dtype, log_prob);
    MUST(nvp_ensemble_sample(ensemble, params, 1, N, given, x, NULL, the_workspace()) == NVP_OK);

    void *bytes, *same;
    size_t n;
    nvp_ensemble *twin;
    MUST(nvp_ensemble_save_bytes(ensemble, params, &bytes, &n) == NVP_OK);
    MUST(nvp_ensemble_load_bytes(bytes, n, &twin, &same) == NVP_OK);
    MUST(nvp_ensemble_n_flows(twin) == nvp_ensemble_n_flows(ensemble));
    MUST(memcmp(params, same, nvp_ensemble_n_parameters(ensemble) * size_of_real(dtype)) == 0);
    nvp_free(bytes);
    nvp_free(same);
    nvp_ensemble_destroy(twin);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    nvp_flow *flow;
    nvp_ensemble *ensemble;
    void *params;
    check_status(nvp_flow_load_bytes(bytes, size, &flow, &params), flow, params);
    if (flow)
        flow_works(flow, params);
    nvp_flow_destroy(flow);
    nvp_free(params);
    check_status(nvp_ensemble_load_bytes(bytes, size, &ensemble, &params), ensemble, params);
    if (ensemble)
        ensemble_works(ensemble, params);
    nvp_ensemble_destroy(ensemble);
    nvp_free(params);
    return 0;
}

/* -- right checksums -- */

static size_t get_integer(const uint8_t *bytes, size_t n) {
    size_t value = 0;
    while (n--)
        value = value << 8 | bytes[n];
    return value;
}

static void mend_checksum(uint8_t *bytes, size_t size, const uint8_t *entry_sizes, uint8_t *checksum, size_t local) {
    enum { LOCAL = 30 };
    const size_t content_size = get_integer(entry_sizes, 4);
    if (local > size || size - local < LOCAL)
        return;
    const size_t names = get_integer(bytes + local + 26, 2) + get_integer(bytes + local + 28, 2);
    if (size - local - LOCAL < names || size - local - LOCAL - names < content_size)
        return;
    const uint32_t right = nvp_crc32(bytes + local + LOCAL + names, content_size);
    for (int i = 0; i < 4; i++)
        checksum[i] = (uint8_t)(right >> 8 * i);
}

/* Every entry of the directory gets the checksum of its content. */
static void mend_checksums(uint8_t *bytes, size_t size) {
    enum { ENTRY = 46 };
    for (size_t at = 0; at + ENTRY <= size; at++)
        if (memcmp(bytes + at, "PK\1\2", 4) == 0)
            mend_checksum(bytes, size, bytes + at + 24, bytes + at + 16, get_integer(bytes + at + 42, 4));
}

/* Change a double in the array before a directory entry or the next member: arrays end there. */
static void change_number(uint8_t *bytes, size_t size, unsigned seed) {
    static const double values[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 0.5, -1, 1e30, 0x1p53, INFINITY, NAN};
    size_t n_ends = 0, ends[16];
    for (size_t at = 1; at + 4 <= size && n_ends < 16; at++)
        if (memcmp(bytes + at, "PK\3\4", 4) == 0 || memcmp(bytes + at, "PK\1\2", 4) == 0)
            ends[n_ends++] = at;
    if (n_ends == 0)
        return;
    const size_t end = ends[seed % n_ends], back = sizeof *values * (1 + seed / 16 % 64);
    if (back <= end)
        memcpy(bytes + end - back, &values[seed / 1024 % 16], sizeof *values);
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed) {
    if (seed % 2)
        change_number(bytes, size, seed / 2);
    else
        size = LLVMFuzzerMutate(bytes, size, most);
    if (seed % 8)
        mend_checksums(bytes, size);
    return size;
}
