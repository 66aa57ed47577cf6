"""Conditional flows and sample weights."""

import copy
import pickle
import re

import numpy as np
import pytest

import nvpflow
from support import flows
from support.marks import both_precisions

N, DIM, CONTEXT_DIM = 700, 3, 2


def make_flow(dtype="float64", dim=DIM, context_dim=CONTEXT_DIM, hidden=8, n_layers=3, **options):
    return flows.make_flow(dtype, dim, hidden, n_layers, context_dim=context_dim, **options)


def draw(dtype="float64", n=N, dim=DIM, context_dim=CONTEXT_DIM):
    """Points, contexts and weights, some of them zero."""
    rng = np.random.RandomState(0)
    x, context = rng.normal(size=(n, dim)).astype(dtype), rng.normal(size=(n, context_dim)).astype(dtype)
    return x, context, np.maximum(0, rng.normal(1, 1, n))


class TestContext:
    @both_precisions
    def test_context_equals_unchanged_column(self, dtype):
        """Context columns are like identity columns: with a mask of 1 for them a plain flow is the same function."""
        x, context, _ = draw(dtype)
        flow = make_flow(dtype)
        state = flow.state_dict()
        state |= {f"{i}.mask": np.r_[layer.mask, 1, 1] for i, layer in enumerate(flow.layers[:-1])}
        for i in range(3):
            for net in ("s_net", "b_net"):  # the outputs for the new columns, which the mask makes irrelevant
                state[f"{i}.{net}.2.weight"] = np.pad(state[f"{i}.{net}.2.weight"], [(0, CONTEXT_DIM), (0, 0)])
                state[f"{i}.{net}.2.bias"] = np.pad(state[f"{i}.{net}.2.bias"], (0, CONTEXT_DIM))
        del state["3.log_scale"], state["3.bias"]
        plain = nvpflow.Flow.from_state_dict(state, scale="tanh", dtype=dtype)
        assert plain.context_dim == 0 and plain.data_dim == DIM + CONTEXT_DIM
        z, log_det = flow.inverse(x, context)
        wide, wide_log_det = plain.inverse(np.hstack([x, context]))
        np.testing.assert_array_equal(wide[:, DIM:], context)
        np.testing.assert_array_equal(wide[:, :DIM], z)  # the act norm is the identity
        np.testing.assert_array_equal(wide_log_det, log_det)

    @both_precisions
    @pytest.mark.parametrize("dim", [1, 3])
    def test_round_trip(self, dtype, dim):
        flow = make_flow(dtype, dim)
        z, context, _ = draw(dtype, dim=dim)
        x, log_det = flow.forward(z, context)
        back, log_det_back = flow.inverse(x, context)
        tolerance = 1e-5 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(back, z, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(log_det_back, -log_det, rtol=tolerance, atol=tolerance)
        states = flow.trace(z, context=context)
        np.testing.assert_array_equal(states[-1], x)
        np.testing.assert_array_equal(flow.trace(x, inverse=True, context=context)[-1], back)
        other = flow.forward(z, context + 1)[0]
        assert np.all(np.any(other != x, axis=1))

    @both_precisions
    @pytest.mark.parametrize("context_dim, hidden", [(1, 64), (5, 9), (2, (7, 6))])
    def test_batch_changes_no_bit(self, dtype, context_dim, hidden):
        flow = make_flow(dtype, 1 if context_dim == 1 else DIM, context_dim, hidden)
        x, context, grad_log_det = draw(dtype, 600, flow.data_dim, context_dim)

        def everything(rows):
            given = x[rows], context[rows]
            gradients = []
            for vjp in (flow.forward_vjp, flow.inverse_vjp):
                by_x, _, by_context = vjp(given[0], given[0], grad_log_det[rows], given[1])
                gradients += [by_x, by_context]
            return *flow.forward(*given), *flow.inverse(*given), flow.log_prob(*given), *gradients

        whole = everything(np.arange(600))
        for rows in (np.array([0]), np.array([599]), np.arange(15, 90), np.random.RandomState(1).permutation(600)):
            for part, of_whole in zip(everything(rows), whole, strict=True):
                assert part.tobytes() == np.ascontiguousarray(of_whole[rows]).tobytes()

    def test_n_jobs_changes_no_bit(self):
        one, many = make_flow("float32"), make_flow("float32")
        many.n_jobs = 3
        x, context, weight = draw("float32", 100_000)
        assert one.log_prob(x, context).tobytes() == many.log_prob(x, context).tobytes()
        results = [flow.nll_and_grad(x, context, weight) for flow in (one, many)]
        assert results[0][0] == results[1][0] and results[0][1].tobytes() == results[1][1].tobytes()
        for ours, theirs in zip(*(flow.inverse_vjp(x, x, weight, context) for flow in (one, many)), strict=True):
            assert ours.tobytes() == theirs.tobytes()

    @both_precisions
    def test_samples(self, dtype):
        flow = make_flow(dtype)
        _, context, _ = draw(dtype, 50)
        x, log_prob = flow.sample_and_log_prob(50, 3, context)
        np.testing.assert_array_equal(x, flow.sample(50, 3, context=context))
        np.testing.assert_allclose(log_prob, flow.log_prob(x, context), rtol=1e-4 if dtype == "float32" else 1e-11)
        np.testing.assert_array_equal(flow.sample(20, 3, context=context[:20]), x[:20])
        for one in (context[7], context[7:8], context[7].tolist()):
            np.testing.assert_array_equal(flow.sample(50, 3, context=one)[7], x[7])
            assert not np.any(flow.sample(50, 3, context=one)[8] == x[8])
        assert flow.sample(0, context=context[:0]).shape == (0, DIM)
        assert flow.sample(1, 3, context=context[:1]).shape == (1, DIM)

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a)), lambda a: a.copy()])
    def test_copies(self, duplicate):
        flow = make_flow()
        x, context, _ = draw(n=20)
        twin = duplicate(flow)
        assert twin.context_dim == CONTEXT_DIM
        np.testing.assert_array_equal(twin.log_prob(x, context), flow.log_prob(x, context))

    def test_files_and_state_dicts(self, tmp_path):
        flow = make_flow()
        x, context, _ = draw(n=20)
        expected = flow.log_prob(x, context)
        flow.save(tmp_path / "flow.npz")
        np.testing.assert_array_equal(nvpflow.load(tmp_path / "flow.npz").log_prob(x, context), expected)

        couplings = nvpflow.Flow([layer.copy() for layer in flow.layers[:-1]])
        state = couplings.state_dict()
        assert state["0.s_net.0.weight"].shape == (8, DIM + CONTEXT_DIM)
        masks = [layer.mask for layer in couplings.layers]
        read = nvpflow.Flow.from_state_dict(state, masks=masks, scale="tanh")
        assert read.context_dim == CONTEXT_DIM
        np.testing.assert_array_equal(read.log_prob(x, context), couplings.log_prob(x, context))
        state = nvpflow.CouplingLayer(2, 8, context_dim=3).state_dict()
        read = nvpflow.Flow.from_state_dict({f"0.{name}": array for name, array in state.items()})
        assert read.layers[0].mask.tolist() == [1, 0] and read.context_dim == 3

    def test_config_without_context_dim(self):
        config = make_flow(context_dim=0).config()
        for layer in config["layers"]:
            layer.pop("context_dim", None)
        assert nvpflow.Flow.from_config(config).context_dim == 0


class TestWeights:
    @both_precisions
    def test_unit_weights_change_no_bit(self, dtype):
        flows = [make_flow(dtype, context_dim=0) for _ in range(2)]
        x, _, _ = draw(dtype)
        results = []
        for flow, weight in zip(flows, (None, np.ones(N))):
            nll, grad = flow.nll_and_grad(x, sample_weight=weight)
            options = dict(max_iter=4, batch_size=64, random_state=0, noise=0.1)
            history = flow.fit(x, None, weight, validation_data=(x, None, weight), **options)
            curves = [history[name].tobytes() for name in ("train_nll", "validation_nll")]
            results.append((nll, grad.tobytes(), flow.parameters.tobytes(), *curves))
        assert results[0] == results[1]

    def test_integers_are_repetitions(self):
        flow = make_flow()
        x, context, _ = draw()
        times = np.random.RandomState(1).randint(0, 4, N)
        nll, grad = flow.nll_and_grad(x, context, times)
        nll_of_many, grad_of_many = flow.nll_and_grad(np.repeat(x, times, axis=0), np.repeat(context, times, axis=0))
        assert nll == flow.nll(x, context, times) == pytest.approx(nll_of_many, rel=1e-13)
        np.testing.assert_allclose(grad, grad_of_many, rtol=0, atol=1e-13 * np.linalg.norm(grad))

    @pytest.mark.parametrize("scale", [1e-300, 1e300, 7.0])
    def test_scale_invariance(self, scale):
        flow = make_flow()
        x, context, weight = draw()
        nll, grad = flow.nll_and_grad(x, context, weight)
        scaled_nll, scaled_grad = flow.nll_and_grad(x, context, scale * weight)
        assert scaled_nll == pytest.approx(nll, rel=1e-13)
        np.testing.assert_allclose(scaled_grad, grad, rtol=0, atol=1e-13 * np.linalg.norm(grad))

    def test_minibatch_losses_average_to_full_loss(self):
        """With steps too small to change anything, in float64."""
        flow = make_flow()
        x, context, weight = draw()
        expected = flow.nll(x, context, weight)
        assert abs(expected - flow.nll(x, context)) > 1e-3
        history = flow.fit(x, context, weight, max_iter=2, batch_size=48, learning_rate=1e-13, random_state=0)
        np.testing.assert_allclose(history["train_nll"], expected, rtol=1e-9)

    def test_full_batches(self):
        fitted, stepped = make_flow(), make_flow()
        x, context, weight = draw()
        fitted.fit(x, context, weight, max_iter=10, learning_rate=1e-2)
        adam = nvpflow.Adam(stepped.parameters, 1e-2)
        for _ in range(10):
            adam.step(stepped.nll_and_grad(x, context, weight)[1])
        np.testing.assert_allclose(fitted.parameters, stepped.parameters, rtol=0, atol=1e-12)

    def test_training(self):
        """Weights exp(x) move N(0, 1) to N(1, 1); weights in validation choose among the epochs."""
        x = np.random.RandomState(2).normal(size=(8000, 1))
        flow = nvpflow.Flow([nvpflow.ActNorm(1, dtype="float64")])
        flow.fit(x[:6000], None, np.exp(x[:6000, 0]), batch_size=500, max_iter=60, learning_rate=1e-2, random_state=0,
                 validation_data=(x[6000:], None, np.exp(x[6000:, 0])))  # fmt: skip
        assert flow.layers[0].bias[0] == pytest.approx(1, abs=0.1)
        assert flow.layers[0].log_scale[0] == pytest.approx(0, abs=0.1)


def bent(n, seed):
    """Points, contexts and entropy: x1 | c and x2 | x1, c are normal, with means and scales that depend on c."""
    rng = np.random.RandomState(seed)
    context = rng.uniform(-1, 1, (n, 2))
    deviations = np.exp(np.stack([context[:, 0] - 1, 0.5 * context[:, 1] - 1], axis=1))
    means = np.stack([np.sin(3 * context[:, 1]), context[:, 0] ** 2], axis=1)
    entropy = np.log(deviations).sum(axis=1).mean() + np.log(2 * np.pi * np.e)
    return means + deviations * rng.normal(size=(n, 2)), context, entropy


class TestLearning:
    """A Gaussian whose mean and scale depend on the context: the NLL of fresh points is near its entropy."""

    def fitted(self, dim, dtype):
        x, context, _ = bent(10_000, 0)
        flow = make_flow(dtype, dim, n_layers=4, hidden=32)
        flow.fit(
            x[:8000, :dim], context[:8000], batch_size=250, max_iter=40, learning_rate=1e-2, schedule="cosine",
            validation_data=(x[8000:, :dim], context[8000:]), random_state=0,
        )  # fmt: skip
        return flow

    @both_precisions
    def test_two_dimensions(self, dtype):
        flow = self.fitted(2, dtype)
        x, context, entropy = bent(20_000, 1)
        assert entropy < 1
        assert flow.nll(x, context) == pytest.approx(entropy, abs=0.05)
        shuffled = flow.nll(x, np.random.RandomState(2).permutation(context))
        assert shuffled > entropy + 1
        samples = flow.sample(20_000, 0, context=[0.5, -0.5])
        np.testing.assert_allclose(samples.mean(axis=0), [np.sin(-1.5), 0.25], atol=0.06)
        np.testing.assert_allclose(samples.std(axis=0), np.exp([-0.5, -1.25]), rtol=0.1)

    def test_one_dimension(self):
        """The networks see the context alone."""
        flow = self.fitted(1, "float32")
        x, context, _ = bent(20_000, 1)
        entropy = np.mean(context[:, 0] - 1) + 0.5 * np.log(2 * np.pi * np.e)
        assert flow.nll(x[:, :1], context) == pytest.approx(entropy, abs=0.03)


X, C, W = draw("float32", 7)

SHAPE = r"context must have shape \((7, 2\)|n, 2\) with n >= 1), got "  # the latter by fit

BAD_CONTEXTS = {
    "missing": (None, ValueError, SHAPE + "None"),
    "short": (C[:6], ValueError, SHAPE + r"\(6, 2\)"),
    "wide": (np.zeros((7, 3)), ValueError, SHAPE + r"\(7, 3\)"),
    "one for all": (C[0], ValueError, SHAPE + r"\(2,\)"),
    "scalar": (1.0, ValueError, SHAPE + r"\(\)"),
    "text": (C.astype(str), TypeError, "context must be an array of real numbers, got dtype <U"),
    "complex": (C * 1j, TypeError, "context must be an array of real numbers, got dtype complex64"),
}


@pytest.fixture
def flow():
    """A conditional flow that the test must leave unchanged."""
    flow = make_flow("float32")
    parameters, log_prob = flow.parameters.tobytes(), flow.log_prob(X, C)
    yield flow
    assert flow.parameters.tobytes() == parameters
    np.testing.assert_array_equal(flow.log_prob(X, C), log_prob)


CALLS = {
    "forward": lambda flow, c: flow.forward(X, c),
    "inverse": lambda flow, c: flow.inverse(X, context=c),
    "log_prob": lambda flow, c: flow.log_prob(X, c),
    "nll": lambda flow, c: flow.nll(X, c),
    "nll_and_grad": lambda flow, c: flow.nll_and_grad(X, c),
    "trace": lambda flow, c: flow.trace(X, False, c),
    "forward_vjp": lambda flow, c: flow.forward_vjp(X, X, None, c),
    "inverse_vjp": lambda flow, c: flow.inverse_vjp(X, None, X[:, 0], context=c),
    "fit": lambda flow, c: flow.fit(X, c, max_iter=2),
    "layer": lambda flow, c: flow.layers[0].forward(X, c),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("bad", BAD_CONTEXTS)
def test_bad_contexts(flow, call, bad):
    context, error, message = BAD_CONTEXTS[bad]
    with pytest.raises(error, match=f"^{message}"):
        CALLS[call](flow, context)


@pytest.mark.parametrize("call", CALLS)
def test_unexpected_context(call):
    with pytest.raises(ValueError, match="context must be None where context_dim is 0, got numpy.ndarray"):
        CALLS[call](make_flow("float32", context_dim=0), C)


def test_bad_contexts_in_sample(flow):
    for bad, got in ((None, "None"), ([1.0], "(1,)"), (C[:3], "(3, 2)"), (C[:0], "(0, 2)")):
        with pytest.raises(ValueError, match=re.escape(f"context must have shape (5, 2), got {got}")):
            flow.sample(5, context=bad)
    with pytest.raises(ValueError, match="context must be None where context_dim is 0"):
        make_flow(context_dim=0).sample(5, context=C)


BAD_WEIGHTS = {
    "negative": (-W, ValueError, "sample_weight must be finite and >= 0, got -"),
    "nan": (np.r_[W[:6], np.nan], ValueError, "sample_weight must be finite and >= 0, got nan in row 6"),
    "infinite": (np.r_[np.inf, W[:6]], ValueError, "sample_weight must be finite and >= 0, got inf in row 0"),
    "zeros": (np.zeros(7), ValueError, "sample_weight must have a finite sum > 0, got 0"),
    "huge": (np.full(7, 1e308), ValueError, "sample_weight must have a finite sum > 0, got inf"),
    "short": (W[:6], ValueError, "sample_weight must have shape (7,), got (6,)"),
    "column": (W[:, np.newaxis], ValueError, "sample_weight must have shape (7,), got (7, 1)"),
    "number": (1.0, ValueError, "sample_weight must have shape (7,), got ()"),
    "text": (W.astype(str), TypeError, "sample_weight must be an array of real numbers, got dtype <U"),
}


@pytest.mark.parametrize("bad", BAD_WEIGHTS)
def test_bad_weights(flow, bad):
    weight, error, message = BAD_WEIGHTS[bad]
    for call in (flow.nll, flow.nll_and_grad, flow.fit):
        with pytest.raises(error, match=re.escape(message)):
            call(X, C, sample_weight=weight)
    with pytest.raises(error, match=re.escape(message.replace("sample_weight", "validation_data[2]"))):
        flow.fit(X, C, validation_data=(X, C, weight))


BAD_VALIDATION_DATA = {
    "no context": (X, "validation_data[1] must have shape (7, 2), got None"),
    "none": ((X, None), "validation_data[1] must have shape (7, 2), got None"),
    "short": ((X, C[:3]), "validation_data[1] must have shape (7, 2), got (3, 2)"),
    "columns": ((X[:, :2], C), "validation_data[0] must have shape (n, 3) with n >= 1, got (7, 2)"),
    "nan": ((X, C * np.nan), "validation_data[1] must be finite in float32, got NaN or infinity in 7 of 7 rows"),
    "four": ((X, C, W, W), "(x, context) or (x, context, sample_weight), got a tuple of 4"),
    "empty": ((), "(x, context) or (x, context, sample_weight), got a tuple of 0"),
}


@pytest.mark.parametrize("bad", BAD_VALIDATION_DATA)
def test_bad_validation_data(flow, bad):
    data, message = BAD_VALIDATION_DATA[bad]
    with pytest.raises(ValueError, match=re.escape(message)):
        flow.fit(X, C, validation_data=data)


def test_nonfinite_context(flow):
    with pytest.raises(ValueError, match="context must be finite in float32, got NaN or infinity in 1 of 7 rows"):
        flow.fit(X, np.where(np.arange(14).reshape(7, 2) == 3, np.inf, C))
    spoilt = C.copy()
    spoilt[2, 1] = np.nan
    bad, expected = flow.log_prob(X, spoilt), flow.log_prob(X, C)
    assert np.isnan(bad[2])
    np.testing.assert_array_equal(np.delete(bad, 2), np.delete(expected, 2))


def test_mismatched_layers():
    conditional, act_norm = nvpflow.CouplingLayer(2, context_dim=3), nvpflow.ActNorm(2)
    for i, other in enumerate((nvpflow.CouplingLayer(2), nvpflow.CouplingLayer(2, context_dim=1))):
        with pytest.raises(ValueError, match=re.escape(f"context_dim: layers[1] has 3, layers[2] has {i}")):
            nvpflow.Flow([act_norm, conditional, other])
    assert nvpflow.Flow([act_norm, conditional]).context_dim == 3
    for bad, error in ((-1, ValueError), (1.0, TypeError), (True, TypeError), (10**30, ValueError)):
        with pytest.raises(error, match="context_dim must be"):
            nvpflow.CouplingLayer(2, context_dim=bad)
    with pytest.raises(MemoryError):
        nvpflow.CouplingLayer(2, context_dim=2**62)
