/* Gradients against central differences, with and without weights, contexts and a mixture. */
#include "small_flow.h"

enum { FEW = 19 };

static double weighted(const double *out, const double *log_det, const double *d_out, const double *d_log_det) {
    double sum = 0;
    for (int i = 0; i < FEW * DIM; i++)
        sum += out[i] * d_out[i];
    for (int t = 0; t < FEW; t++)
        sum += log_det[t] * d_log_det[t];
    return sum;
}

/* Without a context (0) and with one. */
static void check_vjp(int inverse, size_t context_dim, size_t n_components) {
    enum { MOST = 2 };
    fixture f = set_up_with(context_dim, n_components);
    double in[FEW * DIM], context[FEW * MOST], d_out[FEW * DIM], d_log_det[FEW], d_in[FEW * DIM], d_context[FEW * MOST],
        out[FEW * DIM], log_det[FEW];
    fill(in, FEW * DIM, 11);
    fill(d_out, FEW * DIM, 12);
    fill(d_log_det, FEW, 13);
    fill(context, FEW * MOST, 14);
    nvp_status (*apply)(const nvp_flow *, const void *, size_t, const void *, const void *, void *, void *,
                        nvp_workspace *) = inverse ? nvp_inverse : nvp_forward;
    nvp_status (*vjp)(const nvp_flow *, const void *, size_t, const void *, const void *, const void *, const void *,
                      void *, void *, void *, nvp_workspace *) = inverse ? nvp_inverse_vjp : nvp_forward_vjp;
    CHECK(vjp(f.flow, f.params, FEW, in, context, d_out, d_log_det, d_in, d_context, f.grad, f.workspace) == NVP_OK);
    const struct {
        size_t n;
        double *numbers;
        const double *gradient;
    } inputs[3] = {{f.n_params, f.params, f.grad}, {FEW * DIM, in, d_in}, {FEW * context_dim, context, d_context}};
    const double h = 1e-6;
    double worst = 0, values[2];
    for (int k = 0; k < 3; k++)
        for (size_t i = 0; i < inputs[k].n; i++) {
            double *number = &inputs[k].numbers[i], kept = *number;
            for (int side = 0; side < 2; side++) {
                *number = kept + (side ? h : -h);
                CHECK(apply(f.flow, f.params, FEW, in, context, out, log_det, f.workspace) == NVP_OK);
                values[side] = weighted(out, log_det, d_out, d_log_det);
            }
            *number = kept;
            worst = fmax(worst, fabs((values[1] - values[0]) / (2 * h) - inputs[k].gradient[i]));
        }
    CHECK(worst < 1e-6);

    /* Nothing in, nothing out; and what is not wanted may be NULL. */
    CHECK(vjp(f.flow, f.params, FEW, in, context, d_out, d_log_det, out, NULL, NULL, f.workspace) == NVP_OK);
    CHECK(memcmp(out, d_in, sizeof out) == 0);
    CHECK(vjp(f.flow, f.params, FEW, in, context, d_out, d_log_det, NULL, out, NULL, f.workspace) == NVP_OK);
    CHECK(memcmp(out, context_dim ? d_context : d_in, FEW * context_dim * sizeof *out) == 0);
    CHECK(vjp(f.flow, f.params, FEW, in, context, NULL, NULL, out, d_context, f.grad, f.workspace) == NVP_OK);
    double sum = 0;
    for (size_t i = 0; i < f.n_params; i++)
        sum += fabs(f.grad[i]);
    for (int i = 0; i < FEW * DIM; i++)
        sum += fabs(out[i]);
    for (size_t i = 0; i < FEW * context_dim; i++)
        sum += fabs(d_context[i]);
    CHECK(sum == 0);
    tear_down(&f);
}

static void test_vjp(void) {
    for (size_t context_dim = 0; context_dim <= 2; context_dim++) {
        check_vjp(0, context_dim, 0);
        check_vjp(1, context_dim, 2);
    }
}

/* Of FEW samples with these weights, NULL for none. */
static void check_nll_gradient(const double *weight, size_t n_components) {
    fixture f = set_up_with(0, n_components);
    double x[FEW * DIM], nll, sides[2], log_prob[FEW], sum = 0, weights = 0;
    fill(x, FEW * DIM, 14);
    const nvp_data data = NVP_DATA(.n = FEW, .x = x, .weight = weight);
    CHECK(nvp_nll(f.flow, f.params, &data, &nll, f.grad, f.workspace) == NVP_OK);
    CHECK(nvp_log_prob(f.flow, f.params, FEW, x, NULL, log_prob, f.workspace) == NVP_OK);
    for (int t = 0; t < FEW; t++) {
        sum -= log_prob[t] * (weight ? weight[t] : 1);
        weights += weight ? weight[t] : 1;
    }
    CHECK(fabs(nll - sum / weights) < 1e-13);
    double worst = 0;
    const double h = 1e-6;
    for (size_t i = 0; i < f.n_params; i++) {
        const double kept = f.params[i];
        for (int side = 0; side < 2; side++) {
            f.params[i] = kept + (side ? h : -h);
            CHECK(nvp_nll(f.flow, f.params, &data, &sides[side], NULL, f.workspace) == NVP_OK);
        }
        f.params[i] = kept;
        worst = fmax(worst, fabs((sides[1] - sides[0]) / (2 * h) - f.grad[i]));
    }
    CHECK(worst < 1e-6);
    CHECK(nvp_nll(f.flow, f.params, SAMPLES(0, x), &nll, NULL, f.workspace) == NVP_ERROR_ARGUMENT);
    tear_down(&f);
}

static void test_nll_gradient(void) {
    check_nll_gradient(NULL, 0);
    check_nll_gradient(NULL, 1);
    check_nll_gradient(NULL, 5);
}

static void test_weights(void) {
    static const double bad[][2] = {{1, -1}, {1, NAN}, {INFINITY, 1}, {0, 0}, {1e308, 1e308}};
    fixture f = set_up();
    double x[FEW * DIM], weight[FEW], nll[2], *grad = calloc(f.n_params, sizeof(double));
    nvp_train_options options = NVP_TRAIN_OPTIONS(.max_epochs = 1);
    fill(x, FEW * DIM, 14);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const nvp_data data = NVP_DATA(.n = 2, .x = x, .weight = bad[i]);
        CHECK(nvp_nll(f.flow, f.params, &data, nll, NULL, f.workspace) == NVP_ERROR_ARGUMENT);
        CHECK(nvp_train(f.flow, f.params, &options, &data, NULL, NULL, f.workspace) == NVP_ERROR_ARGUMENT);
        CHECK(nvp_train(f.flow, f.params, &options, SAMPLES(2, x), &data, NULL, f.workspace) == NVP_ERROR_ARGUMENT);
    }
    fill(weight, FEW, 17);
    for (int t = 0; t < FEW; t++)
        weight[t] = t % 3 ? fabs(weight[t]) : 0;
    check_nll_gradient(weight, 0);
    check_nll_gradient(weight, 3);
    /* Equal weights are none; to the last bit where their mean is exact. */
    for (int t = 0; t < FEW; t++)
        weight[t] = 0x1p990;
    CHECK(nvp_nll(f.flow, f.params, SAMPLES(FEW, x), &nll[0], grad, f.workspace) == NVP_OK);
    CHECK(nvp_nll(f.flow, f.params, &(nvp_data)NVP_DATA(.n = FEW, .x = x, .weight = weight), &nll[1], f.grad,
                  f.workspace) == NVP_OK);
    CHECK(nll[0] == nll[1] && memcmp(grad, f.grad, f.n_params * sizeof(double)) == 0);
    free(grad);
    tear_down(&f);
}

/* A unit of a one-input network that no sample switches on has gradients of exactly zero: Adam would act on less. */
static void test_dead_units(void) {
    enum { N = 1000, H = 9 };
    const unsigned char mask[2] = {1, 0};
    const size_t width = H;
    const nvp_layer_config config =
        NVP_LAYER_CONFIG(.mask = mask, .hidden = &width, .n_hidden = 1, .scale = NVP_SCALE_EXP);
    nvp_workspace *workspace = make_workspace();
    nvp_flow *flow;
    float x[N * 2], params[2 * (3 * H + 1)], grad[2 * (3 * H + 1)];
    double normals[N * 2], nll;
    CHECK(nvp_flow_create(&flow, NVP_FLOAT32, 2, 0, NULL, 1, &config) == NVP_OK);
    CHECK(nvp_flow_n_parameters(flow) == sizeof params / sizeof *params);
    nvp_flow_initialize(flow, 3, params);
    fill(normals, N * 2, 4);
    for (int i = 0; i < N * 2; i++)
        x[i] = (float)normals[i];
    for (int j = 0; j < H; j++)
        params[H + j] = -20; /* off for |x| < 20 / |w| */
    CHECK(nvp_nll(flow, params, SAMPLES(N, x), &nll, grad, workspace) == NVP_OK);
    for (int i = 0; i < 3 * H; i++)
        CHECK(grad[i] == 0);
    CHECK(grad[3 * H] != 0);
    nvp_workspace_destroy(workspace);
    nvp_flow_destroy(flow);
}

static const named_test tests[] = {TEST(vjp), TEST(nll_gradient), TEST(weights), TEST(dead_units)};

int main(int n_arguments, char **arguments) { return RUN_TESTS(tests, n_arguments, arguments); }
