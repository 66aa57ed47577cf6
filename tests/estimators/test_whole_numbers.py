"""Columns of whole numbers: probabilities, samples, gradients, pieces, files, bad values."""

import math
import re

import numpy as np
import pytest
from scipy import stats

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow.supports import _masses
from nvpflow.supports._kinds import check_kind
from nvpflow.supports._spread import spread

QUICK = dict(n_layers=2, hidden_dim=8, max_iter=5, random_state=0)
SUPPORT = [nvpflow.Integer(0), None, nvpflow.Integer(0, 10)]


def draw(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return np.c_[rng.poisson(np.exp(1 + 0.5 * x)), x, rng.binomial(10, 1 / (1 + np.exp(-x)))]


X = draw(600)


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(X)


class TestProbabilities:
    @pytest.mark.parametrize("support, draws, log_mass", [
        ("integer", lambda rng, n: rng.poisson(3, n), lambda k: k * math.log(3) - 3 - math.lgamma(k + 1)),
        (nvpflow.Integer(0, 10), lambda rng, n: rng.binomial(10, 0.3, n),
         lambda k: math.log(math.comb(10, k)) + k * math.log(0.3) + (10 - k) * math.log(0.7)),
    ], ids=["Poisson", "binomial"])  # fmt: skip
    def test_gap_to_the_true_probabilities(self, support, draws, log_mass):
        rng = np.random.default_rng(0)
        fitted = nvpflow.FlowDensity(support=[support], random_state=0).fit(draws(rng, 3000)[:, None])
        test = draws(rng, 20_000)
        exact = np.mean([log_mass(int(k)) for k in test])
        assert abs(exact - fitted.score(test[:, None])) < 0.02

    def test_heaps(self):
        """Ages, half of them rounded to fives. In half of the states the heaps were missed, for 0.4 nats."""

        def ages(n, seed):
            rng = np.random.default_rng(seed)
            exact = np.floor(stats.truncnorm.rvs((17 - 40) / 15, np.inf, 40, 15, size=n, random_state=rng))
            return np.where(rng.random(n) < 0.5, 5 * np.round(exact / 5), exact)

        shares = np.bincount(ages(10**6, 100).astype(int), minlength=200) / 10**6
        for state in (2, 3, 4):
            fitted = nvpflow.FlowDensity(support=[nvpflow.Integer(0)], random_state=state).fit(ages(1000, state)[:, None])
            assert shares @ (np.log(np.maximum(shares, 1e-9)) - fitted.score_samples(np.arange(200.0)[:, None])) < 0.08

    def test_they_sum_to_one(self):
        x = np.random.default_rng(0).poisson(3, (400, 2)) + [[0, -2]]
        fitted = nvpflow.FlowDensity(support=[nvpflow.Integer(0), "integer"], **QUICK).fit(x)
        grid = np.stack(np.meshgrid(np.arange(60), np.arange(-40, 60)), axis=-1).reshape(-1, 2)
        assert np.exp(fitted.score_samples(grid).astype(float)).sum() == pytest.approx(1, abs=2e-3)

    def test_they_sum_and_integrate_to_one(self, model):
        real = np.linspace(-8, 8, 161)
        grid = np.stack(np.meshgrid(np.arange(80), real, np.arange(11)), axis=-1).reshape(-1, 3)
        assert np.exp(model.score_samples(grid).astype(float)).sum() * 0.1 == pytest.approx(1, abs=5e-3)

    def test_no_probability_elsewhere(self, model):
        elsewhere = np.tile(X[0], (5, 1))
        elsewhere[range(5), [0, 0, 2, 2, 0]] = [-1, 1.5, 11, 0.999999, 2.0**53]
        assert (model.score_samples(elsewhere) == -np.inf).all() and model.score(elsewhere) == -np.inf

    def test_more_nodes_agree(self, model, monkeypatch):
        expected = model.score_samples(X[:100])
        monkeypatch.setattr(_masses, "N_NODES", (1, 1009, 1009))
        _masses.nodes.cache_clear()
        np.testing.assert_allclose(model.score_samples(X[:100]), expected, atol=2e-3)
        monkeypatch.undo()
        _masses.nodes.cache_clear()
        assert len(_masses.nodes(2)[0]) == _masses.N_NODES[2]

    def test_chunks_agree(self, model, monkeypatch):
        expected = model.score_samples(X[:50])
        monkeypatch.setattr(_masses, "MOST_POINTS", 70)
        np.testing.assert_array_equal(model.score_samples(X[:50]), expected)

    @pytest.mark.parametrize("dim, rel", [(1, 3e-3), (2, 3e-3), (3, 3e-3), (5, 3e-3), (10, 6e-3)])
    def test_nodes_integrate(self, dim, rel):
        """Of a smooth function, and of one with a singular derivative at each face."""
        within, log_weights = _masses.nodes(dim)
        assert ((within > 0) & (within < 1)).all() and np.exp(log_weights).sum() == pytest.approx(1)
        for values, exact in ((np.exp(within), np.e - 1), (np.sqrt(within), 2 / 3)):
            assert np.prod(values, axis=1) @ np.exp(log_weights) == pytest.approx(exact**dim, rel=rel)

    def test_many_columns_sum_to_one(self):
        """The sum was 1.066."""
        rng = np.random.default_rng(0)
        x = np.clip(np.round(1 + 0.8 * rng.normal(size=(1000, 1)) + 0.6 * rng.normal(size=(1000, 7))), 0, 2)
        fitted = nvpflow.FlowDensity(support=[nvpflow.Integer(0, 2)] * 7, random_state=0).fit(x)
        cells = np.stack(np.meshgrid(*[[0, 1, 2]] * 7), axis=-1).reshape(-1, 7)
        assert np.exp(fitted.score_samples(cells).astype(float)).sum() == pytest.approx(1, abs=0.02)


class TestSamples:
    def test_whole_and_inside(self, model):
        samples = model.sample(10_000, random_state=1)
        assert (samples[:, [0, 2]] == np.floor(samples[:, [0, 2]])).all()
        assert samples[:, 0].min() == 0 and samples[:, 2].min() == 0 and samples[:, 2].max() == 10
        assert np.isfinite(model.score_samples(samples)).all()
        np.testing.assert_allclose(samples.mean(axis=0), X.mean(axis=0), atol=0.5)

    def test_with_their_log_masses(self, model):
        samples, log_masses = model.sample_and_log_prob(50)
        np.testing.assert_array_equal(samples, model.sample(50))
        np.testing.assert_allclose(log_masses, model.score_samples(samples), atol=1e-5)

    def test_given_a_context(self):
        fitted = nvpflow.FlowDensity(support=[nvpflow.Integer(0)], **QUICK).fit(X[:, :1], context=X[:, 1:2])
        samples, log_masses = fitted.sample_and_log_prob(20, context=[[0.0], [1.0]], per_context=True)
        assert samples.shape == (2, 20, 1)
        for rows, values, context in zip(samples, log_masses, ([0.0], [1.0])):
            np.testing.assert_allclose(values, fitted.score_samples(rows, context=context), atol=1e-5)


class TestFits:
    def test_places_are_spread_evenly(self):
        data = Data(np.repeat([[3.0, 1], [5, 1]], [4, 2], axis=0))
        kinds = (nvpflow.Integer(), check_kind("", None))
        found = spread(kinds, data, np.random.default_rng(0)).x
        np.testing.assert_allclose(np.sort(found[:4, 0] - 3), [0.125, 0.375, 0.625, 0.875])
        np.testing.assert_allclose(np.sort(found[4:, 0] - 5), [0.25, 0.75])
        assert (found[:, 1] == 1).all() and (np.diff(found[:4, 0]) < 0).any()

    def test_same_seed_same_bits(self, model):
        again = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(X[::-1])
        np.testing.assert_array_equal(again.flow_.parameters, model.flow_.parameters)

    def test_a_generator_is_not_drawn_from_without_whole_numbers(self):
        plain, bounded = np.random.default_rng(0), np.random.default_rng(0)
        options = {**QUICK, "max_iter": 1}
        nvpflow.FlowDensity(**options | {"random_state": plain}).fit(X[:, 1:2])
        nvpflow.FlowDensity(**options | {"random_state": bounded}, support=[(-99, 99)]).fit(X[:, 1:2])
        assert plain.random() == bounded.random()

    def test_weighted_score(self, model):
        weight = np.random.default_rng(0).uniform(size=len(X))
        expected = np.average(model.score_samples(X).astype(float), weights=weight)
        assert model.score(X, sample_weight=weight) == pytest.approx(expected)
        with pytest.raises(ValueError, match="sample_weight must have shape"):
            model.score(X, sample_weight=weight[1:])

    def test_partial_fit_and_warm_start(self):
        fitted = nvpflow.FlowDensity(support=SUPPORT, **QUICK).partial_fit(X)
        before = fitted.partial_fit(draw(600, 1)).score(X)
        assert fitted.set_params(warm_start=True).fit(X).score(X) > before - 0.5
        assert (fitted.sample(100)[:, 0] >= 0).all()

    def test_detector(self):
        for contamination in ("auto", 0.1):
            detector = nvpflow.FlowOutlierDetector(support=SUPPORT, contamination=contamination, **QUICK).fit(X)
            assert 0.01 < np.mean(detector.predict(X) == -1) < 0.2
            assert detector.predict([[60, 0, 10], [2.5, 0, 5]]).tolist() == [-1, -1]

    def test_gradient_is_refused(self, model):
        with pytest.raises(ValueError, match=r"grad_log_prob needs columns of real numbers, and column\(s\) 0, 2 hold whole"):
            model.grad_log_prob(X)

    def test_transform(self, model):
        assert np.isfinite(model.transform(X)).all()
        np.testing.assert_allclose(model.inverse_transform(model.transform(X)), X, atol=1e-3)

    def test_file(self, model, tmp_path):
        model.save(tmp_path / "model.npz")
        loaded = nvpflow.load(tmp_path / "model.npz")
        assert loaded.support == SUPPORT
        np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))
        np.testing.assert_array_equal(loaded.sample(20), model.sample(20))


@pytest.mark.parametrize("value, message", [
    (1.5, "column 0 of X must be in the whole numbers from 0 to 10, its support, got 1.5 in row 2"),
    (-1, "column 0 of X must be in the whole numbers from 0 to 10, its support, got -1 in row 2"),
    (11, "column 0 of X must be in the whole numbers from 0 to 10, its support, got 11 in row 2"),
])  # fmt: skip
def test_bad_values(value, message):
    x = X.copy()
    x[:, 0] = np.minimum(x[:, 0], 10)
    x[2, 0] = value
    with pytest.raises(ValueError, match=re.escape(message)):
        nvpflow.FlowDensity(support=[nvpflow.Integer(0, 10), None, None], **QUICK).fit(x)


def test_numbers_that_a_float_cannot_hold():
    x = np.array([[1, 2], [2**53 + 1, 5], [3, 4]])
    with pytest.raises(
        ValueError, match=r"below 2\*\*53 in size, its support, got 9007199254740992 in row 1: subtract an offset"
    ):
        nvpflow.FlowDensity(support=["integer", None], **QUICK).fit(x)


@pytest.mark.parametrize("arguments, message", [
    ((5, 4), "low must be at most high, got 5 and 4"),
    ((0.5, None), "low must be an integer, got 0.5"),
    ((None, "5"), "high must be an integer, got '5'"),
    ((None, 2**53), "high must be at most"),
    ((-(2**53), None), "low must be at least"),
])  # fmt: skip
def test_bad_bounds(arguments, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        nvpflow.Integer(*arguments)
