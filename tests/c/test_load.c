/* The loader tested from C on the files that are given: it reads them, and survives whatever is done to their bytes.
 * The library is compiled with -include failing.h. */
#include "check.h"
#include "faults.h"
#include "nvpflow.h"
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 1;
static size_t draw(size_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(state >> 33) % n;
}

typedef struct {
    unsigned char *bytes;
    size_t size;
} content;

static content read_all(const char *path) {
    content whole = {NULL, 0};
    FILE *file = fopen(path, "rb");
    if (!file)
        return whole;
    whole.bytes = malloc(1 << 20);
    whole.size = fread(whole.bytes, 1, 1 << 20, file);
    fclose(file);
    return whole;
}

/* Load a copy that ends where its memory does, so that the sanitizers see a read beyond. */
static nvp_status load_copy(const unsigned char *bytes, size_t n) {
    unsigned char *copy = malloc(n ? n : 1);
    nvp_flow *flow;
    void *params;
    memcpy(copy, bytes, n);
    const nvp_status status = nvp_flow_load_bytes(copy, n, &flow, &params);
    CHECK((status == NVP_OK) == (flow != NULL) && (status == NVP_OK) == (params != NULL));
    nvp_flow_destroy(flow);
    free(params);
    free(copy);
    return status;
}

static void check_loads(const char *path, content whole) {
    nvp_flow *flow, *same;
    void *params, *same_params;
    CHECK(nvp_flow_load(path, &flow, &params) == NVP_OK);
    CHECK(nvp_flow_load_bytes(whole.bytes, whole.size, &same, &same_params) == NVP_OK);
    const size_t n = nvp_flow_n_parameters(flow), size = nvp_flow_dtype(flow) == NVP_FLOAT32 ? 4 : 8;
    CHECK(nvp_flow_n_parameters(same) == n && memcmp(params, same_params, n * size) == 0);
    nvp_flow_destroy(flow);
    nvp_flow_destroy(same);
    free(params);
    free(same_params);
    CHECK(nvp_flow_load("no/such/file", &flow, &params) == NVP_ERROR_FILE && !flow && !params);
}

static void check_truncations(content whole) {
    size_t n_loaded = 0;
    for (size_t n = 0; n < whole.size; n++)
        n_loaded += load_copy(whole.bytes, n) != NVP_ERROR_FORMAT;
    CHECK(n_loaded == 0);
}

/* Where some bytes are in a file for the n-th time; its size if nowhere. */
static size_t find(content whole, const void *bytes, size_t n_bytes, int n) {
    for (size_t i = 0; i + n_bytes <= whole.size; i++)
        if (memcmp(whole.bytes + i, bytes, n_bytes) == 0 && n-- == 0)
            return i;
    return whole.size;
}

/* No byte of the two arrays can change unnoticed. */
static void check_checksums(content whole) {
    static const char *const names[] = {"parameters.npy", "description.npy"};
    size_t n_loaded = 0;
    for (int i = 0; i < 2; i++) {
        size_t at = find(whole, names[i], strlen(names[i]), 0);
        while (at < whole.size && whole.bytes[at] != 0x93) /* the first byte of an array */
            at++;
        CHECK(at < whole.size);
        for (; at < whole.size && memcmp(whole.bytes + at, "PK", 2) != 0; at++) {
            whole.bytes[at] ^= 4;
            n_loaded += load_copy(whole.bytes, whole.size) != NVP_ERROR_FORMAT;
            whole.bytes[at] ^= 4;
        }
    }
    CHECK(n_loaded == 0);
}

/* Flips of bits, bytes of every kind, and pieces copied elsewhere; half of them in the directory, where all sizes are.
 */
static void check_mutations(content whole) {
    enum { ROUNDS = 20000 };
    unsigned char *spoiled = malloc(whole.size);
    const size_t directory = find(whole, "PK\1\2", 4, 0);
    size_t n_refused = 0;
    CHECK(directory < whole.size);
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(spoiled, whole.bytes, whole.size);
        for (size_t k = 1 + draw(3); k-- > 0;) {
            const size_t from = draw(2) ? directory : 0, at = from + draw(whole.size - from);
            static const unsigned char extremes[] = {0, 1, 0x7f, 0x80, 0xff};
            if (draw(3) == 0)
                spoiled[at] ^= (unsigned char)(1u << draw(8));
            else if (draw(2) == 0)
                spoiled[at] = extremes[draw(sizeof extremes)];
            else
                memmove(spoiled + at, whole.bytes + draw(whole.size - 8), whole.size - at < 8 ? whole.size - at : 8);
        }
        const nvp_status status = load_copy(spoiled, whole.size);
        CHECK(status == NVP_OK || status == NVP_ERROR_FORMAT); /* what nobody reads may change: dates, other members */
        n_refused += status == NVP_ERROR_FORMAT;
    }
    CHECK(n_refused > ROUNDS / 4);
    free(spoiled);
}

/* The third version says which base it is, and is written for none of the first two. */
static void check_third_version(const double *second, size_t n) {
    double numbers[40], *encoded;
    size_t n_encoded;
    nvp_flow *flow;
    numbers[0] = 3;
    memcpy(numbers + 1, second + 1, 3 * sizeof *second);
    numbers[4] = NVP_MIXTURE;
    memcpy(numbers + 5, second + 4, (n - 4) * sizeof *second);
    CHECK(nvp_flow_decode(&flow, n + 1, numbers) == NVP_OK);
    CHECK(nvp_flow_base_kind(flow) == NVP_MIXTURE && nvp_flow_n_components(flow) == 4);
    CHECK(nvp_flow_encode(flow, &n_encoded, &encoded) == NVP_OK);
    CHECK(n_encoded == n && memcmp(encoded, second, n * sizeof *second) == 0);
    nvp_free(encoded);
    nvp_flow_destroy(flow);
    numbers[5] = 0; /* a mixture of none is no longer another base */
    CHECK(nvp_flow_decode(&flow, n + 1, numbers) == NVP_ERROR_ARGUMENT && !flow);
    numbers[4] = NVP_N_BASE_KINDS;
    CHECK(nvp_flow_decode(&flow, n + 1, numbers) == NVP_ERROR_ARGUMENT && !flow);
    numbers[4] = NVP_STANDARD_NORMAL;
    memcpy(numbers + 5, second + 5, (n - 5) * sizeof *second);
    CHECK(nvp_flow_decode(&flow, n, numbers) == NVP_OK);
    CHECK(nvp_flow_base_kind(flow) == NVP_STANDARD_NORMAL && nvp_flow_n_components(flow) == 0);
    CHECK(nvp_flow_encode(flow, &n_encoded, &encoded) == NVP_OK && n_encoded == n - 1 && encoded[0] == 1);
    nvp_free(encoded);
    nvp_flow_destroy(flow);
}

/* A flow of more columns than there is memory for is still a short list of numbers. */
static void check_many_columns(void) {
    static const double act_norm[] = {1, 0, 0x1p52, 0, 1, 1};
    enum { N = sizeof act_norm / sizeof *act_norm };
    double *encoded;
    size_t n;
    nvp_flow *flow;
    CHECK(nvp_flow_decode(&flow, N, act_norm) == NVP_OK);
    CHECK(nvp_flow_encode(flow, &n, &encoded) == NVP_OK && n == N);
    CHECK(n == N && memcmp(encoded, act_norm, sizeof act_norm) == 0);
    CHECK(largest_allocation < 100 * 30 * sizeof *act_norm);
    nvp_free(encoded);
    nvp_flow_destroy(flow);
}

/* The numbers behind the checksums: no list of them leads to more memory than a multiple of its own. */
static void test_numbers(void) {
    enum { N = 30, ROUNDS = 100000 };
    static const double good[N] = {2, 0, 3, 1, 4, 5,              /* float32, D = 3, C = 1, 4 components, 5 layers */
                                   0, 2, 1, 4, 1, 0, 1, 1, .7, 1, /* affine */
                                   2, 0, 0, 0, 0, 1, 8, 3,        /* spline */
                                   4, 2, 0, 1,                    /* permutation */
                                   5, 1};                         /* LU, act norm */
    static const double odd[] = {-1, 0.5, 0x1p31, 0x1p32, 0x1p52, 0x1p53, 0x1p63, 0x1p64, 1e300, INFINITY, NAN};
    double numbers[N];
    size_t n_good = 0;
    nvp_flow *flow;
    CHECK(nvp_flow_decode(&flow, N, good) == NVP_OK);
    const size_t in_layers = (3 * 4 + 4) + (4 * 2 + 2) + (2 * 46 + 46) + (9 + 3) + 6;
    CHECK(nvp_flow_n_components(flow) == 4 && nvp_flow_base_offset(flow) == in_layers);
    CHECK(nvp_flow_n_parameters(flow) == in_layers + 4 * (1 + 3 + 6));
    nvp_flow_destroy(flow);
    /* Version 1 has no number of components. */
    memcpy(numbers, good, 4 * sizeof *good);
    memcpy(numbers + 4, good + 5, (N - 5) * sizeof *good);
    numbers[0] = 1;
    CHECK(nvp_flow_decode(&flow, N - 1, numbers) == NVP_OK);
    CHECK(nvp_flow_n_components(flow) == 0 && nvp_flow_n_parameters(flow) == in_layers);
    nvp_flow_destroy(flow);
    for (int version = 0; version <= 4; version++) {
        numbers[0] = version;
        CHECK((nvp_flow_decode(&flow, N - 1, numbers) == NVP_OK) == (version == 1));
        nvp_flow_destroy(flow);
    }
    static const struct {
        double n_components;
        nvp_status status;
    } components[] = {{0, NVP_OK},
                      {-1, NVP_ERROR_ARGUMENT},
                      {0.5, NVP_ERROR_ARGUMENT},
                      {NAN, NVP_ERROR_ARGUMENT},
                      {INFINITY, NVP_ERROR_ARGUMENT},
                      {0x1p52, NVP_OK}, /* what that costs is up to whoever allocates the parameters */
                      {0x1p53, NVP_ERROR_ARGUMENT}};
    for (size_t i = 0; i < sizeof components / sizeof *components; i++) {
        memcpy(numbers, good, sizeof numbers);
        numbers[4] = components[i].n_components;
        CHECK(nvp_flow_decode(&flow, N, numbers) == components[i].status);
        nvp_flow_destroy(flow);
    }
    for (size_t n = 0; n < N; n++)
        CHECK(nvp_flow_decode(&flow, n, good) == NVP_ERROR_ARGUMENT && !flow);
    check_third_version(good, N);
    largest_allocation = 0;
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(numbers, good, sizeof numbers);
        for (size_t k = 1 + draw(3); k-- > 0;)
            numbers[draw(N)] = draw(2) ? odd[draw(sizeof odd / sizeof *odd)] : (double)draw(10);
        const nvp_status status = nvp_flow_decode(&flow, N, numbers);
        CHECK(status == NVP_OK || status == NVP_ERROR_ARGUMENT || status == NVP_ERROR_SIZE);
        n_good += status == NVP_OK;
        nvp_flow_destroy(flow);
    }
    CHECK(n_good > 0 && n_good < ROUNDS / 2);
    CHECK(largest_allocation < 100 * sizeof numbers);
    check_many_columns();
}

static void check_failing_allocations(const char *path) {
    nvp_flow *flow;
    void *params;
    long n = 0;
    for (;; n++) {
        allocations_left = n;
        const nvp_status status = nvp_flow_load(path, &flow, &params);
        const bool failed = allocations_left < 0;
        allocations_left = -1;
        CHECK(status == (failed ? NVP_ERROR_MEMORY : NVP_OK));
        nvp_flow_destroy(flow);
        free(params);
        if (!failed)
            break;
    }
    CHECK(n >= 8); /* the library was compiled to use the allocator of faults.c */
}

static char **paths;

static void test_files(void) {
    CHECK(*paths != NULL);
    for (char **path = paths; *path; path++) {
        const content whole = read_all(*path);
        CHECK(whole.size > 100);
        largest_allocation = 0;
        check_loads(*path, whole);
        check_truncations(whole);
        check_checksums(whole);
        check_mutations(whole);
        CHECK(largest_allocation < 100 * whole.size);
        check_failing_allocations(*path);
        free(whole.bytes);
    }
}

static const named_test tests[] = {TEST(files), TEST(numbers)};

/* The files stand behind "--". */
int main(int n_arguments, char **arguments) {
    paths = own_arguments(n_arguments, arguments);
    return RUN_TESTS(tests, n_arguments, arguments);
}
