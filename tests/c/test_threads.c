/* What threads must not change: the bits of any result, whichever of them cannot be started; the signals of the
 * process; and what a forked process can do. The library is compiled with -include failing.h. */
#define _XOPEN_SOURCE 700 /* fork, signals and timers */
#include "check.h"
#include "faults.h"
#include "nvpflow.h"
#include "team.h"
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sanitizers and forks: that of threads ends a process that forks with threads, and with that of addresses the child
 * may wait for a lock of the allocator that another thread of its parent held. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZER_WITHOUT_FORKS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZER_WITHOUT_FORKS 1
#endif
#endif

enum { DIM = 3, N = 4700, BATCH = 1500 }; /* ten tiles, and three in a batch */

static double x[N * DIM], weight[N];

static void make_samples(void) {
    uint64_t seed = 1;
    for (size_t i = 0; i < N * DIM; i++) {
        x[i] = -2;
        for (int k = 0; k < 4; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            x[i] += (double)(seed >> 11) * 0x1p-53;
        }
    }
    for (size_t i = 0; i < N; i++)
        weight[i] = 1 + (double)(i % 3);
}

/* A flow with few parameters, or with so many that the workers of a training share them. */
static nvp_flow *make_flow(size_t width) {
    static const unsigned char masks[2][DIM] = {{1, 0, 1}, {0, 1, 0}};
    const size_t hidden[2] = {width, width};
    const nvp_layer_config layers[] = {NVP_LAYER_CONFIG(.mask = masks[0], .hidden = hidden, .n_hidden = 2,
                                                        .activation = NVP_TANH, .scale = NVP_SCALE_TANH,
                                                        .scale_bound = 1),
                                       NVP_LAYER_CONFIG(.type = NVP_LU_LINEAR),
                                       NVP_LAYER_CONFIG(.type = NVP_SPLINE_COUPLING, .mask = masks[1], .hidden = hidden,
                                                        .n_hidden = 1, .n_bins = 4, .tail_bound = 2)};
    nvp_flow *flow = NULL;
    CHECK(nvp_flow_create(&flow, NVP_FLOAT64, DIM, 0, BASE_OF(2), 3, layers) == NVP_OK);
    return flow;
}

/* -- every result, whichever thread cannot be started -- */

/* The outputs of one operation. */
typedef struct {
    double rows[N * DIM], more_rows[5 * N * DIM], numbers[N], nll;
    double *params; /* or their gradient */
    nvp_train_result trained;
} results;

typedef nvp_status (*operation)(const nvp_flow *flow, const double *params, nvp_workspace *workspace, results *out);

static nvp_status forward(const nvp_flow *flow, const double *params, nvp_workspace *workspace, results *out) {
    return nvp_forward(flow, params, N, x, NULL, out->rows, out->numbers, workspace);
}
static nvp_status inverse(const nvp_flow *flow, const double *params, nvp_workspace *workspace, results *out) {
    return nvp_inverse(flow, params, N, x, NULL, out->rows, out->numbers, workspace);
}
static nvp_status log_prob(const nvp_flow *flow, const double *params, nvp_workspace *workspace, results *out) {
    return nvp_log_prob(flow, params, N, x, NULL, out->numbers, workspace);
}
static nvp_status trace(const nvp_flow *flow, const double *params, nvp_workspace *workspace, results *out) {
    return nvp_trace(flow, params, 1, N, x, NULL, out->more_rows, workspace);
}
static nvp_status sample(const nvp_flow *flow, const double *params, nvp_workspace *workspace, results *out) {
    return nvp_sample(flow, params, 3, N, NULL, out->rows, out->numbers, workspace);
}
static nvp_status nll(const nvp_flow *flow, const double *params, nvp_workspace *workspace, results *out) {
    const nvp_data data = NVP_DATA(.n = N, .x = x, .weight = weight);
    return nvp_nll(flow, params, &data, &out->nll, out->params, workspace);
}
static nvp_status forward_vjp(const nvp_flow *flow, const double *params, nvp_workspace *workspace, results *out) {
    return nvp_forward_vjp(flow, params, N, x, NULL, x, weight, out->rows, NULL, out->params, workspace);
}
static nvp_status inverse_vjp(const nvp_flow *flow, const double *params, nvp_workspace *workspace, results *out) {
    return nvp_inverse_vjp(flow, params, N, x, NULL, x, weight, out->rows, NULL, out->params, workspace);
}

static nvp_train_options train_options(void) {
    return (nvp_train_options)NVP_TRAIN_OPTIONS(.max_epochs = 2, .batch_size = BATCH, .average = 0.5,
                                                .max_grad_norm = 1, .learning_rate = 1e-2, .beta1 = 0.9, .beta2 = 0.999,
                                                .epsilon = 1e-8);
}

static nvp_status train(const nvp_flow *flow, const double *params, nvp_workspace *workspace, results *out) {
    const nvp_data data = NVP_DATA(.n = 3 * BATCH, .x = x),
                   held_out = NVP_DATA(.n = N - 3 * BATCH, .x = x + 3 * BATCH * DIM);
    const nvp_train_options options = train_options();
    memcpy(out->params, params, nvp_flow_n_parameters(flow) * sizeof *params);
    out->trained = (nvp_train_result)NVP_TRAIN_RESULT();
    return nvp_train(flow, out->params, &options, &data, &held_out, &out->trained, workspace);
}

static bool same(const results *a, const results *b, size_t n_params) {
    return memcmp(a->rows, b->rows, sizeof a->rows) == 0 &&
           memcmp(a->more_rows, b->more_rows, sizeof a->more_rows) == 0 &&
           memcmp(a->numbers, b->numbers, sizeof a->numbers) == 0 && memcmp(&a->nll, &b->nll, sizeof a->nll) == 0 &&
           memcmp(a->params, b->params, n_params * sizeof *a->params) == 0 && a->trained.epochs == b->trained.epochs &&
           a->trained.best_epoch == b->trained.best_epoch && a->trained.validation_nll == b->trained.validation_nll;
}

typedef struct {
    nvp_flow *flow;
    nvp_workspace *workspace;
    size_t n_params;
    double *params;
    results *one, *many; /* of one thread, and of more */
} fixture;

static fixture set_up(size_t width) {
    fixture f = {.flow = make_flow(width), .one = calloc(1, sizeof(results)), .many = calloc(1, sizeof(results))};
    CHECK(nvp_workspace_create(&f.workspace) == NVP_OK);
    f.n_params = nvp_flow_n_parameters(f.flow);
    f.params = calloc(f.n_params, sizeof(double));
    f.one->params = calloc(f.n_params, sizeof(double));
    f.many->params = calloc(f.n_params, sizeof(double));
    nvp_flow_initialize(f.flow, 1, f.params);
    return f;
}

static void tear_down(fixture *f) {
    free(f->params);
    free(f->one->params);
    free(f->many->params);
    free(f->one);
    free(f->many);
    nvp_workspace_destroy(f->workspace);
    nvp_flow_destroy(f->flow);
}

/* As new: nothing is reserved, and the poll function is asked at once. */
static void renew_workspace(fixture *f) {
    nvp_workspace_destroy(f->workspace);
    CHECK(nvp_workspace_create(&f->workspace) == NVP_OK);
}

static nvp_status run(fixture *f, operation operate, size_t n_threads, results *out) {
    double *params = out->params;
    memset(out, 0, sizeof *out);
    out->params = params;
    memset(params, 0, f->n_params * sizeof *params);
    nvp_workspace_set_threads(f->workspace, n_threads);
    return operate(f->flow, f->params, f->workspace, out);
}

/* So many threads, where each one fails alone or with all that follow. */
static const size_t numbers[] = {3, 2, 8};
enum { VARIANTS = 2 * sizeof numbers / sizeof *numbers };

static void check_failing_threads(size_t width, const operation *operations, size_t n_operations, size_t n_variants) {
    fixture f = set_up(width);
    for (size_t i = 0; i < n_operations; i++) {
        CHECK(run(&f, operations[i], 1, f.one) == NVP_OK);
        for (size_t j = 0; j < n_variants; j++) {
            bool failed = true;
            faults_last = j % 2;
            for (long k = 0; failed; k++) {
                n_threads_started = n_faults = 0;
                threads_left = k;
                CHECK(run(&f, operations[i], numbers[j / 2], f.many) == NVP_OK);
                failed = n_faults > 0;
                if (!failed) /* all creations were had; not so where all of them came out even */
                    CHECK(n_threads_started > 0);
                threads_left = -1;
                CHECK(same(f.one, f.many, f.n_params));
            }
        }
    }
    faults_last = false;
    tear_down(&f);
}

/* Where the memory for a team or its rows is missing, a training fails as a whole or learns the same. */
static void check_failing_allocations(size_t width) {
    fixture f = set_up(width);
    size_t n_refused = 0, n_fewer = 0;
    bool failed = true;
    CHECK(run(&f, train, 1, f.one) == NVP_OK);
    for (long k = 0; failed; k++) {
        renew_workspace(&f);
        allocations_left = k;
        const nvp_status status = run(&f, train, 3, f.many);
        failed = allocations_left < 0;
        allocations_left = -1;
        CHECK(status == NVP_OK || (failed && status == NVP_ERROR_MEMORY));
        if (status == NVP_OK)
            CHECK(same(f.one, f.many, f.n_params));
        else
            CHECK(memcmp(f.many->params, f.params, f.n_params * sizeof *f.params) == 0);
        n_refused += failed && status != NVP_OK;
        n_fewer += failed && status == NVP_OK;
    }
    CHECK(n_refused >= 5 && n_fewer >= 1);
    tear_down(&f);
}

/* -- signals -- */

enum { MOST = 5 };

static void read_mask(void *context, size_t worker) {
    sigset_t *masks = context;
    pthread_sigmask(SIG_BLOCK, NULL, &masks[worker]);
}

static bool equal_masks(const sigset_t *a, const sigset_t *b) {
    for (int number = 1; number < 32; number++)
        if (sigismember(a, number) != sigismember(b, number))
            return false;
    return true;
}

/* Workers take only what they bring upon themselves, and the caller's mask is as it was, also where threads fail. */
static void test_masks(void) {
    static const int own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    static const int others[] = {SIGINT, SIGTERM, SIGPROF, SIGALRM, SIGVTALRM, SIGUSR1, SIGUSR2, SIGCHLD, SIGHUP};
    sigset_t before, after, masks[MOST], usual;
    pthread_sigmask(SIG_BLOCK, NULL, &usual);
    for (int blocks = 0; blocks < 2; blocks++)
        for (threads_left = -1; threads_left < MOST - 1; threads_left++) {
            const long fails = threads_left;
            if (blocks) { /* a caller's own mask */
                sigset_t set;
                sigemptyset(&set);
                sigaddset(&set, SIGUSR1);
                pthread_sigmask(SIG_SETMASK, &set, NULL);
            }
            pthread_sigmask(SIG_BLOCK, NULL, &before);
            nvp_team *team = nvp_team_start(MOST);
            pthread_sigmask(SIG_BLOCK, NULL, &after);
            CHECK(equal_masks(&before, &after));
            const size_t size = nvp_team_size(team);
            CHECK(size == (fails < 0 ? MOST : (size_t)fails + 1) && (team != NULL) == (size > 1));
            nvp_team_run(team, read_mask, masks);
            CHECK(equal_masks(&before, &masks[0]));
            for (size_t worker = 1; worker < size; worker++) {
                for (size_t i = 0; i < sizeof own_faults / sizeof *own_faults; i++)
                    CHECK(sigismember(&masks[worker], own_faults[i]) == 0);
                for (size_t i = 0; i < sizeof others / sizeof *others; i++)
                    CHECK(sigismember(&masks[worker], others[i]) == 1);
            }
            nvp_team_stop(team);
            threads_left = fails;
        }
    threads_left = -1;
    pthread_sigmask(SIG_SETMASK, &usual, NULL);
}

static pthread_t caller;
static volatile sig_atomic_t n_taken, n_astray;

static void take_signal(int number) {
    (void)number;
    n_taken++;
    n_astray += !pthread_equal(pthread_self(), caller);
}

/* A profiler's timer reaches the calling thread alone. */
static void test_process_timer(void) {
    fixture f = set_up(12);
    const struct itimerval every = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = take_signal, .sa_flags = SA_RESTART};
    caller = pthread_self();
    n_taken = n_astray = 0;
    CHECK(sigaction(SIGPROF, &action, NULL) == 0);
    CHECK(run(&f, train, 1, f.one) == NVP_OK);
    CHECK(setitimer(ITIMER_PROF, &every, NULL) == 0);
    for (int round = 0; n_taken < 5 && round < 1000; round++)
        CHECK(run(&f, train, 3, f.many) == NVP_OK && same(f.one, f.many, f.n_params));
    setitimer(ITIMER_PROF, &never, NULL);
    CHECK(n_taken >= 5 && n_astray == 0);
    tear_down(&f);
}

/* -- forks -- */

#ifndef SANITIZER_WITHOUT_FORKS

/* What a callback does to its process, and in which one it is. */
typedef struct {
    pid_t child; /* -1: not forked yet; 0: this is the child */
    int answer;  /* of the callback in the child */
} forker;

static int fork_once(void *context) {
    forker *f = context;
    if (f->child >= 0)
        return 0;
    fflush(stdout);
    f->child = fork();
    if (f->child == 0) {
        n_failed = 0;
        alarm(150); /* instead of a wait without end */
    }
    return f->child == 0 ? f->answer : 0;
}

static int fork_after_epoch(void *context, size_t epoch, double train_nll, double validation_nll) {
    (void)epoch, (void)train_nll, (void)validation_nll;
    return fork_once(context);
}

/* The child's failures are the parent's. */
static void leave_child(void) {
    fflush(stdout);
    _exit(n_failed ? 1 : 0);
}

static void wait_for(pid_t child) {
    int status = -1;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Where the fork takes place. */
enum { IN_POLL, AFTER_EPOCH, AFTER_EPOCH_ALONE, PLACES };

static nvp_status train_and_fork(fixture *f, forker *once, double *params, int place) {
    const nvp_data data = NVP_DATA(.n = 3 * BATCH, .x = x),
                   held_out = NVP_DATA(.n = N - 3 * BATCH, .x = x + 3 * BATCH * DIM);
    nvp_train_options options = train_options();
    memcpy(params, f->params, f->n_params * sizeof *params);
    options.on_epoch_alone = place == AFTER_EPOCH_ALONE;
    if (place == IN_POLL)
        nvp_workspace_set_poll(f->workspace, fork_once, once);
    else
        options.on_epoch = fork_after_epoch, options.context = once;
    const nvp_status status = nvp_train(f->flow, params, &options, &data, &held_out, NULL, f->workspace);
    nvp_workspace_set_poll(f->workspace, NULL, NULL);
    return status;
}

/* A child that comes back from a callback into a training with threads gets an error and its parameters, and can train
 * by itself; one without threads, in the training or during the callback, goes on. The parent does not notice. */
static void check_fork_in_training(size_t width) {
    fixture f = set_up(width);
    CHECK(run(&f, train, 1, f.one) == NVP_OK);
    for (int variant = 0; variant < 4 * PLACES; variant++) {
        const int place = variant / 4;
        const bool threads = variant & 1, lost = threads && place != AFTER_EPOCH_ALONE;
        forker fork_of = {.child = -1, .answer = variant >> 1 & 1};
        renew_workspace(&f);
        nvp_workspace_set_threads(f.workspace, threads ? 3 : 1);
        const nvp_status status = train_and_fork(&f, &fork_of, f.many->params, place);
        if (fork_of.child == 0) {
            if (lost) {
                CHECK(status == NVP_ERROR_FORKED);
                CHECK(memcmp(f.many->params, f.params, f.n_params * sizeof *f.params) == 0);
            } else if (fork_of.answer) {
                CHECK(status == (place == IN_POLL ? NVP_INTERRUPTED : NVP_OK));
            } else {
                CHECK(status == NVP_OK);
                CHECK(memcmp(f.many->params, f.one->params, f.n_params * sizeof *f.params) == 0);
            }
            n_threads_started = 0;
            CHECK(run(&f, train, 3, f.many) == NVP_OK && same(f.one, f.many, f.n_params) && n_threads_started > 0);
            leave_child();
        }
        CHECK(status == NVP_OK && memcmp(f.many->params, f.one->params, f.n_params * sizeof *f.params) == 0);
        wait_for(fork_of.child);
    }
    tear_down(&f);
}

/* A callback that writes the parameters, and forks. */
typedef struct {
    double *params;
    size_t n_params;
    forker forker;
} writer;

static int write_after_epoch(void *context, size_t epoch, double train_nll, double validation_nll) {
    (void)train_nll, (void)validation_nll;
    writer *w = context;
    for (size_t i = 0; i < w->n_params; i += 3)
        w->params[i] *= 0.5 + (double)epoch;
    return fork_once(&w->forker);
}

/* Called without a team, it may write, and its child goes on: the bits are those of one thread everywhere. */
static void check_callback_without_team(size_t width) {
    const nvp_data data = NVP_DATA(.n = 3 * BATCH, .x = x),
                   held_out = NVP_DATA(.n = N - 3 * BATCH, .x = x + 3 * BATCH * DIM);
    fixture f = set_up(width);
    for (size_t threads = 1; threads <= 3; threads += 2) {
        results *out = threads == 1 ? f.one : f.many;
        writer w = {.params = out->params, .n_params = f.n_params, .forker = {.child = -1}};
        nvp_train_options options = train_options();
        options.max_epochs = 4;
        options.on_epoch = write_after_epoch, options.on_epoch_alone = 1, options.context = &w;
        memcpy(out->params, f.params, f.n_params * sizeof *f.params);
        renew_workspace(&f);
        nvp_workspace_set_threads(f.workspace, threads);
        n_threads_started = 0;
        out->trained = (nvp_train_result)NVP_TRAIN_RESULT();
        CHECK(nvp_train(f.flow, out->params, &options, &data, &held_out, &out->trained, f.workspace) == NVP_OK);
        CHECK((n_threads_started > 0) == (threads > 1));
        CHECK(threads == 1 || same(f.one, f.many, f.n_params));
        if (w.forker.child == 0)
            leave_child();
        wait_for(w.forker.child);
    }
    CHECK(run(&f, train, 1, f.many) == NVP_OK && !same(f.one, f.many, f.n_params));
    tear_down(&f);
}

/* The same in the middle of a pass, for scoring. The other thread may take all the tiles before the caller, which polls,
 * has finished its first one; then the pass is made again. */
static void test_fork_in_pass(void) {
    fixture f = set_up(12);
    CHECK(run(&f, log_prob, 1, f.one) == NVP_OK);
    for (int answer = 0; answer < 2; answer++) {
        forker fork_of = {.child = -1, .answer = answer};
        renew_workspace(&f);
        nvp_workspace_set_poll(f.workspace, fork_once, &fork_of);
        nvp_status status = NVP_OK;
        for (int attempt = 0; fork_of.child < 0 && attempt < 1000; attempt++)
            status = run(&f, log_prob, 2, f.many);
        nvp_workspace_set_poll(f.workspace, NULL, NULL);
        if (fork_of.child == 0) {
            CHECK(status == NVP_ERROR_FORKED);
            CHECK(run(&f, log_prob, 3, f.many) == NVP_OK && same(f.one, f.many, f.n_params));
            leave_child();
        }
        CHECK(status == NVP_OK && same(f.one, f.many, f.n_params));
        wait_for(fork_of.child);
    }
    tear_down(&f);
}

#endif

/* With an argument fewer variants, where the library is slow. */
/* All variants take a while; the argument "briefly" leaves out most. */
static size_t n_variants = VARIANTS;

static void test_failing_threads(void) {
    const operation operations[] = {forward, inverse, log_prob, trace, sample, forward_vjp, inverse_vjp, nll, train};
    enum { ALL = sizeof operations / sizeof *operations, LEARNING = 2 };
    check_failing_threads(12, operations, ALL, n_variants);
    check_failing_threads(90, operations + ALL - LEARNING, LEARNING, n_variants); /* more than one part of parameters */
}

static void test_failing_allocations(void) {
    check_failing_allocations(12);
    check_failing_allocations(90);
}

#ifndef SANITIZER_WITHOUT_FORKS
static void test_fork_in_training(void) {
    check_fork_in_training(12);
    check_fork_in_training(90);
}

static void test_callback_without_team(void) {
    check_callback_without_team(12);
    check_callback_without_team(90);
}
#endif

static const named_test tests[] = {
    TEST(failing_threads),  TEST(failing_allocations),   TEST(masks),        TEST(process_timer),
#ifndef SANITIZER_WITHOUT_FORKS
    TEST(fork_in_training), TEST(callback_without_team), TEST(fork_in_pass),
#endif
};

int main(int n_arguments, char **arguments) {
    const char *argument = *own_arguments(n_arguments, arguments);
    if (argument && strcmp(argument, "briefly") == 0)
        n_variants = 1;
    make_samples();
    alarm(600); /* a hang is a failure */
    return RUN_TESTS(tests, n_arguments, arguments);
}
