"""Every allocation and thread of a call fails once, and from there on: a MemoryError, parameters as before, and the same call then
gives the same bits. Python's allocations fail by its own test module, those of the library in builds with hooks (sanitized.py)."""

import ctypes

import numpy as np
import pytest

import nvpflow
from nvpflow import _core
from nvpflow._io.encoding import describe

ROWS = np.random.default_rng(0).normal(size=(1500, 2))
CONTEXT = np.random.default_rng(1).normal(size=(1500, 1))
BEYOND = 40  # points in a row that are no errors: those that remain lie behind the end of the call


def make_flow():
    layers = [nvpflow.AffineCoupling(2, 16, mask, context_dim=1, dtype="float64", random_state=0) for mask in ([1, 0], [0, 1])]
    flow = nvpflow.Flow(layers)
    flow.n_jobs = 2
    return flow


FLOW = make_flow()
NUMBERS = np.asarray(describe(FLOW.config()))
START = FLOW.parameters.copy()


def train():
    state = np.zeros(FLOW._train_state_size(), np.uint8)
    data = ROWS, CONTEXT, None
    FLOW._train(data, data, {"max_iter": 2, "batch_size": 500, "seed": 1}, {}, None, state)
    return state


CALLS = {
    "create": lambda: _core.Flow(NUMBERS).n_parameters,
    "count_parameters": lambda: _core.count_parameters(NUMBERS),
    "forward": lambda: FLOW.forward(ROWS, CONTEXT),
    "inverse": lambda: FLOW.inverse(ROWS, CONTEXT),
    "log_prob": lambda: FLOW.log_prob(ROWS, CONTEXT),
    "sample": lambda: FLOW._sample(len(ROWS), 1, CONTEXT, True),
    "trace": lambda: FLOW.trace(ROWS, context=CONTEXT),
    "nll_and_grad": lambda: FLOW.nll_and_grad(ROWS, CONTEXT),
    "inverse_vjp": lambda: FLOW.inverse_vjp(ROWS, ROWS, None, CONTEXT),
    "train": train,
}


def bits(result):
    return [bits(part) for part in result] if isinstance(result, tuple) else np.asarray(result).tobytes()


def run(call):
    """The bits of the result and of the parameters."""
    FLOW.parameters[:] = START
    return bits((call(), FLOW.parameters.copy()))


def check_failures(call, let_fail, heal):
    """`let_fail(k)` lets the allocation k from now fail, `heal()` ends that. Return the number of failures that were errors."""
    expected, n_errors, k, last = run(call), 0, 0, 0
    while k < last + BEYOND:
        FLOW.parameters[:] = START
        let_fail(k)
        try:
            result = call()
        except MemoryError:
            result = None
        finally:
            heal()
        if result is None:
            n_errors, last = n_errors + 1, k
            assert np.array_equal(FLOW.parameters, START)
        else:
            assert bits((result, FLOW.parameters.copy())) == expected
        assert run(call) == expected
        k += 1
    return n_errors


@pytest.mark.parametrize("also_later", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_python_memory(name, also_later):
    _testcapi = pytest.importorskip("_testcapi", reason="this Python came without its test module")
    if not hasattr(_testcapi, "set_nomemory"):
        pytest.skip("no set_nomemory in this Python")
    n = check_failures(
        CALLS[name], lambda k: _testcapi.set_nomemory(k, 0 if also_later else k + 1), _testcapi.remove_mem_hooks
    )
    assert n > 0


def find_hook(name, kind):
    try:
        return kind.in_dll(ctypes.CDLL(_core.__file__), name)
    except ValueError:
        pytest.skip("the library was built without hooks")


@pytest.mark.parametrize("name", CALLS)
def test_memory_and_threads_of_the_library(name):
    last = find_hook("faults_last", ctypes.c_bool)
    for what in ("allocations_left", "threads_left"):
        left = find_hook(what, ctypes.c_long)

        def let_fail(k):
            left.value = k

        def heal():
            left.value = -1

        for last.value in (False, True):
            n = check_failures(CALLS[name], let_fail, heal)
            assert n > 0 if what == "allocations_left" else n == 0  # a call goes on with fewer threads
        last.value = False
