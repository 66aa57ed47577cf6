"""Fits do not depend on offsets, units and outliers of samples and context, in either precision."""

import copy
import pickle

import numpy as np
import pytest

import nvpflow
from support.marks import both_precisions

coarse = pytest.mark.filterwarnings("ignore:.*vary by less than a thousand times")


def draw(n, seed):
    """y = sin(3 c) + 0.3 N(0, 1), and the mean of its log-density."""
    generator = np.random.default_rng(seed)
    c = generator.uniform(-1, 1, size=(n, 1))
    noise = generator.normal(size=(n, 1))
    return np.sin(3 * c) + 0.3 * noise, c, (-0.5 * noise**2 - np.log(0.3) - 0.5 * np.log(2 * np.pi)).mean()


Y, C, _ = draw(2000, 0)
FRESH, FRESH_C, KNOWN = draw(2000, 1)


def fit(context=None, y=Y, **parameters):
    return nvpflow.FlowDensity(**dict(random_state=0, max_iter=20) | parameters).fit(y, context=context)


def gap(model, context):
    return KNOWN - model.score(FRESH, context=context)


class TestContext:
    @coarse
    @both_precisions
    @pytest.mark.parametrize("offset", [-1e3, 1e5, 1e8, -1e12])
    def test_offset(self, dtype, offset):
        model = fit(C + offset, dtype=dtype)
        assert gap(model, FRESH_C + offset) < 0.03
        np.testing.assert_allclose(model.sample(2000, context=[offset + 0.5]).mean(), np.sin(1.5), atol=0.1)
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert twin.score(FRESH, context=FRESH_C + offset) == model.score(FRESH, context=FRESH_C + offset)

    @both_precisions
    @pytest.mark.parametrize("scale", [1e18, 1e-18, 1e30, 1e-30])
    def test_scale(self, dtype, scale):
        model = fit(C * scale, dtype=dtype)
        assert gap(model, FRESH_C * scale) < 0.03
        assert model.flow_.nll(FRESH, FRESH_C * scale) == -model.score(FRESH, context=FRESH_C * scale)

    def test_score_matches_training(self):
        """The validation NLL is measured in standard units, the score in the data's."""
        for offset, scale in ((1e3, 1), (0, 1e18)):
            model = fit(C * scale + offset)
            best = np.nanmin(model.history_["validation_nll"])
            assert -model.score(Y, context=C * scale + offset) == pytest.approx(best, abs=0.15)

    def test_coarse_columns_warn(self):
        with pytest.warns(UserWarning, match=r"column\(s\) 1 of context vary by less .* or use dtype=float64") as caught:
            model = fit(np.hstack([C, C + 1e8]))
        assert caught[0].filename == __file__
        assert model.context_origin_[0] == 0 and model.context_origin_[1] == pytest.approx(1e8, rel=1e-6)
        assert (fit(C + 100).context_origin_ == 0).all()

    def test_large_constant_column(self):
        model = fit(np.hstack([C, np.full_like(C, 1e9)]))
        assert gap(model, np.hstack([FRESH_C, np.full_like(C, 1e9)])) < 0.03
        # Rounded to float32, a constant is the same one.
        model = fit(np.hstack([C, np.full_like(C, 0.1)]))
        rounded = np.hstack([FRESH_C, np.full_like(C, 0.1)]).astype(np.float32)
        assert gap(model, rounded) < 0.03

    @pytest.mark.parametrize("value", [1e3, 1e6, -1e30])
    def test_outlier(self, value):
        context = C.copy()
        context[7] = value
        with pytest.warns(
            UserWarning, match=r"column\(s\) 0 of context have outliers, which are clipped to \[-1.199"
        ) as caught:
            model = fit(context)
        assert caught[0].filename == __file__
        assert gap(model, FRESH_C) < 0.03
        assert np.abs(model.context_range_).max() < 1.3
        with pytest.warns(UserWarning, match="leave the range of training in 1 of 2000 rows"):
            assert np.isfinite(model.score_samples(Y, context=context)).all()

    def test_heavy_tails_and_rare_values(self):
        generator = np.random.default_rng(0)
        for column in (generator.normal(size=2000), generator.exponential(size=2000), np.arange(2000) % 100 == 0):
            context = np.column_stack([C, column])
            model = fit(context, max_iter=1)
            assert (model.context_range_[0] <= context.min(axis=0)).all()
            assert (model.context_range_[1] >= context.max(axis=0)).all()

    @coarse
    def test_partial_fit(self):
        model = nvpflow.FlowDensity(random_state=0)
        for _ in range(20):
            for i in range(0, 2000, 500):
                model.partial_fit(Y[i : i + 500], context=C[i : i + 500] + 1e8)
        assert gap(model, FRESH_C + 1e8) < 0.15
        model = fit(C + 1e8)
        for _ in range(3):
            model.partial_fit(Y, context=C + 1e8)
        assert gap(model, FRESH_C + 1e8) < 0.15


class TestSamples:
    @coarse
    @pytest.mark.parametrize("base", ["normal", "mixture"])
    def test_offset(self, base):
        """Scores are those of centred samples; samples come back in float64, since float32 cannot hold them."""
        x = np.hstack([Y, C])
        plain, moved = fit(y=x, base=base), fit(y=x + [0, 1e8], base=base)
        assert moved.score(x + [0, 1e8]) == pytest.approx(plain.score(x), abs=0.02)
        drawn = moved.sample(4000)
        assert drawn.dtype == np.float64 and plain.sample().dtype == np.float32
        assert drawn[:, 1].mean() - 1e8 == pytest.approx(0, abs=0.05)
        assert drawn[:, 1].std() == pytest.approx(C.std(), rel=0.1)
        z = moved.transform(x + [0, 1e8])
        np.testing.assert_allclose(moved.inverse_transform(z), x + [0, 1e8], atol=1e-3)

    @coarse
    def test_partial_fit(self):
        model = nvpflow.FlowDensity(random_state=0)
        plain = nvpflow.FlowDensity(random_state=0)
        x = np.hstack([Y, C])
        for i in range(0, 2000, 500):
            model.partial_fit(x[i : i + 500] - 1e8)
            plain.partial_fit(x[i : i + 500])
        assert model.score(x - 1e8) == pytest.approx(plain.score(x), abs=0.02)

    @coarse
    def test_outliers(self):
        x = np.hstack([Y, C])
        plain, moved = (nvpflow.FlowOutlierDetector(random_state=0, max_iter=5) for _ in range(2))
        plain.fit(x)
        moved.fit(x + 1e8)
        np.testing.assert_allclose(moved.score_samples(x + 1e8), plain.score_samples(x), atol=0.2)
        assert (moved.predict(x + 1e8) == plain.predict(x)).mean() > 0.98

    def test_integers(self):
        days = np.random.default_rng(0).integers(0, 1000, size=(500, 1)) + 10**9
        with pytest.warns(UserWarning, match=r"column\(s\) 0 of X vary by less"):
            model = fit(y=days)
        assert model.score(days) == pytest.approx(-np.log(1000), abs=0.2)

    def test_warning_without_standardisation(self):
        with pytest.warns(UserWarning, match=r"column\(s\) 0 of X vary by less"):
            fit(y=Y + 1e6, standardize=False, max_iter=1)


class TestFigures:
    @coarse
    def test_density(self):
        from nvpflow.plot._model import check_model

        x = np.hstack([Y, C])
        model = fit(y=x + 1e8, context=C + 1e8)
        drawable = check_model(model, [1e8 + 0.5])
        expected = model.score_samples(x + 1e8, context=[1e8 + 0.5])
        np.testing.assert_allclose(drawable.log_prob(x + 1e8), expected)
        assert drawable.sample_and_log_prob(100)[0].mean() == pytest.approx(1e8, abs=5)
        assert drawable.trace(np.zeros((1, 2)))[-1].mean() == pytest.approx(1e8, abs=5)
        np.testing.assert_allclose(drawable.inverse(x + 1e8)[0], model.transform(x + 1e8, context=[1e8 + 0.5]))
        with pytest.warns(UserWarning, match="column.* 0 of context leave the range"):
            check_model(model, [2e8])
