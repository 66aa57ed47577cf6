"""FlowEnsemble: the average of densities, against sums of the members' densities and finite differences."""

import copy
import pickle

import numpy as np
import pytest

import nvpflow
from support.ensembles import CONTEXTS, POINTS, ensemble_of
from support.flows import make_flow

WEIGHTS = [0.2, 0.7, 0.1]


def given(context_dim):
    return (CONTEXTS,) if context_dim else ()


@pytest.mark.parametrize("weights", [None, WEIGHTS, [0, 1, 0]])
@pytest.mark.parametrize("context_dim", [0, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_prob_is_that_of_the_average(weights, context_dim, dtype):
    ensemble = ensemble_of(3, context_dim, dtype, weights)
    densities = [np.exp(flow.log_prob(POINTS, *given(context_dim)).astype(float)) for flow in ensemble]
    expected = np.log(np.average(densities, axis=0, weights=weights))
    found = ensemble.log_prob(POINTS, *given(context_dim))
    assert found.dtype == ensemble.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=1e-12 if dtype == "float64" else 2e-5)
    np.testing.assert_array_equal(np.exp(ensemble.member_log_prob(POINTS, *given(context_dim)).astype(float)), densities)


def test_far_points_do_not_underflow():
    ensemble = ensemble_of()
    far = np.full((3, 3), 300.0)
    of_members = ensemble.member_log_prob(far)
    found = ensemble.log_prob(far)
    assert (of_members < -1000).all() and (of_members.max(axis=0) >= found).all()
    assert (found >= of_members.max(axis=0) - np.log(3) - 1e-9).all()


def test_points_without_density():
    ensemble = ensemble_of()
    points = np.array([[np.inf, 0, 0], [0, 0, 0], [np.nan, 0, 0]])
    found = ensemble.log_prob(points)
    assert found[0] == -np.inf and np.isfinite(found[1]) and np.isnan(found[2])


def shifted_pair():
    """One flow has a density at far points, the other one has none: its layer overflows."""
    tight, wide = (nvpflow.Flow([nvpflow.ActNorm(1)]) for _ in range(2))
    tight.layers[0].log_scale[:] = -60
    return nvpflow.FlowEnsemble([tight, wide])


def test_one_member_without_density():
    ensemble = shifted_pair()
    x = np.array([[1.0], [2.0]])
    assert (ensemble[0].log_prob(x) == -np.inf).all()
    expected = ensemble[1].log_prob(x) - np.log(2)
    np.testing.assert_allclose(ensemble.log_prob(x), expected, rtol=1e-6)
    np.testing.assert_allclose(ensemble.grad_log_prob(x), -x, rtol=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("context_dim", [0, 2])
def test_gradient_matches_finite_differences(weights, context_dim):
    ensemble = ensemble_of(3, context_dim, "float64", weights)
    step, gradient = 1e-6, ensemble.grad_log_prob(POINTS, *given(context_dim))
    for d in range(3):
        shift = step * np.eye(3)[d]
        up, down = (ensemble.log_prob(POINTS + sign * shift, *given(context_dim)) for sign in (1, -1))
        np.testing.assert_allclose(gradient[:, d], (up - down) / (2 * step), rtol=1e-5, atol=1e-6)


def test_gradient_where_no_member_has_a_density():
    gradient = ensemble_of().grad_log_prob([[np.inf, 0, 0], [0, 0, 0]])
    assert np.isnan(gradient[0]).all() and np.isfinite(gradient[1]).all()


def test_nll():
    ensemble, weight = ensemble_of(), np.linspace(0, 2, len(POINTS))
    log_prob = ensemble.log_prob(POINTS)
    assert ensemble.nll(POINTS) == pytest.approx(-log_prob.mean(), rel=1e-12)
    assert ensemble.nll(POINTS, None, weight) == pytest.approx(-np.average(log_prob, weights=weight), rel=1e-12)
    bad = POINTS.copy()
    bad[0] = np.inf
    assert ensemble.nll(bad) == np.inf and ensemble.nll(bad, sample_weight=weight) == ensemble.nll(POINTS, None, weight)
    for wrong, message in (
        ((np.empty((0, 3)),), "at least one sample"),
        ((POINTS, None, -weight), "sample_weight must be finite and >= 0"),
        ((POINTS, None, 0 * weight), "sample_weight must not be zero everywhere"),
        ((POINTS, None, weight[1:]), r"sample_weight must have shape \(40,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            ensemble.nll(*wrong)


class TestSamples:
    def separated(self, weights=None):
        """Members far apart, which samples tell."""
        flows = [nvpflow.Flow([nvpflow.ActNorm(2)]) for _ in range(3)]
        for k, flow in enumerate(flows):
            flow.layers[0].bias[:] = 100 * k
        return nvpflow.FlowEnsemble(flows, weights)

    def members(self, x):
        return np.rint(x[:, 0] / 100).astype(int)

    def test_shares_and_order(self):
        x = self.separated(WEIGHTS).sample(20_000, random_state=0)
        members = self.members(x)
        shares = np.bincount(members, minlength=3) / len(x)
        np.testing.assert_allclose(shares, WEIGHTS, atol=5 * np.sqrt(0.25 / len(x)))
        same = (members[1:] == members[:-1]).mean()  # as of independent draws
        assert abs(same - np.square(WEIGHTS).sum()) < 0.02
        np.testing.assert_allclose(x[members == 1].std(axis=0), 1, atol=0.05)

    def test_members_of_no_weight(self):
        for k in range(3):
            x = self.separated(np.eye(3)[k]).sample(500, random_state=0)
            assert (self.members(x) == k).all()

    def test_reproducible(self):
        ensemble = ensemble_of()
        x = ensemble.sample(500, 3)
        np.testing.assert_array_equal(ensemble.sample(500, 3), x)
        np.testing.assert_array_equal(ensemble.sample(200, 3), x[:200])
        assert not np.array_equal(ensemble.sample(500, 4), x)
        rng = np.random.default_rng(0)
        assert not np.array_equal(ensemble.sample(5, rng), ensemble.sample(5, rng))
        ensemble.n_jobs = 2
        np.testing.assert_array_equal(ensemble.sample(500, 3), x)

    def test_members_draw_differently(self):
        flow = make_flow()
        x = nvpflow.FlowEnsemble([flow, flow.copy()]).sample(1000, 0)
        assert len(np.unique(x, axis=0)) == 1000

    def test_with_log_prob(self):
        ensemble = ensemble_of()
        x, log_prob = ensemble.sample_and_log_prob(50, 1)
        np.testing.assert_array_equal(x, ensemble.sample(50, 1))
        np.testing.assert_array_equal(log_prob, ensemble.log_prob(x))
        assert x.dtype == log_prob.dtype == ensemble.dtype
        assert ensemble.sample(0).shape == (0, 3)

    def test_contexts(self):
        """Each sample has its own: far contexts shift it far."""
        layer = nvpflow.AdditiveCoupling(1, (), [0], context_dim=1, dtype="float64", random_state=0)
        layer.net[0].weight[:], layer.net[0].bias[:] = 1, 0
        flow = nvpflow.Flow([layer])
        ensemble = nvpflow.FlowEnsemble([flow, flow.copy()])
        context = 1000.0 * np.arange(200)[:, None]
        x, log_prob = ensemble.sample_and_log_prob(200, 0, context)
        assert (np.abs(x - context) < 6).all()
        np.testing.assert_array_equal(log_prob, ensemble.log_prob(x, context))
        np.testing.assert_array_equal(ensemble.sample(5, 0, [7.0]), ensemble.sample(5, 0, np.full((5, 1), 7.0)))
        per_context = ensemble.sample(3, 0, context, per_context=True)
        assert per_context.shape == (200, 3, 1) and (np.abs(per_context - context[:, None]) < 6).all()

    @pytest.mark.parametrize("context, message", [
        (None, r"context must have shape \(4, 2\), got None"), (np.ones((3, 2)), r"context must have shape \(4, 2\), got \(3, 2\)")
    ])  # fmt: skip
    def test_wrong_contexts(self, context, message):
        with pytest.raises(ValueError, match=message):
            ensemble_of(2, 2).sample(4, context=context)

    def test_unwanted_context(self):
        with pytest.raises(ValueError, match="context must be None where context_dim is 0"):
            ensemble_of(2).sample(4, context=np.ones((4, 2)))


class TestConstruction:
    def test_sequence(self):
        flows = [make_flow(), make_flow()]
        ensemble = nvpflow.FlowEnsemble(flows)
        assert list(ensemble) == flows and ensemble.flows == tuple(flows) and len(ensemble) == 2 and ensemble[1] is flows[1]
        assert (ensemble.data_dim, ensemble.context_dim) == (2, 0) and ensemble.n_parameters == 2 * flows[0].n_parameters
        assert ensemble.weights.tolist() == [0.5, 0.5]
        ensemble.weights[:] = 7
        assert ensemble.weights.tolist() == [0.5, 0.5]
        ensemble.n_jobs = 2
        assert [flow.n_jobs for flow in flows] == [2, 2] and ensemble.n_jobs == 2

    @pytest.mark.parametrize("flows, error, message", [
        ([], ValueError, "flows must have at least one flow, got none"),
        (make_flow(), TypeError, "flows must be a sequence of flows, got Flow"),
        (7, TypeError, "flows must be a sequence of flows, got 7"),
        ([make_flow(), 3], TypeError, r"flows\[1\] must be a Flow, got 3"),
        ([make_flow(), make_flow(dim=3)], ValueError, r"agree in data_dim: flows\[0\] has 2, flows\[1\] has 3"),
        ([make_flow(), make_flow("float32")], ValueError, r"agree in dtype: flows\[0\] has float64, flows\[1\] has float32"),
        ([make_flow(), make_flow(context_dim=1)], ValueError, r"agree in context_dim: flows\[0\] has 0, flows\[1\] has 1"),
    ])  # fmt: skip
    def test_wrong_flows(self, flows, error, message):
        with pytest.raises(error, match=message):
            nvpflow.FlowEnsemble(flows)

    @pytest.mark.parametrize("weights, error, message", [
        ([0.5], ValueError, r"weights must have shape \(2,\), one weight for each flow, got \(1,\)"),
        ([0.5, 0.6], ValueError, "weights must have the sum 1, got 1.1"),
        ([1.5, -0.5], ValueError, "weights must be finite and >= 0, got -0.5 in place 1"),
        ([np.nan, 1], ValueError, "weights must be finite and >= 0, got nan in place 0"),
        ([0, 0], ValueError, "weights must not be zero everywhere"),
        (["a", "b"], TypeError, "weights must be an array of real numbers"),
    ])  # fmt: skip
    def test_wrong_weights(self, weights, error, message):
        with pytest.raises(error, match=message):
            nvpflow.FlowEnsemble([make_flow(), make_flow()], weights)

    @pytest.mark.parametrize("name", ["forward", "inverse", "layers", "base", "parameters", "trace", "fit", "state_dict"])
    def test_what_an_average_does_not_have(self, name):
        ensemble = ensemble_of(2)
        with pytest.raises(AttributeError, match=rf"has no {name}, because .* ensemble\[0\]\.{name}; .* n_models=1"):
            getattr(ensemble, name)
        assert hasattr(ensemble[0], name) and not hasattr(ensemble, name)

    def test_unknown_attributes(self):
        with pytest.raises(AttributeError, match="'FlowEnsemble' object has no attribute 'log_porb'"):
            ensemble_of(2).log_porb  # noqa: B018


class Mine(nvpflow.FlowEnsemble):
    def __init__(self, n):
        super().__init__([make_flow() for _ in range(n)], np.full(n, 1 / n))
        self.note = "mine"


COPIES = {
    "copy": lambda e: e.copy(), "copy.copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda e: pickle.loads(pickle.dumps(e))
}  # fmt: skip


@pytest.mark.parametrize("way", COPIES)
def test_copies_are_independent(way):
    for ensemble in (ensemble_of(3, weights=WEIGHTS), Mine(2)):
        x = ensemble.sample(20, 0)
        expected = ensemble.log_prob(x)
        ensemble.n_jobs = 2
        twin = COPIES[way](ensemble)
        np.testing.assert_array_equal(twin.log_prob(x), expected)
        assert type(twin) is type(ensemble) and twin.n_jobs == 2 and vars(twin).keys() == vars(ensemble).keys()
        np.testing.assert_array_equal(twin.weights, ensemble.weights)
        twin[0].parameters[:] = 0
        np.testing.assert_array_equal(ensemble.log_prob(x), expected)


def test_texts():
    ensemble = ensemble_of(3, 2)
    assert repr(ensemble) == "<FlowEnsemble of 3 flows, data_dim=3, context_dim=2, dtype='float64'>"
    lines = ensemble.summary().splitlines()
    assert lines[0].split() == ["flow", "base", "weight", "layers", "parameters"] and len(lines) == 7
    assert lines[2].startswith("0     standard normal") and "mixture of 2 normal distributions" in lines[4]
    assert lines[-1] == f"average of 3 flows, 3 dimensions given 2 of context, {ensemble.n_parameters:,} parameters, float64"
    page = ensemble._repr_html_()
    assert page.startswith("<div><b>FlowEnsemble</b>") and page.count("<details>") == 3
