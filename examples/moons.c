/* Trains a flow on two moons, saves it, loads it and samples from it, without Python.
 *
 *     moons moons.npz > samples.csv
 *
 * Prints 1000 samples, one in a row, and reports to stderr. Python reads the file with nvpflow.load, and score.c scores
 * points with it. */
#include "nvpflow.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { DIM = 2, N_TRAIN = 1000, N_HELD_OUT = 500, N_SAMPLES = 1000, N_COUPLINGS = 6, N_LAYERS = N_COUPLINGS + 1 };

/* Uniform in (0, 1): the upper half of a linear congruential generator. */
static double uniform(void) {
    static uint64_t state = 42;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(state >> 32) + 0.5) / 4294967296.0;
}

static double normal(void) { return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform()); }

/* Points on two interleaved half circles, with noise of standard deviation 0.1: scikit-learn's make_moons. */
static void draw_moons(size_t n, float *x) {
    for (size_t i = 0; i < n; i++) {
        const double angle = 3.141592653589793 * uniform();
        const int upper = uniform() < 0.5;
        x[DIM * i] = (float)((upper ? cos(angle) : 1 - cos(angle)) + 0.1 * normal());
        x[DIM * i + 1] = (float)((upper ? sin(angle) : 0.5 - sin(angle)) + 0.1 * normal());
    }
}

/* An act norm, which finds the units of the data, and spline couplings that take turns. */
static nvp_status describe(nvp_flow **flow) {
    static const unsigned char masks[2][DIM] = {{1, 0}, {0, 1}};
    static const size_t hidden[] = {32};
    nvp_layer_config layers[N_LAYERS];
    for (int i = 0; i < N_COUPLINGS; i++)
        layers[i] =
            (nvp_layer_config)NVP_LAYER_CONFIG(.type = NVP_SPLINE_COUPLING, .mask = masks[i % 2], .hidden = hidden,
                                               .n_hidden = 1, .activation = NVP_SILU, .n_bins = 8, .tail_bound = 4);
    layers[N_COUPLINGS] = (nvp_layer_config)NVP_LAYER_CONFIG(.type = NVP_ACT_NORM);
    return nvp_flow_create(flow, NVP_FLOAT32, DIM, 0, NULL, N_LAYERS, layers);
}

static nvp_status train(const nvp_flow *flow, float *params, nvp_workspace *workspace) {
    static float x[N_TRAIN * DIM], held_out[N_HELD_OUT * DIM];
    draw_moons(N_TRAIN, x);
    draw_moons(N_HELD_OUT, held_out);
    const nvp_data data = NVP_DATA(.n = N_TRAIN, .x = x), validation = NVP_DATA(.n = N_HELD_OUT, .x = held_out);
    const nvp_train_options options =
        NVP_TRAIN_OPTIONS(.max_epochs = 200, .batch_size = 200, .learning_rate = 5e-3, .schedule = NVP_COSINE);
    nvp_train_result result = NVP_TRAIN_RESULT();
    nvp_flow_initialize(flow, 1, params);
    const nvp_status status = nvp_train(flow, params, &options, &data, &validation, &result, workspace);
    if (status == NVP_OK)
        fprintf(stderr, "%.3f nats per held-out point, after %zu epochs\n", result.validation_nll, result.best_epoch);
    return status;
}

static nvp_status train_and_save(const char *path, nvp_workspace *workspace) {
    nvp_flow *flow;
    nvp_status status = describe(&flow);
    if (status != NVP_OK)
        return status;
    float *params = malloc(nvp_flow_n_parameters(flow) * sizeof *params);
    status = params ? train(flow, params, workspace) : NVP_ERROR_MEMORY;
    if (status == NVP_OK)
        status = nvp_flow_save(path, flow, params);
    free(params);
    nvp_flow_destroy(flow);
    return status;
}

/* The file is one of ours: float32, two dimensions, no context. */
static nvp_status load_and_sample(const char *path, nvp_workspace *workspace) {
    static float samples[N_SAMPLES * DIM];
    nvp_flow *flow;
    void *params;
    nvp_status status = nvp_flow_load(path, &flow, &params);
    if (status != NVP_OK)
        return status;
    status = nvp_sample(flow, params, 7, N_SAMPLES, NULL, samples, NULL, workspace);
    for (size_t i = 0; status == NVP_OK && i < N_SAMPLES; i++)
        printf("%.6g,%.6g\n", (double)samples[DIM * i], (double)samples[DIM * i + 1]);
    nvp_free(params);
    nvp_flow_destroy(flow);
    return status;
}

int main(int n_arguments, char **arguments) {
    if (n_arguments != 2) {
        fprintf(stderr, "usage: %s moons.npz > samples.csv\n", arguments[0]);
        return EXIT_FAILURE;
    }
    nvp_workspace *workspace;
    nvp_status status = nvp_workspace_create(&workspace);
    if (status != NVP_OK) {
        fprintf(stderr, "%s\n", nvp_status_string(status));
        return EXIT_FAILURE;
    }
    status = train_and_save(arguments[1], workspace);
    if (status == NVP_OK)
        status = load_and_sample(arguments[1], workspace);
    if (status != NVP_OK)
        fprintf(stderr, "%s: %s\n", arguments[1], nvp_status_string(status));
    nvp_workspace_destroy(workspace);
    return status == NVP_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
