/* Scores points with a model that nvpflow has saved: a fitted estimator, a flow or an ensemble of flows.
 *
 *     score model.npz < points.csv
 *
 * Each row of the table is a point, and behind it, for a conditional model, its context. Prints the log-density of
 * each, in nats. */
#include "nvpflow.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHUNK = 1024 }; /* rows that are scored at a time */

typedef struct {
    nvp_model *model;
    nvp_workspace *workspace;
    double *x, *context, *log_prob;
    size_t dim, context_dim;
} scorer;

/* One row of the table. 1: there it is; 0: the end; -1: it is not what it should be. */
static int read_row(const scorer *s, size_t row) {
    const size_t columns = s->dim + s->context_dim;
    for (size_t i = 0; i < columns; i++) {
        double value;
        const int found = scanf("%lf", &value);
        if (i == 0 && found == EOF)
            return 0;
        if (found != 1 || !isfinite(value))
            return -1;
        if (i < s->dim)
            s->x[row * s->dim + i] = value;
        else
            s->context[row * s->context_dim + i - s->dim] = value;
        int next = getchar();
        if (next == '\r')
            next = getchar();
        if (i + 1 < columns ? next != ',' : next != '\n' && next != EOF)
            return -1;
    }
    return 1;
}

static int score(const scorer *s) {
    size_t n_before = 0;
    for (int found = 1; found;) {
        size_t n = 0;
        while (n < CHUNK && (found = read_row(s, n)) > 0)
            n++;
        if (found < 0) {
            fprintf(stderr, "row %zu: expected %zu numbers with commas between them\n", n_before + n + 1,
                    s->dim + s->context_dim);
            return EXIT_FAILURE;
        }
        const nvp_status status = nvp_model_log_prob(s->model, n, s->x, s->context, s->log_prob, s->workspace);
        if (status != NVP_OK) {
            fprintf(stderr, "%s\n", nvp_status_string(status));
            return EXIT_FAILURE;
        }
        for (size_t i = 0; i < n; i++)
            printf("%.17g\n", s->log_prob[i]);
        n_before += n;
    }
    return EXIT_SUCCESS;
}

int main(int n_arguments, char **arguments) {
    scorer s = {0};
    if (n_arguments != 2) {
        fprintf(stderr, "usage: %s model.npz < points.csv\n", arguments[0]);
        return EXIT_FAILURE;
    }
    nvp_status status = nvp_model_load(arguments[1], &s.model);
    if (status == NVP_OK)
        status = nvp_workspace_create(&s.workspace);
    if (status == NVP_OK) {
        const nvp_ensemble *flows = nvp_model_ensemble(s.model);
        s.dim = nvp_ensemble_dim(flows), s.context_dim = nvp_ensemble_context_dim(flows);
        s.x = calloc(CHUNK * sizeof(double), s.dim);
        s.context = s.context_dim ? calloc(CHUNK * sizeof(double), s.context_dim) : NULL;
        s.log_prob = calloc(CHUNK, sizeof(double));
        if (!s.x || !s.log_prob || (s.context_dim && !s.context))
            status = NVP_ERROR_MEMORY;
    }
    if (status != NVP_OK)
        fprintf(stderr, "%s: %s\n", arguments[1], nvp_status_string(status));
    const int code = status == NVP_OK ? score(&s) : EXIT_FAILURE;
    free(s.x);
    free(s.context);
    free(s.log_prob);
    nvp_workspace_destroy(s.workspace);
    nvp_model_destroy(s.model);
    return code;
}
