"""FlowDensity with a context and with sample weights."""

import copy
import pickle
import re

import numpy as np
import pytest

import nvpflow
from nvpflow._training.context import ContextScaler
from nvpflow._training.dataset import Data
from nvpflow._training.partial_fit import Stream
from nvpflow._training.standardize import Units
from nvpflow._training.statistics import moments
from support.estimators import make
from support.marks import both_precisions

rng = np.random.RandomState(0)
CONTEXT = rng.normal(size=(120, 2)) * [3.0, 0.1] + [100.0, -2.0]
X = rng.normal(size=(120, 2)) + CONTEXT[:, 1:]
WEIGHT = rng.uniform(0.1, 3.0, 120)
FLOAT64 = np.dtype(np.float64)


def log_normal(x, mean, deviation):
    """Log-density of independent normal numbers, summed over the columns."""
    return (-0.5 * ((x - mean) / deviation) ** 2 - np.log(deviation) - 0.5 * np.log(2 * np.pi)).sum(axis=1)


class TestAccuracy:
    @staticmethod
    def draw(n, seed, dim):
        """Normal numbers whose mean and deviation depend on a context in units of its own, and their log-densities."""
        generator = np.random.default_rng(seed)
        c = generator.uniform(-1, 1, size=(n, 2))
        angle = 3 * c[:, :1]
        mean = np.hstack([2 * np.sin(angle), c[:, 1:] ** 2])[:, :dim]
        deviation = np.hstack([0.3 + 0.5 * c[:, 1:] ** 2, np.exp(c[:, :1])])[:, :dim]
        x = mean + deviation * generator.normal(size=(n, dim))
        return x, c * [40, 0.02] + [1000, 3], log_normal(x, mean, deviation)

    @pytest.mark.parametrize("dim", [1, 2])
    def test_known_conditional_density(self, dim):
        """On fresh points the flow is as good as the density that made them, up to 0.06 nats; so are its samples."""
        x, context, _ = self.draw(4000, 0, dim)
        fresh, fresh_context, known = self.draw(4000, 1, dim)
        model = nvpflow.FlowDensity(4, 32, coupling="affine", base="normal", max_iter=60, random_state=0).fit(
            x, context=context
        )
        divergence = known.mean() - model.score(fresh, context=fresh_context)
        assert -0.01 < divergence < 0.06
        unconditional = nvpflow.FlowDensity(4, 32, coupling="affine", max_iter=60, random_state=0).fit(x)
        assert known.mean() - unconditional.score(fresh) > 0.5

        at = [1000 + 40 * 0.5, 3 + 0.02 * 0.8]
        drawn = model.sample(20_000, random_state=1, context=at)
        assert drawn[:, 0].mean() == pytest.approx(2 * np.sin(1.5), abs=0.15)
        assert drawn[:, 0].std() == pytest.approx(0.3 + 0.5 * 0.8**2, rel=0.15)
        z = model.transform(fresh, context=fresh_context)
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.1)
        np.testing.assert_allclose(z.std(axis=0), 1, atol=0.1)

    @staticmethod
    def draw_linear(n, seed):
        """Normal numbers whose mean is linear in the context, and their log-densities."""
        generator = np.random.default_rng(seed)
        slopes, factor = np.random.default_rng(7).normal(size=(4, 5)), np.tril(np.full((5, 5), 0.3)) + np.eye(5)
        c, noise = generator.normal(size=(n, 4)), generator.normal(size=(n, 5))
        log_density = log_normal(noise, 0, 1) - np.log(np.diag(factor)).sum()
        return c @ slopes + noise @ factor.T + 3, c * [100, 1, 1e-3, 1] + [0, 5, 1, 0], log_density

    @both_precisions
    @pytest.mark.filterwarnings("ignore:.* of context leave the range of training")  # a few of 20 000 do
    def test_linear_model(self, dtype):
        """The maximum-likelihood estimate of its 40 parameters from 1000 samples would be 0.02 nats worse than the truth."""
        x, context, _ = self.draw_linear(1000, 0)
        fresh, fresh_context, known = self.draw_linear(20_000, 1)
        model = nvpflow.FlowDensity(random_state=0, dtype=dtype, max_iter=20).fit(x, context=context)
        assert 0 < known.mean() - model.score(fresh, context=fresh_context) < 0.05
        for _ in range(3):
            model.partial_fit(x, context=context)
        assert 0 < known.mean() - model.score(fresh, context=fresh_context) < 0.3

    def test_weighted_distribution(self):
        """Samples of N(0, 2^2), weighted by the ratio of densities, teach N(1, 1)."""
        generator = np.random.default_rng(0)
        x, target = 2 * generator.normal(size=(4000, 2)), 1 + generator.normal(size=(4000, 2))
        weight = np.exp(log_normal(x, 1, 1) - log_normal(x, 0, 2))
        model = make(max_iter=60)
        entropy = 1 + np.log(2 * np.pi)
        assert -model.fit(x, sample_weight=1e6 * weight).score(target) == pytest.approx(entropy, abs=0.05)
        assert -model.fit(x).score(target) > entropy + 0.3
        for _ in range(60):
            model.partial_fit(x, sample_weight=weight)
        assert -model.score(target) == pytest.approx(entropy, abs=0.05)


class TestUnits:
    RAW = Data(X @ [[1.0, 2.0], [0.0, 0.5]] + [5.0, -3.0] + CONTEXT, CONTEXT, WEIGHT)
    DATA = ContextScaler(RAW, True, FLOAT64).transform(RAW)

    @pytest.mark.parametrize("whiten", [False, True])
    def test_layers_hold_units(self, whiten):
        units = Units.of(self.DATA, True, whiten, FLOAT64)
        z = units.standardize(self.DATA.x, self.DATA.context)
        mean, deviation = moments(z, WEIGHT)
        np.testing.assert_allclose(mean, 0, atol=1e-10)
        np.testing.assert_allclose(deviation, 1, rtol=1e-10 if not whiten else 0.1)
        flow = nvpflow.Flow(units.layers())
        latent, log_det = flow.inverse(self.DATA.x, self.DATA.context)
        np.testing.assert_allclose(latent, z, atol=1e-10)
        np.testing.assert_allclose(log_det, -units.log_det)
        again = Units.from_layers(flow.layers, True, True, FLOAT64)
        np.testing.assert_allclose(again.standardize(self.DATA.x, self.DATA.context), z, atol=1e-10)
        assert Units.from_layers(flow.layers, True, False, FLOAT64) is None

    def test_residuals_of_least_squares(self):
        """With many more samples than columns, the penalty is small."""
        root = np.sqrt(WEIGHT)[:, np.newaxis]
        columns = np.column_stack([np.ones(120), self.DATA.context])
        fitted = columns @ np.linalg.lstsq(root * columns, root * self.DATA.x, rcond=None)[0]
        left = (self.DATA.x - fitted) / moments(self.DATA.x - fitted, WEIGHT)[1]
        z = Units.of(self.DATA, True, False, FLOAT64).standardize(self.DATA.x, self.DATA.context)
        np.testing.assert_allclose(z, left, atol=0.05)

    def test_independent_context(self):
        noise = np.random.RandomState(3).normal(size=(120, 40))
        x = Units.of(self.DATA._replace(context=noise), True, False, FLOAT64).standardize(self.DATA.x, noise)
        plain = Units.of(self.DATA._replace(context=None), True, False, FLOAT64).standardize(self.DATA.x)
        np.testing.assert_allclose(x, plain, atol=0.5)


class TestContext:
    @both_precisions
    @pytest.mark.parametrize("dim", [1, 2])
    def test_every_method(self, dtype, dim, tmp_path):
        x = X[:, :dim]
        model = make(dtype=dtype, base="normal").fit(x, context=CONTEXT)
        assert model.flow_.context_dim == 2 and model.n_features_in_ == dim
        log_density = model.score_samples(x, context=CONTEXT)
        np.testing.assert_array_equal(log_density, model.flow_.log_prob(x, CONTEXT))  # which reads it in its own units
        assert model.score(x, context=CONTEXT) == pytest.approx(log_density.mean(), rel=1e-5)
        z = model.transform(x, context=CONTEXT)
        np.testing.assert_allclose(model.inverse_transform(z, context=CONTEXT), x, atol=1e-4)
        np.testing.assert_array_equal(make(dtype=dtype, base="normal").fit_transform(x, context=CONTEXT), z)
        assert model.sample(120, context=CONTEXT).shape == (120, dim)
        assert np.abs(model.score_samples(x, context=CONTEXT[::-1]) - log_density).min() > 0
        model.save(tmp_path / "model.npz")
        for twin in (nvpflow.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            np.testing.assert_array_equal(twin.score_samples(x, context=CONTEXT), log_density)

    def test_one_row_is_broadcast(self):
        model = make().fit(X, context=CONTEXT)
        same = np.tile(CONTEXT[3], (120, 1))
        for one in (CONTEXT[3], CONTEXT[3:4], CONTEXT[3].tolist()):
            np.testing.assert_array_equal(model.score_samples(X, context=one), model.score_samples(X, context=same))
            np.testing.assert_array_equal(model.sample(120, context=one), model.sample(120, context=same))
            np.testing.assert_array_equal(model.transform(X, context=one), model.transform(X, context=same))

    def test_unit_invariance(self):
        """The fit is the same but for rounding."""
        scale, shift = [1e6, 1e-5], [3e6, 1.0]
        one, other = make(dtype="float64"), make(dtype="float64")
        one.fit(X, context=CONTEXT).partial_fit(X[:50], context=CONTEXT[:50])
        other.fit(X, context=CONTEXT * scale + shift).partial_fit(X[:50], context=CONTEXT[:50] * scale + shift)
        expected = one.score_samples(X, context=CONTEXT)
        np.testing.assert_allclose(other.score_samples(X, context=CONTEXT * scale + shift), expected, rtol=1e-5)
        raw, rescaled = (make(dtype="float64", base="normal", standardize=False) for _ in range(2))
        expected = raw.fit(X, context=CONTEXT).score_samples(X, context=CONTEXT)
        found = rescaled.fit(X, context=CONTEXT * [10, 0.1]).score_samples(X, context=CONTEXT * [10, 0.1])
        assert np.abs(found - expected).max() > 0.01

    @both_precisions
    def test_standardisation_in_first_layers(self, dtype):
        scaler = ContextScaler(Data(X, CONTEXT.astype(dtype), WEIGHT), True, np.dtype(dtype))
        mean = np.average(CONTEXT, axis=0, weights=WEIGHT)
        deviation = np.sqrt(np.average((CONTEXT - mean) ** 2, axis=0, weights=WEIGHT))
        np.testing.assert_allclose(scaler.mean, mean, rtol=1e-6)
        np.testing.assert_allclose(scaler.scale, deviation, rtol=1e-5)
        couplings = nvpflow.CouplingLayer, nvpflow.AdditiveCoupling, nvpflow.SplineCoupling
        flow = nvpflow.Flow([
            *(cls(2, (5, 4), context_dim=2, dtype=dtype, random_state=0) for cls in couplings),
            nvpflow.CouplingLayer(2, 5, networks="shared", context_dim=2, dtype=dtype, random_state=1),
            nvpflow.ActNorm(2, dtype=dtype),
        ])  # fmt: skip
        x, standardized = X.astype(dtype), scaler.transform(Data(X, CONTEXT.astype(dtype))).context
        before, expected = flow.parameters.copy(), flow.log_prob(x, standardized)
        scaler.to_own_units(flow)
        tolerance = 2e-4 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(flow.log_prob(x, CONTEXT), expected, rtol=tolerance, atol=tolerance)
        scaler.to_standardized(flow)
        np.testing.assert_allclose(flow.parameters, before, rtol=tolerance, atol=tolerance)

    @both_precisions
    def test_constant_columns(self, dtype):
        constant = np.column_stack([CONTEXT, np.full(120, 1e9)])
        model = make(dtype=dtype).fit(X, context=constant)
        assert np.isfinite(model.score(X, context=constant))
        with pytest.warns(UserWarning, match=r"column\(s\) 2 of context leave the range of training"):
            drawn = model.sample(5, context=[100.0, -2.0, 0.0])
        np.testing.assert_array_equal(drawn, model.sample(5, context=[100.0, -2.0, 1e9]))
        only = make(dtype=dtype).fit(X, context=constant[:, 2:]).partial_fit(X, context=constant[:, 2:])
        assert np.isfinite(only.score(X, context=[1e9]))

    def test_unresolved_columns_warn(self):
        coarse = CONTEXT + [0, 1e6]
        for fit in (make().fit, make().partial_fit):
            message = r"column\(s\) 1 of context vary by less than .* or use dtype=float64"
            with pytest.warns(UserWarning, match=message) as caught:
                fit(X, context=coarse)
            assert caught[0].filename == __file__

    @both_precisions
    def test_column_determined_by_context(self, dtype):
        x = np.column_stack([X[:, 0], 2 * CONTEXT[:, 0] - 100])
        model = make(dtype=dtype).fit(x, context=CONTEXT)
        assert model.score(x, context=CONTEXT) > 2
        np.testing.assert_allclose(model.sample(120, context=CONTEXT)[:, 1], x[:, 1], atol=0.1)
        assert np.isfinite(model.partial_fit(x, context=CONTEXT).score(x, context=CONTEXT))

    @pytest.mark.filterwarnings("ignore:X has 2 rows for 2 columns")
    @pytest.mark.parametrize("n", [2, 3, 4, 10])
    def test_more_columns_than_samples(self, n):
        context = np.random.RandomState(n).normal(size=(n, 30))
        for base in ("auto", "normal"):
            model = make(base=base).fit(X[:n], context=context)
            assert np.isfinite(model.score(X, context=context[0]))

    def test_warm_start(self):
        model = make(warm_start=True, dtype="float64", base="normal").fit(X, context=CONTEXT)
        expected = model.score_samples(X, context=CONTEXT)
        # Other samples have another mean and deviation, but the function does not change.
        model.set_params(max_iter=1, learning_rate=1e-12, noise=0).fit(X[:30], context=CONTEXT[:30])
        np.testing.assert_allclose(model.score_samples(X, context=CONTEXT), expected, rtol=1e-8)
        with pytest.raises(ValueError, match="warm_start needs .* columns of context 2 -> 0"):
            model.fit(X)

    def test_partial_fit(self):
        """Contexts stay in the units of the first piece, even in pieces of constant context, and after a copy."""
        model = make(dtype="float64")
        for i in range(0, 120, 40):
            model.partial_fit(X[i : i + 40], context=CONTEXT[i : i + 40])
        twin = pickle.loads(pickle.dumps(model))
        for each in (model, twin):
            each.partial_fit(X[:1], context=CONTEXT[0])
        np.testing.assert_array_equal(model.flow_.parameters, twin.flow_.parameters)
        assert model.n_samples_seen_ == 121 and np.isfinite(model.score(X, context=CONTEXT))
        with pytest.raises(ValueError, match="context must be given"):
            model.partial_fit(X)
        model = make(coupling="affine", scale_bound=None, noise=0, batch_size=40).partial_fit(X, context=CONTEXT)
        before = model.flow_.parameters.copy()
        with pytest.warns(nvpflow.ConvergenceWarning, match="training diverged"):
            model.set_params(learning_rate=1e3).partial_fit(X, context=CONTEXT)
        np.testing.assert_array_equal(model.flow_.parameters, before)

    def test_interrupted_fit_keeps_units(self):
        def interrupt(epoch, train_nll, validation_nll):
            if epoch == 20:
                raise KeyboardInterrupt

        plain = dict(schedule="constant", warmup=0, n_init=1, base="normal")
        model, whole = make(max_iter=30, **plain), make(max_iter=20, **plain)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, context=CONTEXT, callback=interrupt)
        expected = whole.fit(X, context=CONTEXT).score_samples(X, context=CONTEXT)
        np.testing.assert_array_equal(model.score_samples(X, context=CONTEXT), expected)

    @pytest.mark.parametrize("context, error, message", [
        (CONTEXT[:5], ValueError, "context must have one row for each of 120 samples, got shape (5, 2)"),
        (CONTEXT[:, 0], ValueError, "context must have shape (n, D), got (120,). Reshape your data"),
        (CONTEXT * np.nan, ValueError, "context must be finite in float32"),
        (CONTEXT.astype(str), TypeError, "context must be an array of real numbers"),
        (CONTEXT[:, :0], ValueError, "context has 0 feature(s)"),
    ])  # fmt: skip
    def test_bad_contexts_in_fit(self, context, error, message):
        model = make().fit(X)
        before = model.score_samples(X)
        with pytest.raises(error, match=re.escape(message)):
            model.fit(X, context=context)
        np.testing.assert_array_equal(model.score_samples(X), before)

    @pytest.mark.parametrize("context, error, message", [
        (None, ValueError, "context must be given, as to fit: 2 column(s)"),
        (CONTEXT[:5], ValueError, "context must have shape (120, 2), or (2,) or (1, 2) for all samples, got (5, 2)"),
        (CONTEXT[:, :1], ValueError, "(120, 2), or (2,) or (1, 2) for all samples, got (120, 1)"),
        ([np.inf, 0.0], ValueError, "context must be finite in float32"),
        (["a", "b"], TypeError, "context must be an array of real numbers"),
    ])  # fmt: skip
    def test_bad_contexts_after_fit(self, context, error, message):
        model = make().fit(X, context=CONTEXT)
        for use in (model.score_samples, model.transform, model.inverse_transform):
            with pytest.raises(error, match=re.escape(message)):
                use(X, context=context)
        for use in (model.score, model.partial_fit):
            with pytest.raises(error, match=re.escape(message)):
                use(X, context=context)
        with pytest.raises(error, match=re.escape(message)):
            model.sample(120, context=context)

    def test_unexpected_context(self):
        model = make().fit(X)
        for use in (model.score_samples, model.transform):
            with pytest.raises(ValueError, match="context must be None, as FlowDensity was fitted without"):
                use(X, context=CONTEXT)


class TestSampleWeight:
    def test_weight_two(self):
        count = rng.randint(0, 4, 120)
        exact = dict(dtype="float64", validation_fraction=None, noise=0, batch_size=None)
        weighted = make(**exact).fit(X, context=CONTEXT, sample_weight=count)
        repeated = make(**exact).fit(X.repeat(count, axis=0), context=CONTEXT.repeat(count, axis=0))
        assert weighted.n_samples_seen_ == (count > 0).sum()
        np.testing.assert_allclose(
            weighted.score_samples(X, context=CONTEXT), repeated.score_samples(X, context=CONTEXT), rtol=1e-6
        )
        weighted.partial_fit(X, context=CONTEXT, sample_weight=count)
        repeated.partial_fit(X.repeat(count, axis=0), context=CONTEXT.repeat(count, axis=0))
        np.testing.assert_allclose(
            weighted.score_samples(X, context=CONTEXT), repeated.score_samples(X, context=CONTEXT), rtol=1e-6
        )

    def test_weight_zero(self):
        """To the last bit."""
        weight = WEIGHT * (rng.uniform(size=120) < 0.7)
        spoilt = np.where(weight[:, None] > 0, X, 1e6)
        kept = weight > 0
        one, other = make(), make()
        one.fit(spoilt, sample_weight=weight).partial_fit(spoilt, sample_weight=weight)
        other.fit(X[kept], sample_weight=weight[kept]).partial_fit(X[kept], sample_weight=weight[kept])
        np.testing.assert_array_equal(one.score_samples(X), other.score_samples(X))

    def test_scale_invariance(self):
        expected = make().fit(X, sample_weight=WEIGHT).score_samples(X)
        for factor in (1e-300, 2.0**-10, 1e307):
            given = make().fit(X, sample_weight=WEIGHT * factor).score_samples(X)
            np.testing.assert_allclose(given, expected, rtol=1e-4)
        equal = make().fit(X, sample_weight=[3] * 120)
        np.testing.assert_array_equal(equal.score_samples(X), make().fit(X).score_samples(X))

    def test_validation(self):
        """Held-out samples keep their weights in the validation NLL."""
        far = np.arange(120) % 2 == 1
        x = np.where(far[:, None], X + 50, X)
        weight = np.where(far, 1e-9, 1.0)
        history = make(max_iter=200).fit(x, sample_weight=weight).history_["validation_nll"]
        # Measured now and then, and after the last epoch.
        assert len(history) >= 20 and history[-1] < 6

    def test_minibatch_gradients_are_unbiased(self):
        """With fixed parameters, gradients and NLL average to those of the whole."""

        class Recorder(list):
            step = list.append

        data, grads = Data(X, CONTEXT, WEIGHT), Recorder()
        stream = Stream(make(), data, FLOAT64)
        flow = stream.new_flow(make(dtype="float64"), data)
        nll, _ = stream._epoch(flow, grads, data, 40, np.zeros(2), flow.parameters.copy(), 0.0)
        expected_nll, expected = flow.nll_and_grad(X, CONTEXT, WEIGHT)
        assert len(grads) == 3 and nll == pytest.approx(expected_nll, rel=1e-12)
        np.testing.assert_allclose(np.mean(grads, axis=0), expected, rtol=1e-9, atol=1e-12)

    def test_standardisation(self):
        model = make(max_iter=1, learning_rate=1e-12, validation_fraction=None, dtype="float64")
        model.fit(X, sample_weight=WEIGHT)
        mean, deviation = moments(X, WEIGHT)
        np.testing.assert_allclose(model.flow_.layers[-1].bias, mean, rtol=1e-6)
        np.testing.assert_allclose(np.exp(model.flow_.layers[-1].log_scale), deviation, rtol=1e-6)
        np.testing.assert_allclose(mean, WEIGHT @ X / WEIGHT.sum())
        assert np.abs(mean - X.mean(axis=0)).min() > 1e-3

    @pytest.mark.parametrize("weight, error, message", [
        (np.ones(5), ValueError, "sample_weight must have shape (120,), one weight for each sample, got (5,)"),
        (np.ones((120, 1)), ValueError, "sample_weight must have shape (120,)"),
        (np.r_[WEIGHT[:-1], -1], ValueError, "sample_weight must be finite and >= 0, got -1.0 in row 119"),
        (np.r_[np.nan, WEIGHT[1:]], ValueError, "sample_weight must be finite and >= 0, got nan in row 0"),
        (np.zeros(120), ValueError, "sample_weight must not be zero everywhere"),
        (np.eye(120)[3], ValueError, "sample_weight must be more than zero for a minimum of 2 sample(s), got 1"),
        (WEIGHT.astype(str), TypeError, "sample_weight must be an array of real numbers"),
        (1.0, ValueError, "sample_weight must have shape (120,), one weight for each sample, got ()"),
    ])  # fmt: skip
    def test_bad_weights(self, weight, error, message):
        for model in (make(), make(nvpflow.FlowOutlierDetector)):
            model.fit(X)
            before = model.score_samples(X)
            with pytest.raises(error, match=re.escape(message)):
                model.fit(X, sample_weight=weight)
            np.testing.assert_array_equal(model.score_samples(X), before)
        with pytest.raises(error, match=re.escape(message)):
            make().partial_fit(X, sample_weight=weight)

    def test_score(self):
        model = make(dtype="float64").fit(X)
        assert model.score(X, sample_weight=WEIGHT) == pytest.approx(np.average(model.score_samples(X), weights=WEIGHT))
        assert model.score(X, sample_weight=WEIGHT) != pytest.approx(model.score(X))
        for bad, what in ((WEIGHT[:5], "have shape (120,)"), (-WEIGHT, "be finite and >= 0")):
            with pytest.raises(ValueError, match=re.escape(f"sample_weight must {what}")):
                model.score(X, sample_weight=bad)

    def test_contamination(self):
        for share in (0.1, 0.3, 0.5):
            detector = make(nvpflow.FlowOutlierDetector, contamination=share)
            outside = detector.fit_predict(X, sample_weight=WEIGHT) == -1
            assert WEIGHT[outside].sum() / WEIGHT.sum() == pytest.approx(share, abs=WEIGHT.max() / WEIGHT.sum())
