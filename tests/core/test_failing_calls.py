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


LAYERS = [nvpflow.AffineCoupling(2, 16, mask, context_dim=1, dtype="float64", random_state=0) for mask in ([1, 0], [0, 1])]
MODEL = nvpflow.Flow(LAYERS)
NUMBERS, START = np.asarray(describe(MODEL.config())), MODEL.parameters.copy()


def new_flow():
    """One without a workspace of an earlier call."""
    flow = _core.Flow(NUMBERS, START.copy())
    flow._n_threads = 2
    return flow


def train(flow):
    state = np.zeros(flow._train_state_size(), np.uint8)
    data = ROWS, CONTEXT, None
    flow._train(data, data, {"max_iter": 2, "batch_size": 500, "seed": 1}, {}, None, state)
    return state


CALLS = {
    "create": lambda flow: _core.Flow(NUMBERS).n_parameters,
    "count_parameters": lambda flow: _core.count_parameters(NUMBERS),
    "forward": lambda flow: flow.forward(ROWS, CONTEXT),
    "inverse": lambda flow: flow.inverse(ROWS, CONTEXT),
    "log_prob": lambda flow: flow.log_prob(ROWS, CONTEXT),
    "sample": lambda flow: flow._sample(len(ROWS), 1, CONTEXT, True),
    "trace": lambda flow: flow.trace(ROWS, context=CONTEXT),
    "nll_and_grad": lambda flow: flow.nll_and_grad(ROWS, CONTEXT),
    "inverse_vjp": lambda flow: flow.inverse_vjp(ROWS, ROWS, None, CONTEXT),
    "train": train,
}


def bits(result):
    return [bits(part) for part in result] if isinstance(result, tuple) else np.asarray(result).tobytes()


def check_failures(call, let_fail, heal):
    """`let_fail(k)` lets the allocation k from now fail, `heal()` ends that. Return the number of failures that were errors."""
    flow = new_flow()
    expected, n_errors, k, last = bits((call(flow), flow.parameters.copy())), 0, 0, 0
    while k < last + BEYOND:
        flow = new_flow()
        let_fail(k)
        try:
            result = call(flow)
        except MemoryError:
            result = None
        finally:
            heal()
        if result is None:
            n_errors, last = n_errors + 1, k
            assert np.array_equal(flow.parameters, START)
            result = call(flow)
        assert bits((result, flow.parameters.copy())) == expected
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
