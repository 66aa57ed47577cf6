"""FlowDensity: partial_fit, warm_start, held-out samples and the choice of the base."""

import copy
import pickle
import re

import numpy as np
import pytest
import scipy.stats

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow._training.mixture_search import fit_mixture
from nvpflow._training.partial_fit import Stream
from nvpflow._training.split import split
from support.estimators import FRESH, X, make

STANDARDIZED = (X - X.mean(axis=0)) / X.std(axis=0)
ENTROPY = 1 + np.log(2 * np.pi) + np.log(0.5)  # of these normal samples, exactly


def stream(model, pieces, size=100):
    for i in range(pieces):
        start = i * size % len(X)
        model.partial_fit(X[start : start + size])
    return model


class TestPartialFit:
    def test_learns(self):
        model = stream(make(coupling="affine"), 1)
        first = -model.score(FRESH)
        stream(model, 300)
        assert model.n_samples_seen_ == 30_100 and model.n_iter_ == 301 == len(model.history_["train_nll"])
        # The pieces are the same 300 samples over and over; the entropy is what no model can beat on fresh ones.
        assert ENTROPY - 0.02 < -model.score(FRESH) < min(ENTROPY + 0.06, first)

    def test_moments_persist(self):
        """Full batches without noise are the steps of one Adam, where all shifts are in units of standard deviations."""
        model, X = make(noise=0, batch_size=None, dtype="float64", average=0), STANDARDIZED
        flow = Stream(model, Data(X), np.dtype(np.float64)).new_flow(model, Data(X))
        adam = nvpflow.Adam(flow.parameters, 5e-3)
        for _ in range(20):
            nll, grad = flow.nll_and_grad(X)
            adam.step(grad)
            model.partial_fit(X)
            assert model.history_["train_nll"][-1] == pytest.approx(nll, rel=1e-9)
        np.testing.assert_allclose(model.flow_.parameters, flow.parameters, rtol=1e-6, atol=1e-9)

    def test_continues_after_copy(self):
        model = stream(make(), 3)
        twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        before = model.flow_.parameters.copy()
        for twin in twins:
            stream(twin, 5)
            np.testing.assert_array_equal(model.flow_.parameters, before)
        stream(model, 5)
        for twin in twins:
            np.testing.assert_array_equal(twin.flow_.parameters, model.flow_.parameters)

    def test_continues_after_fit(self):
        model = make().fit(X)
        before = model.score(X)
        model.partial_fit(X[:1])  # later pieces may be small
        assert model.n_samples_seen_ == 301 and list(model.history_) == ["train_nll"] and model.n_iter_ == 21
        assert abs(model.score(X) - before) < 0.1
        model.fit(X)
        assert model.score(X) == before and model.n_samples_seen_ == 300

    def test_minibatches(self):
        whole, parts = (make(noise=0, batch_size=size).partial_fit(X) for size in (None, 50))
        assert parts.score(FRESH) > whole.score(FRESH)  # six steps against one
        with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
            parts.set_params(batch_size=0).partial_fit(X)

    def test_divergence(self):
        model = make(coupling="affine", scale_bound=None, noise=0).partial_fit(X)
        before = model.flow_.parameters.copy()
        model.set_params(learning_rate=1e3, batch_size=100)  # the first update spoils it, the second one meets that
        with pytest.warns(nvpflow.ConvergenceWarning, match="training diverged") as caught:
            model.partial_fit(X)
        assert caught[0].filename == __file__
        np.testing.assert_array_equal(model.flow_.parameters, before)

    def test_bad_pieces(self):
        model = make()
        for bad, message in (
            (X[:1], "X has 1 sample(s) (shape=(1, 2)) while a minimum of 2 is required"),
            (np.ones((5, 2)), "X must have no constant column, got one in column(s) 0, 1"),
            (X * np.nan, "X must be finite in float32"),
        ):
            with pytest.raises(ValueError, match=re.escape(message)):
                model.partial_fit(bad)
            assert vars(model).keys() == model.get_params().keys()
        with pytest.raises(ValueError, match="learning_rate must be finite and > 0"):
            model.set_params(learning_rate=-1.0).partial_fit(X)
        assert vars(model).keys() == model.get_params().keys()
        model.set_params(learning_rate=1e-3).partial_fit(X)
        before = model.flow_.parameters.copy()
        for bad, message in ((X[:, :1], "X has 1 features, but FlowDensity is expecting 2"), (X[:0], "X has 0 sample(s)")):
            with pytest.raises(ValueError, match=re.escape(message)):
                model.partial_fit(bad)
        np.testing.assert_array_equal(model.flow_.parameters, before)
        assert model.n_samples_seen_ == 300


class TestWarmStart:
    def test_starts_from_fit(self):
        model = make(warm_start=True).fit(X)
        expected = model.flow_.copy()
        model.set_params(max_iter=1, learning_rate=1e-12, noise=0).fit(X)
        np.testing.assert_allclose(model.flow_.parameters, expected.parameters, atol=1e-9)
        model.set_params(warm_start=False, random_state=1).fit(X)
        assert np.abs(model.flow_.layers[0].parameters - expected.layers[0].parameters).max() > 1e-3

    def test_other_flow(self):
        model = make(warm_start=True).fit(X)
        flow, before = model.flow_, model.flow_.parameters.copy()
        for change in (dict(hidden_dim=4), dict(n_layers=3), dict(coupling="affine", scale_bound=None), dict(dtype="float64")):
            (name, value), *_ = change.items()
            with pytest.raises(ValueError, match=f"warm_start needs .* {name} .* -> {value}"):
                copy.copy(model).set_params(**change).fit(X)
        with pytest.raises(ValueError, match="warm_start needs .* got features 2 -> 1$"):
            model.fit(X[:, :1])
        assert model.flow_ is flow and model.n_features_in_ == 2
        np.testing.assert_array_equal(flow.parameters, before)


class TestHeldOutSamples:
    @pytest.mark.filterwarnings("ignore:column.* repeat few values")
    def test_column_with_one_other_value(self):
        """No split leaves the training samples with a constant column."""
        x = np.zeros((20, 3))
        x[:, 0] = np.arange(20)
        x[3, 1] = x[7, 2] = 1
        for seed in range(8):
            training, validation = split(make(validation_fraction=0.5), Data(x), seed)
            assert {3, 7} <= set(training.x[:, 0]) and 8 <= len(validation.x) <= 10
            assert sorted(np.append(training.x[:, 0], validation.x[:, 0])) == list(range(20))
        assert np.isfinite(make(validation_fraction=0.5, max_iter=2).fit(x).score(x))

    @pytest.mark.filterwarnings("ignore:X has 2 rows for 2 columns")
    @pytest.mark.parametrize("base", ["auto", "normal"])
    def test_two_samples(self, base):
        model = make(base=base).fit([[0.0, 1.0], [2.0, 5.0]])
        assert "validation_nll" not in model.history_
        assert np.isfinite(model.score([[1.0, 3.0]]))


def checkerboard(rng, n):
    x = rng.uniform(-2, 2, n)
    return np.column_stack([x, np.floor(x) % 2 + 2 * rng.integers(0, 2, n) - 2 + rng.uniform(size=n)])


class TestBase:
    def test_auto(self):
        assert make().fit(X).flow_.base is not None
        assert make(validation_fraction=None).fit(X).flow_.base is None
        assert make().fit(X[:, 1:], context=X[:, :1]).flow_.base is not None
        assert make(base="normal").fit(X).flow_.base is None
        for options in (dict(validation_fraction=None), dict()):
            given = make(base="mixture", **options)
            given.fit(X[:, 1:], context=X[:, :1])
            assert given.flow_.base is not None and np.isfinite(given.score(X[:, 1:], context=X[:, :1]))

    def test_normal_samples(self):
        """One component keeps the mean and, up to the prior, the covariance of all samples."""
        model = make(random_state=1).fit(X)
        assert model.best_iter_ == 0 and model.flow_.base.n_components == 1
        samples = model.sample(100_000, random_state=1)
        np.testing.assert_allclose(samples.mean(axis=0), X.mean(axis=0), atol=0.03)
        np.testing.assert_allclose(np.cov(samples.T), np.cov(X.T), rtol=0.03)
        scores = model.score_samples(X)
        exact = scipy.stats.multivariate_normal(X.mean(axis=0), np.cov(X.T, bias=True)).logpdf(X)
        np.testing.assert_allclose(scores, exact, atol=0.02)

    def test_layers_that_improve_the_mixture(self):
        x, fresh = (checkerboard(np.random.default_rng(seed), n) for seed, n in ((0, 2000), (1, 20_000)))
        model = nvpflow.FlowDensity(random_state=0, max_iter=150).fit(x)
        assert model.best_iter_ > 0 and model.search_["weight"][-1] == 1
        base = model.flow_.base
        latent, _log_det = model.flow_.inverse(fresh)
        assert np.abs(latent - (fresh - x.mean(axis=0)) / x.std(axis=0)).max() > 0.05  # they do something
        alone = nvpflow.Flow([nvpflow.ActNorm(2)], fit_mixture(x.astype(np.float32), seed=0))
        assert base is not None and model.score(fresh) > alone.log_prob(fresh).mean() + 0.005

    @pytest.mark.parametrize("n", [2, 3, 5, 10, 25])
    def test_few_held_out_samples(self, n):
        """A standard error from a few samples is no evidence for the layers."""
        model = make(max_iter=200, validation_fraction=0.2).fit(X[:n] if n > 2 else [[0.0, 0], [1, 2], [2, 1]])
        assert model.best_iter_ == 0
        assert np.isfinite(model.score(FRESH))

    def test_weights(self):
        """To the mixture, weight 3 counts as three samples."""
        weight = np.arange(300) % 3 + 1
        weighted = make(validation_fraction=None, base="mixture", max_iter=1, learning_rate=1e-12).fit(X, sample_weight=weight)
        repeated = make(validation_fraction=None, base="mixture", max_iter=1, learning_rate=1e-12).fit(
            X.repeat(weight, axis=0)
        )
        np.testing.assert_allclose(weighted.score_samples(X), repeated.score_samples(X), atol=1e-4)

    def test_warm_start(self):
        model = make(warm_start=True).fit(X)
        for base, other in (("mixture", "normal"), ("normal", "mixture")):
            fitted = make(warm_start=True, base=base).fit(X)
            fitted.set_params(base="auto").fit(X)
            assert (fitted.flow_.base is None) == (base == "normal")
            with pytest.raises(ValueError, match=f"warm_start needs .* got base {base} -> {other}$"):
                fitted.set_params(base=other).fit(X)
        assert model.flow_.base is not None

    def test_partial_fit(self):
        assert stream(make(), 1).flow_.base is None
        model = stream(make(base="mixture"), 3)
        assert model.flow_.base is not None and ENTROPY - 0.02 < -model.score(FRESH) < ENTROPY + 0.2

    @pytest.mark.parametrize("fit", ["fit", "partial_fit"])
    def test_unknown_base(self, fit):
        model = make(base="gaussian")
        with pytest.raises(ValueError, match="base must be one of 'auto', 'normal', 'mixture', 'student_t', got 'gaussian'"):
            getattr(model, fit)(X)
        assert not hasattr(model, "flow_")

    def test_spline_options(self):
        for base, n_bins, tail_bound in (("mixture", 6, 3.0), ("normal", 4, 5.0)):
            layer = make(base=base).fit(X).flow_.layers[0]
            assert (layer.n_bins, layer.tail_bound) == (n_bins, tail_bound)
        with pytest.raises(ValueError, match="learning_rate must be finite and > 0"):
            make(learning_rate=0).fit(X)
        layer = make(n_bins=9, tail_bound=2.5).fit(X).flow_.layers[0]
        assert (layer.n_bins, layer.tail_bound) == (9, 2.5)
        with pytest.raises(ValueError, match="n_bins must be at least 2, got 1"):
            make(n_bins=1).fit(X)
