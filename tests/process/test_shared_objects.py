"""Threads that use, change, pickle and delete one object at a time, with the GIL or without it: what each call promises still
holds, and which of two calls wins is all that is left open."""

import itertools
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nvpflow
from nvpflow import _core
from nvpflow._io.encoding import describe
from support.flows import make_flow

N_THREADS = 6
# Without the GIL two threads meet within a few nanoseconds, or not at all; with it, the switch interval decides.
N_CALLS = 5000 if getattr(sys, "_is_gil_enabled", lambda: True)() else 100_000
X = np.random.default_rng(0).normal(size=(1500, 2)).astype("float32")


@pytest.fixture(autouse=True)
def frequent_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(*calls):
    """Run the calls in threads that begin together, and return what they return. An exception ends the test."""
    barrier = threading.Barrier(len(calls))

    def run(call):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(run, call) for call in calls]]


def attempt(call):
    """Return the result of a call, or the RuntimeError that the documentation names."""
    try:
        return call()
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_everything_at_once(n_jobs):
    """The numbers of the parameters are those of one thread or another; all that is computed from them is finite."""
    flows = [make_flow("float32")]
    flows[0].n_jobs = n_jobs
    numbers = flows[0].parameters.copy()

    def write(flow):
        flow.parameters[:] = numbers * np.float32(0.5)
        flow.parameters[::2] = numbers[::2]

    def fit(flow):
        result = attempt(lambda: flow.fit(X, max_iter=2, batch_size=500, random_state=0))
        assert isinstance(result, dict) or "under way" in str(result)

    def replace(flow):
        flows[0] = flow.copy()  # the old one ends with the last call that uses it

    def pickle_it(flow):
        twin = pickle.loads(pickle.dumps(flow))
        assert np.isfinite(twin.log_prob(X)).all()

    def score(flow):
        assert np.isfinite(flow.log_prob(X)).all() and np.isfinite(flow.nll_and_grad(X)[1]).all()

    def sample(flow):
        assert np.isfinite(flow.sample(500, random_state=0)).all()
        flow.n_jobs = 3 - n_jobs

    def repeat(use):
        for _ in range(600):
            use(flows[0])

    at_once(*(lambda use=use: repeat(use) for use in (score, score, sample, fit, fit, write, replace, pickle_it)))


def test_short_calls():
    """Each call has a workspace of its own, and gives the bits of one thread."""
    flow = make_flow("float32")
    parts = [X[:1], X[5:9], X[20:100], X[100:101]]
    expected = [flow.log_prob(part).tobytes() for part in parts]

    def use(i):
        return all(flow.log_prob(parts[i]).tobytes() == expected[i] for _ in range(N_CALLS))

    assert all(at_once(*(lambda i=i: use(i) for i in range(len(parts)))))


def test_parameters_move_while_a_layer_computes():
    """A flow replaces the parameters of its layers by parts of its own."""
    layer = nvpflow.AffineCoupling(2, 4, [1, 0], dtype="float32", random_state=0)
    numbers = np.random.default_rng(1).normal(size=layer.n_parameters).astype("float32")
    layer.parameters[:] = numbers
    expected = layer.forward(X[:2])[0].tobytes()

    def compute():
        return all(layer.forward(X[:2])[0].tobytes() == expected for _ in range(N_CALLS))

    def read():
        return all(layer.parameters.tobytes() == numbers.tobytes() for _ in range(N_CALLS))

    def move():
        for _ in range(N_CALLS):
            layer._rebind(np.zeros(layer.n_parameters, "float32"))
        return True

    assert all(at_once(compute, move, read, move))


def test_one_of_many_initializations_wins():
    layers = [nvpflow.AffineCoupling(2, size, [1, 0], random_state=0) for size in range(1, N_THREADS + 1)]
    descriptions = [nvpflow.Flow([layer]).copy() for layer in layers]
    numbers = [describe(flow.config()) for flow in descriptions]
    for _ in range(N_CALLS // 200):
        flow = _core.Flow.__new__(_core.Flow)
        found = at_once(*(lambda one=one: attempt(lambda: flow.__init__(one)) for one in numbers))
        (winner,) = [i for i, result in enumerate(found) if result is None]
        assert flow.n_parameters == flow.parameters.size == descriptions[winner].n_parameters
        assert np.isfinite(flow.log_prob(X)).all()
        assert all("initialised twice" in str(result) for i, result in enumerate(found) if i != winner)


def test_one_training_at_a_time():
    """The others are refused, and change nothing. One that begins after the end of another is none of these."""
    for seed in range(10):
        flow, epochs = make_flow("float32"), []

        def fit(k):
            return attempt(lambda: flow.fit(X, max_iter=5 + k, random_state=seed, callback=lambda *_: epochs.append(k)))

        histories = at_once(*(lambda k=k: fit(k) for k in range(N_THREADS)))
        trained = [k for k, _ in itertools.groupby(epochs)]
        assert len(trained) == len(set(trained)), "two trainings took turns"
        won = [k for k, history in enumerate(histories) if isinstance(history, dict)]
        assert won and all("under way" in str(history) for k, history in enumerate(histories) if k not in won)
        if len(won) == 1:
            twin = make_flow("float32")
            twin.fit(X, max_iter=5 + won[0], random_state=seed)
            assert np.array_equal(flow.parameters, twin.parameters)


def test_state_of_two_trainings_is_that_of_one():
    """Or that of one after the other; it resumes to the bits of a single training."""
    whole = make_flow("float32")
    whole.fit(X, max_iter=9, random_state=0)
    for _ in range(20):
        state, flows = nvpflow.TrainingState(), [make_flow("float32"), make_flow("float32")]

        def fit(flow, pause):
            flow.fit(X, max_iter=9, pause_after=pause, state=state, random_state=0)

        at_once(lambda: fit(flows[0], 3), lambda: fit(flows[1], 4))
        done = state.n_iter
        history = flows[0].fit(X, max_iter=9, state=state, random_state=0)
        assert done in (3, 4, 7) and len(history["train_nll"]) == 9 - done
        assert np.array_equal(flows[0].parameters, whole.parameters)


def test_estimator_that_is_fitted_scored_and_pickled():
    """Each call sees one of the fits as a whole."""
    tables = [X[:100], np.hstack([X[:100], X[:100, :1] ** 2])]
    model = nvpflow.FlowDensity(1, 4, max_iter=2, base="normal", random_state=0).fit(tables[0])

    def fit():
        for i in range(6):
            model.fit(tables[i % 2])

    def use():
        for _ in range(30):
            twin = pickle.loads(pickle.dumps(model))
            assert np.isfinite(twin.score_samples(tables[twin.n_features_in_ - 2])).all()

    at_once(fit, use, use)
