"""Arguments that change during a call, alias the parameters, are empty or of a subclass: results are correct."""

import numpy as np
import pytest

import nvpflow
from nvpflow import _core
from nvpflow._io.encoding import encode_flow

# Some tests do what NumPy 2.5 advises against.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")

TWO_COLUMNS = encode_flow("float64", 2, 0, [{"type": "act_norm"}])
X = np.random.default_rng(0).normal(size=(4, 2))
CONTEXT = np.random.default_rng(1).normal(size=(4, 1))


def conditional_flow(dtype="float64"):
    layers = [nvpflow.CouplingLayer(2, 8, mask, context_dim=1, dtype=dtype, random_state=0) for mask in ([1, 0], [0, 1])]
    return nvpflow.Flow(layers)


def plain_flow():
    masks = [1, 0], [0, 1]
    return nvpflow.Flow([nvpflow.CouplingLayer(2, 8, mask, dtype="float64", random_state=0) for mask in masks])


class Meddler:
    """An array_like with a side effect."""

    def __init__(self, array, do):
        self.array, self.do = array, do

    def __array__(self, dtype=None, copy=None):
        self.do()
        return np.array(self.array, dtype)


# name: a function of (flow, x, context)
CALLS = {
    "forward": lambda flow, x, context: flow.forward(x, context),
    "inverse": lambda flow, x, context: flow.inverse(x, context),
    "trace": lambda flow, x, context: (flow.trace(x, context=context),),
    "log_prob": lambda flow, x, context: (flow.log_prob(x, context),),
    "nll_and_grad": lambda flow, x, context: flow.nll_and_grad(x, context),
    "forward_vjp": lambda flow, x, context: flow.forward_vjp(x, x, x[:, 0], context),
    "inverse_vjp": lambda flow, x, context: flow.inverse_vjp(x, x, None, context),
}


@pytest.mark.parametrize("call", CALLS)
class TestComputing:
    @pytest.mark.parametrize("shape", [(8, 1), (1, 8), (2, 4), (8,)])
    def test_array_reshaped_by_other_argument(self, call, shape):
        flow, x = conditional_flow(), X.copy()
        expected = CALLS[call](flow, X, CONTEXT)
        given = CALLS[call](flow, x, Meddler(CONTEXT, lambda: setattr(x, "shape", shape)))
        assert x.shape == shape
        for ours, theirs in zip(given, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_argument_calls_flow(self, call):
        flow = conditional_flow()
        expected = CALLS[call](flow, X, CONTEXT)
        given = CALLS[call](flow, X, Meddler(CONTEXT, lambda: CALLS[call](flow, np.ones((50, 2)), np.ones((50, 1)))))
        for ours, theirs in zip(given, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
    @pytest.mark.parametrize(
        "convert", [np.asmatrix, np.ma.masked_array, np.asfortranarray, lambda x: x.astype(">f8"), lambda x: x[::-1][::-1]]
    )
    def test_array_subclasses(self, call, convert):
        if convert is np.asmatrix and call == "forward_vjp":
            pytest.skip("x[:, 0] of a matrix is one")
        flow, x = conditional_flow(), convert(X)
        for ours, theirs in zip(CALLS[call](flow, x, convert(CONTEXT)), CALLS[call](flow, X, CONTEXT), strict=True):
            assert type(ours) is type(theirs)
            np.testing.assert_array_equal(ours, theirs)

    def test_samples_alias_parameters(self, call):
        flow = conditional_flow()
        inside = flow.parameters[:80].reshape(40, 2)
        before = inside.copy()
        for ours, theirs in zip(
            CALLS[call](flow, inside, inside[:, :1]), CALLS[call](flow, before, before[:, :1]), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(inside, before)

    def test_no_samples(self, call):
        flow, none = conditional_flow(), np.empty((0, 2))
        if call == "nll_and_grad":
            with pytest.raises(ValueError, match="x must have at least one sample"):
                flow.nll_and_grad(none, none[:, :1])
            return
        for array in CALLS[call](flow, none, none[:, :1]):
            assert 0 in array.shape or not array.any()  # the gradient of a sum of none


class TestEmpty:
    @pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (0, 0), (0, 2, 1)])
    def test_samples(self, shape):
        for call in (plain_flow().log_prob, plain_flow().nll, plain_flow().forward, plain_flow().fit):
            with pytest.raises(ValueError, match=r"(x|z) must have shape \(n, 2\)"):
                call(np.empty(shape))

    def test_drawing_zero_samples(self):
        x, log_prob = plain_flow().sample_and_log_prob(0, random_state=0)
        assert x.shape == (0, 2) and log_prob.shape == (0,)
        assert conditional_flow().sample(0, context=[1.0]).shape == (0, 2)
        assert nvpflow.MixtureBase([1], [[0, 0]], [np.eye(2)]).sample(0).shape == (0, 2)

    def test_no_epochs(self):
        flow = plain_flow()
        before = flow.parameters.copy()
        history = flow.fit(X, max_iter=0, validation_data=X, callback=lambda *epoch: pytest.fail("there is none"))
        assert [len(curve) for curve in history.values()] == [0, 0, 0]
        np.testing.assert_array_equal(flow.parameters, before)

    def test_layer_without_parameters(self):
        flow = nvpflow.Flow([nvpflow.Permutation(2, [1, 0])])
        history = flow.fit(X, max_iter=3, callback=lambda *epoch: flow.parameters.fill(7))
        np.testing.assert_allclose(history["train_nll"], flow.nll(X), rtol=1e-6)


class TestTraining:
    def test_data_reshaped_by_other_argument(self):
        flow, other, x = plain_flow(), plain_flow(), X.copy()
        weight = Meddler(np.ones(4), lambda: setattr(x, "shape", (8, 1)))
        history = flow.fit(x, sample_weight=weight, max_iter=3)
        np.testing.assert_array_equal(history["train_nll"], other.fit(X, sample_weight=np.ones(4), max_iter=3)["train_nll"])

    def test_callback_changes_data(self):
        """The change counts from the next epoch on, for any number of threads: none is at work meanwhile."""
        histories = []
        for n_jobs in (1, 2):
            flow, x = plain_flow(), np.random.default_rng(0).normal(size=(60000, 2))
            flow.n_jobs = n_jobs
            expected = []

            def double(epoch, train_nll, validation_nll, flow=flow, x=x, expected=expected):
                if epoch == 2:
                    x *= 2
                    expected.append(flow.nll(x))

            histories.append(flow.fit(x, max_iter=4, callback=double)["train_nll"])
            assert histories[-1][2] == pytest.approx(expected[0], rel=1e-12) and histories[-1][2] > histories[-1][1] + 0.5
        np.testing.assert_array_equal(*histories)


class TestThreadCount:
    @pytest.mark.parametrize(
        ("value", "error"), [(0, ValueError), (-1, ValueError), (-(10**30), ValueError), (1.5, TypeError), (None, TypeError)]
    )
    def test_out_of_range(self, value, error):
        for transform in (plain_flow(), nvpflow.ActNorm(2)):
            transform._n_threads = 2
            with pytest.raises(error):
                transform._n_threads = value
            with pytest.raises(AttributeError, match="_n_threads cannot be deleted"):
                del transform._n_threads
            assert transform._n_threads == 2

    @pytest.mark.parametrize("value", [10**6, 2**63 - 1, 10**30])
    def test_huge_counts_are_limited(self, value):
        """By the amount of work, and by the library's limit."""
        flow, x = plain_flow(), np.random.default_rng(0).normal(size=(60000, 2))
        expected = flow.log_prob(x)
        flow._n_threads = value
        np.testing.assert_array_equal(flow.log_prob(x), expected)

    def test_default(self):
        assert plain_flow().n_jobs == nvpflow.ActNorm(2)._n_threads == 1


class TestCore:
    def test_adam_gradient_aliases_parameters(self):
        w = np.linspace(-1, 1, 1001)
        expected = w.copy()
        ours, theirs = nvpflow.Adam(w, 0.1), nvpflow.Adam(expected, 0.1)
        for _ in range(5):
            ours.step(w)
            theirs.step(expected.copy())
        np.testing.assert_array_equal(w, expected)

    @pytest.mark.parametrize(
        "parameters",
        [np.zeros(3), np.zeros(4, np.float32), np.zeros(8)[::2], np.zeros((4, 1)), [0.0] * 4, np.ma.zeros(4), "text"],
        ids=["length", "dtype", "strides", "dimensions", "list", "subclass", "text"],
    )
    def test_wrong_buffers(self, parameters):
        with pytest.raises(ValueError, match="parameters must be a writeable contiguous array of 4 numbers"):
            _core.Transform(TWO_COLUMNS, parameters)
        layer = nvpflow.ActNorm(2, dtype="float64")
        layer.parameters[:] = [1, 2, 3, 4]
        with pytest.raises(ValueError, match="parameters must be a writeable contiguous array of 4 numbers"):
            layer._rebind(parameters)
        np.testing.assert_array_equal(layer.parameters, [1, 2, 3, 4])

    def test_reshaped_buffer(self):
        buffer = np.arange(4.0)
        layer = _core.Transform(TWO_COLUMNS, buffer)
        buffer.shape = (2, 2)
        layer.parameters.shape = (4, 1)
        np.testing.assert_allclose(layer.forward(np.ones((1, 2)))[0], [[1 + 2, np.e + 3]])

    def test_transform_without_init(self):
        for kind in (nvpflow.Flow, nvpflow.CouplingLayer, _core.Flow):
            thing = kind.__new__(kind)
            for use in (lambda: thing.forward(X), lambda: thing.parameters, lambda: thing._rebind(np.zeros(3))):
                with pytest.raises(RuntimeError, match="__init__ was not called"):
                    use()


@pytest.mark.parametrize("inverse", [X, "no", None, 1])
def test_direction_of_a_trace(inverse):
    with pytest.raises(TypeError, match="inverse must be True or False, got an object of type"):
        plain_flow().trace(X, inverse)
