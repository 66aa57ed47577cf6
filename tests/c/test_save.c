/* Saving and encoding flows: what is loaded is what was saved, to the last bit; and a file that cannot be written
 * leaves no trace. The library is compiled with -include failing.h.
 *
 *     test_save [name...] [-- directory]
 *
 * In that directory, where there is one, it also loads each flow.npz and saves it as again-flow.npz, and writes flows
 * of all kinds as random-0.npz, random-1.npz, ...: material for a test in Python. */
#define _XOPEN_SOURCE 700 /* mkdtemp, symbolic links, limits of files */
#include "check.h"
#include "faults.h"
#include "layer_kinds.h"
#include "nvpflow.h"
#include <dirent.h>
#include <locale.h>
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N = 20, MOST_DIM = 4, MOST_LAYERS = 5, FLOWS = 60 };

static char **arguments_of_its_own;

static uint64_t state = 1;
static size_t draw(size_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(state >> 33) % n;
}
static double draw_real(double from, double to) { return from + (to - from) * (double)draw(1 << 30) / (1 << 30); }

/* -- flows of all kinds -- */

typedef struct {
    nvp_flow *flow;
    void *params;
    size_t n_params, real_size;
} model;

static void set_number(const model *m, void *array, size_t i, double value) {
    if (m->real_size == sizeof(float))
        ((float *)array)[i] = (float)value;
    else
        ((double *)array)[i] = value;
}

static void draw_fields(nvp_layer_config *layer, size_t dim, const unsigned char *mask, const size_t *hidden,
                        const size_t *order) {
    static const double bounds[2 * MOST_DIM] = {
        -3, 0.1, -(double)INFINITY, (double)INFINITY, -1e-3, (double)INFINITY, -1e30, 0};
    static const double reals[MOST_DIM] = {1e-3, 2, 1. / 3, 1};
    for (const nvp_field *field = nvp_layer_kinds[layer->type].fields; field->name; field++)
        switch (field->form) {
        case NVP_CHOICE:
        case NVP_SWITCH:
            nvp_set_choice(layer, field, (int)draw(nvp_count_choices(field)));
            break;
        case NVP_REAL:
            nvp_set_real(layer, field, draw_real(0.5, 2));
            break;
        case NVP_COUNT:
        case NVP_ADDED: /* of bases alone */
            nvp_set_count(layer, field, field->least + draw(7));
            break;
        case NVP_WIDTHS:
            nvp_set_sizes(layer, field, hidden, draw(3));
            break;
        case NVP_MASK:
            nvp_set_mask(layer, field, mask);
            break;
        case NVP_ORDER:
            nvp_set_sizes(layer, field, order, dim);
            break;
        case NVP_BOUNDS:
            nvp_set_reals(layer, field, bounds);
            break;
        case NVP_REALS:
            nvp_set_reals(layer, field, reals);
            break;
        }
}

/* The first layers are one of each type, so that no type is left out by chance. */
static model make_model(size_t number) {
    nvp_layer_config layers[MOST_LAYERS];
    unsigned char masks[MOST_LAYERS][MOST_DIM];
    size_t hidden[MOST_LAYERS][2], permutation[MOST_DIM];
    const size_t dim = 1 + draw(MOST_DIM), n_layers = 1 + draw(MOST_LAYERS);
    for (size_t i = 0; i < dim; i++)
        permutation[i] = (i + 1) % dim;
    for (size_t l = 0; l < n_layers; l++) {
        for (size_t i = 0; i < dim; i++)
            masks[l][i] = (unsigned char)draw(2);
        hidden[l][0] = 1 + draw(5), hidden[l][1] = 1 + draw(5);
        const size_t type = l ? draw(NVP_N_LAYER_TYPES) : number % NVP_N_LAYER_TYPES;
        layers[l] = (nvp_layer_config)NVP_LAYER_CONFIG(.type = (nvp_layer_type)type);
        draw_fields(&layers[l], dim, masks[l], hidden[l], permutation);
    }
    bool conditional = false; /* those with a mask read the context */
    for (size_t l = 0; l < n_layers; l++)
        conditional |= layers[l].mask != NULL;
    const nvp_dtype dtype = (nvp_dtype)draw(2);
    model m = {.real_size = dtype == NVP_FLOAT32 ? sizeof(float) : sizeof(double)};
    const size_t context_dim = conditional ? draw(3) : 0, n_components = draw(2) * draw(4);
    CHECK(nvp_flow_create(&m.flow, dtype, dim, context_dim, BASE_OF(n_components), n_layers, layers) == NVP_OK);
    m.n_params = nvp_flow_n_parameters(m.flow);
    m.params = malloc((m.n_params + 1) * m.real_size);
    nvp_flow_initialize(m.flow, number, m.params);
    for (size_t i = 0; i < m.n_params; i += 1 + draw(4))
        set_number(&m, m.params, i, draw_real(-0.5, 0.5));
    return m;
}

static void release(model m) {
    nvp_flow_destroy(m.flow);
    free(m.params);
}

/* -- what is loaded is what was saved -- */

static bool same_numbers(const nvp_flow *a, const nvp_flow *b) {
    size_t n_a = 0, n_b = 0;
    double *numbers_a = NULL, *numbers_b = NULL;
    const bool encoded =
        nvp_flow_encode(a, &n_a, &numbers_a) == NVP_OK && nvp_flow_encode(b, &n_b, &numbers_b) == NVP_OK;
    const bool same = encoded && n_a == n_b && memcmp(numbers_a, numbers_b, n_a * sizeof *numbers_a) == 0;
    nvp_free(numbers_a);
    nvp_free(numbers_b);
    return same;
}

/* Log-densities of some points, to compare them bit by bit. */
static void score(const model *m, void *log_prob) {
    double x[N * MOST_DIM], context[N * 3];
    nvp_workspace *workspace;
    for (size_t i = 0; i < N * MOST_DIM; i++)
        set_number(m, x, i, 4 * sin((double)i));
    for (size_t i = 0; i < N * 3; i++)
        set_number(m, context, i, cos((double)i));
    CHECK(nvp_workspace_create(&workspace) == NVP_OK);
    CHECK(nvp_log_prob(m->flow, m->params, N, x, context, log_prob, workspace) == NVP_OK);
    nvp_workspace_destroy(workspace);
}

static void check_same(const model *a, const model *b) {
    double log_probs[2][N] = {{0}};
    CHECK(nvp_flow_dtype(a->flow) == nvp_flow_dtype(b->flow) && same_numbers(a->flow, b->flow));
    CHECK(nvp_flow_n_parameters(b->flow) == a->n_params);
    CHECK(memcmp(a->params, b->params, a->n_params * a->real_size) == 0);
    score(a, log_probs[0]);
    score(b, log_probs[1]);
    CHECK(memcmp(log_probs[0], log_probs[1], sizeof log_probs[0]) == 0);
}

static void test_round_trip(void) {
    for (size_t i = 0; i < FLOWS; i++) {
        const model m = make_model(i);
        model loaded = m;
        void *bytes;
        size_t n;
        CHECK(nvp_flow_save_bytes(m.flow, m.params, &bytes, &n) == NVP_OK);
        CHECK(nvp_flow_load_bytes(bytes, n, &loaded.flow, &loaded.params) == NVP_OK);
        check_same(&m, &loaded);
        nvp_free(bytes);
        release(loaded);
        release(m);
    }
}

static void test_encode_and_decode(void) {
    static const double lists[][30] = {
        {2, 1, 3, 1, 4, 5, 0, 2, 1, 4, 1, 0, 1, 1, .7, 1, 2, 0, 0, 0, 0, 1, 8, 3, 4, 2, 0, 1, 5, 1},
        {1, 0, 3, 1, 5, 0, 2, 1, 4, 1, 0, 1, 0, 1e-3, 0, 2, 0, 0, 0, 0, 1, 8, 3, 4, 2, 0, 1, 5, 1}};
    for (size_t i = 0; i < 2; i++) {
        nvp_flow *flow;
        double *numbers;
        size_t n;
        CHECK(nvp_flow_decode(&flow, 30 - i, lists[i]) == NVP_OK);
        CHECK(nvp_flow_encode(flow, &n, &numbers) == NVP_OK && n == 30 - i);
        CHECK(memcmp(numbers, lists[i], n * sizeof *numbers) == 0);
        nvp_free(numbers);
        nvp_flow_destroy(flow);
    }
}

/* A bound that an unbounded scale does not have may be any number; files have 1 for one that could not be a bound. */
static void test_unused_bounds(void) {
    const double bounds[] = {0, -1, (double)NAN, (double)INFINITY, 1e300, 2.5};
    const unsigned char mask[2] = {1, 0};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        const nvp_layer_config layer = NVP_LAYER_CONFIG(.type = NVP_AFFINE_COUPLING, .mask = mask,
                                                        .scale = NVP_SCALE_EXP, .scale_bound = bounds[i]);
        nvp_flow *flow;
        double *numbers;
        size_t n;
        CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, 0, NULL, 1, &layer) == NVP_OK);
        CHECK(nvp_flow_encode(flow, &n, &numbers) == NVP_OK && n == 13 && numbers[11] == (i == 5 ? 2.5 : 1));
        nvp_free(numbers);
        nvp_flow_destroy(flow);
    }
}

/* The header is JSON in every locale: the program is run with LC_ALL set to one with another decimal point. */
static void test_locale(void) {
    const double numbers[] = {1, 1, 2, 0, 1, 0, 0, 0, 1, 0, 1, 0.7, 0};
    nvp_flow *flow;
    double params[10] = {0};
    void *bytes;
    size_t n, found = 0;
    setlocale(LC_ALL, "");
    if (*arguments_of_its_own) /* the decimal point */
        CHECK(strcmp(localeconv()->decimal_point, *arguments_of_its_own) == 0);
    CHECK(nvp_flow_decode(&flow, sizeof numbers / sizeof *numbers, numbers) == NVP_OK);
    CHECK(nvp_flow_n_parameters(flow) <= 10);
    CHECK(nvp_flow_save_bytes(flow, params, &bytes, &n) == NVP_OK);
    static const char wanted[] = "b\0\0\0o\0\0\0u\0\0\0n\0\0\0d\0\0\0\"\0\0\0:\0\0\0 \0\0\0"
                                 "0\0\0\0.\0\0\0"
                                 "7\0\0\0,\0\0\0"; /* bound": 0.7, */
    for (size_t i = 0; i + sizeof wanted - 1 <= n; i++)
        found += memcmp((char *)bytes + i, wanted, sizeof wanted - 1) == 0;
    CHECK(found == 1);
    nvp_free(bytes);
    nvp_flow_destroy(flow);
    setlocale(LC_ALL, "C");
}

/* -- files -- */

static char directory[] = "/tmp/nvpflow-test-XXXXXX";

static void make_directory(void) {
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
}

/* A path in the directory of the test; the last two of them stay valid. */
static const char *in_directory(const char *name) {
    static char paths[2][300];
    static int turn;
    turn = !turn;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", directory, name);
    return paths[turn];
}

static size_t count_files(void) {
    size_t n = 0;
    DIR *listing = opendir(directory);
    for (struct dirent *entry; listing && (entry = readdir(listing));)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (listing)
        closedir(listing);
    return n;
}

static bool holds(const char *path, const model *m) {
    model loaded = *m;
    const bool same = nvp_flow_load(path, &loaded.flow, &loaded.params) == NVP_OK &&
                      same_numbers(m->flow, loaded.flow) &&
                      memcmp(m->params, loaded.params, m->n_params * m->real_size) == 0;
    release(loaded);
    return same;
}

static mode_t mode_of(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 ? status.st_mode & 07777 : 0;
}

static void test_files(void) {
    const model first = make_model(0), second = make_model(2);
    const mode_t mask = umask(027);
    make_directory();
    const char *path = in_directory("flow.npz");
    CHECK(nvp_flow_save(path, first.flow, first.params) == NVP_OK && holds(path, &first) && count_files() == 1);
    CHECK(mode_of(path) == 0640);
    CHECK(chmod(path, 0604) == 0);
    CHECK(nvp_flow_save(path, second.flow, second.params) == NVP_OK && holds(path, &second) && count_files() == 1);
    CHECK(mode_of(path) == 0604);

    /* Links, also one to nothing and one to itself. */
    const char *link = in_directory("link");
    struct stat status;
    CHECK(symlink("flow.npz", link) == 0);
    CHECK(nvp_flow_save(link, first.flow, first.params) == NVP_OK && holds(path, &first) && count_files() == 2);
    CHECK(lstat(link, &status) == 0 && S_ISLNK(status.st_mode));
    CHECK(unlink(path) == 0);
    CHECK(nvp_flow_save(link, second.flow, second.params) == NVP_OK && holds(path, &second) && count_files() == 2);
    CHECK(unlink(link) == 0 && symlink("link", link) == 0);
    CHECK(nvp_flow_save(link, first.flow, first.params) == NVP_ERROR_FILE && count_files() == 2);
    CHECK(unlink(link) == 0);

    /* Places that are none, and things that are no files. */
    CHECK(nvp_flow_save(directory, first.flow, first.params) == NVP_ERROR_FILE);
    CHECK(nvp_flow_save("", first.flow, first.params) == NVP_ERROR_FILE);
    CHECK(nvp_flow_save(in_directory("none/flow.npz"), first.flow, first.params) == NVP_ERROR_FILE);
    CHECK(nvp_flow_save(in_directory("flow.npz/flow.npz"), first.flow, first.params) == NVP_ERROR_FILE);
    CHECK(nvp_flow_save("/dev/null", first.flow, first.params) == NVP_OK);
    CHECK(stat("/dev/null", &status) == 0 && S_ISCHR(status.st_mode));
    if (stat("/dev/full", &status) == 0)
        CHECK(nvp_flow_save("/dev/full", first.flow, first.params) == NVP_ERROR_FILE);
    CHECK(holds(in_directory("flow.npz"), &second) && count_files() == 1);

    /* In the directory that one is in. */
    char before[1000];
    CHECK(getcwd(before, sizeof before) && chdir(directory) == 0);
    CHECK(nvp_flow_save("flow.npz", first.flow, first.params) == NVP_OK && holds("flow.npz", &first));
    CHECK(chdir(before) == 0);
    CHECK(unlink(in_directory("flow.npz")) == 0 && rmdir(directory) == 0);
    umask(mask);
    release(first);
    release(second);
}

/* Whatever fails, the old file is as it was, and nothing else is there. */
static void test_failed_saves(void) {
    const model first = make_model(1), second = make_model(4);
    long n_allocations = 0, n_file_calls = 0;
    make_directory();
    const char *path = in_directory("flow.npz");
    CHECK(nvp_flow_save(path, first.flow, first.params) == NVP_OK);
    for (bool failed = true; failed; n_allocations++) {
        allocations_left = n_allocations;
        const nvp_status status = nvp_flow_save(path, second.flow, second.params);
        failed = status != NVP_OK;
        allocations_left = -1;
        CHECK(status == (failed ? NVP_ERROR_MEMORY : NVP_OK) && holds(path, failed ? &first : &second));
        CHECK(count_files() == 1);
    }
    CHECK(n_allocations > 8);
    CHECK(nvp_flow_save(path, first.flow, first.params) == NVP_OK);
    for (bool failed = true; failed; n_file_calls++) {
        file_calls_left = n_file_calls;
        const nvp_status status = nvp_flow_save(path, second.flow, second.params);
        failed = status != NVP_OK;
        file_calls_left = -1;
        CHECK(status == (failed ? NVP_ERROR_FILE : NVP_OK) && holds(path, failed ? &first : &second));
        CHECK(count_files() == 1);
    }
    CHECK(n_file_calls > 5);

    struct rlimit old, small;
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    small = old, small.rlim_cur = 100;
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    const nvp_status status = nvp_flow_save(path, first.flow, first.params);
    CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    CHECK(status == NVP_ERROR_FILE && holds(path, &second) && count_files() == 1);

    /* Memory and arguments. */
    void *bytes;
    double *numbers;
    size_t n;
    for (long i = 0;; i++) {
        allocations_left = i;
        const nvp_status encoded = nvp_flow_encode(second.flow, &n, &numbers);
        allocations_left = -1;
        CHECK(encoded == NVP_OK || (encoded == NVP_ERROR_MEMORY && !numbers));
        nvp_free(numbers);
        if (encoded == NVP_OK)
            break;
    }
    CHECK(nvp_flow_encode(NULL, &n, &numbers) == NVP_ERROR_ARGUMENT && !numbers);
    CHECK(nvp_flow_encode(first.flow, NULL, &numbers) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_flow_encode(first.flow, &n, NULL) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_flow_save_bytes(NULL, first.params, &bytes, &n) == NVP_ERROR_ARGUMENT && !bytes);
    CHECK(nvp_flow_save_bytes(first.flow, NULL, &bytes, &n) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_flow_save_bytes(first.flow, first.params, NULL, &n) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_flow_save_bytes(first.flow, first.params, &bytes, NULL) == NVP_ERROR_ARGUMENT);
    CHECK(nvp_flow_save(NULL, first.flow, first.params) == NVP_ERROR_ARGUMENT);
    set_number(&first, first.params, first.n_params - 1, (double)NAN);
    CHECK(nvp_flow_save(path, first.flow, first.params) == NVP_ERROR_ARGUMENT && holds(path, &second));
    set_number(&first, first.params, first.n_params - 1, -(double)INFINITY);
    CHECK(nvp_flow_save(path, first.flow, first.params) == NVP_ERROR_ARGUMENT && count_files() == 1);
    CHECK(unlink(path) == 0 && rmdir(directory) == 0);
    release(first);
    release(second);
}

/* Sizes that no double holds, and more parameters than an archive can. Nothing of that size is allocated. */
static void test_too_large_flows(void) {
    const unsigned char mask[1] = {1};
    const size_t wide = 100000, widest = SIZE_MAX / 64;
    nvp_flow *flow;
    double *numbers;
    void *bytes;
    size_t n;
    const size_t two[2] = {wide, wide};
    const nvp_layer_config large = NVP_LAYER_CONFIG(.type = NVP_ADDITIVE_COUPLING, .mask = mask, .hidden = two,
                                                    .n_hidden = sizeof(size_t) > 4 ? 2 : 1),
                           huge = NVP_LAYER_CONFIG(.type = NVP_ADDITIVE_COUPLING, .mask = mask, .hidden = &widest,
                                                   .n_hidden = 1);
    if (sizeof(size_t) <= 4)
        return; /* nothing is that large */
    largest_allocation = 0;
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 1, 0, NULL, 1, &large) == NVP_OK);
    CHECK(nvp_flow_save_bytes(flow, &wide, &bytes, &n) == NVP_ERROR_SIZE && !bytes);
    nvp_flow_destroy(flow);
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 1, 0, NULL, 1, &huge) == NVP_OK);
    CHECK(nvp_flow_encode(flow, &n, &numbers) == NVP_ERROR_SIZE && !numbers);
    nvp_flow_destroy(flow);
    CHECK(largest_allocation < 10000);
}

static void test_files_for_python(void) {
    const char *place = *arguments_of_its_own;
    char path[1000], again[1000];
    nvp_flow *flow;
    void *params;
    if (!place)
        return;
    for (int i = 0;; i++) {
        snprintf(path, sizeof path, "%s/flow-%d.npz", place, i);
        snprintf(again, sizeof again, "%s/again-%d.npz", place, i);
        if (access(path, F_OK) != 0)
            break;
        CHECK(nvp_flow_load(path, &flow, &params) == NVP_OK);
        CHECK(nvp_flow_save(again, flow, params) == NVP_OK);
        nvp_flow_destroy(flow);
        nvp_free(params);
    }
    for (size_t i = 0; i < FLOWS; i++) {
        const model m = make_model(i);
        double log_prob[N];
        snprintf(path, sizeof path, "%s/random-%zu.npz", place, i);
        CHECK(nvp_flow_save(path, m.flow, m.params) == NVP_OK);
        snprintf(path, sizeof path, "%s/random-%zu.txt", place, i);
        FILE *file = fopen(path, "w");
        CHECK(file != NULL);
        score(&m, log_prob);
        for (size_t k = 0; file && k < N; k++)
            fprintf(file, "%.17g\n", m.real_size == sizeof(float) ? (double)((float *)log_prob)[k] : log_prob[k]);
        CHECK(file && fclose(file) == 0);
        release(m);
    }
}

static const named_test tests[] = {
    TEST(round_trip), TEST(encode_and_decode), TEST(unused_bounds),   TEST(locale),
    TEST(files),      TEST(failed_saves),      TEST(too_large_flows), TEST(files_for_python)};

int main(int n_arguments, char **arguments) {
    arguments_of_its_own = own_arguments(n_arguments, arguments);
    return RUN_TESTS(tests, n_arguments, arguments);
}
