"""Columns with bounds: densities, samples, values on and outside of bounds, weights, contexts, warm starts, pieces, files."""

import copy
import pickle
import re

import numpy as np
import pytest

import nvpflow
from support.checks import central_difference
from support.marks import both_kinds, both_precisions

SUPPORT = [(0, 1), (2, None), None, (None, 0)]
QUICK = dict(n_layers=2, hidden_dim=8, max_iter=5, random_state=0)


def draw(n, seed=0):
    """Rows in SUPPORT, dependent."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 4)) @ (np.eye(4) + 0.4)
    return np.c_[1 / (1 + np.exp(-z[:, 0])), 2 + np.exp(z[:, 1]), z[:, 2], -np.log1p(np.exp(z[:, 3]))]


X = draw(400)


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(X)


def is_inside(x):
    return (x[:, 0] >= 0) & (x[:, 0] <= 1) & (x[:, 1] >= 2) & (x[:, 3] <= 0)


class TestDensity:
    @pytest.mark.parametrize("name, bounds, exact", [
        ("uniform", (3, 5), -np.log(2)), ("exponential", (7, None), -1.0), ("exponential below", (None, 7), -1.0),
        ("log-normal", (0, None), -0.5 * np.log(2 * np.pi * np.e) - np.log(1.5)),
    ])  # fmt: skip
    def test_gap_to_the_true_density(self, name, bounds, exact):
        rng = np.random.default_rng(1)
        draws = {
            "uniform": lambda n: rng.uniform(3, 5, (n, 1)),
            "exponential": lambda n: 7 + rng.exponential(size=(n, 1)),
            "exponential below": lambda n: 7 - rng.exponential(size=(n, 1)),
            "log-normal": lambda n: rng.lognormal(sigma=1.5, size=(n, 1)),
        }[name]
        fitted = nvpflow.FlowDensity(support=[bounds], random_state=0).fit(draws(1000))
        test = draws(20_000)
        # The entropies of these are known; that of the log-normal is less the mean of the log, which is 0.
        assert abs(fitted.score(test) - exact) < 0.03

    @pytest.mark.parametrize("name", ["uniform", "exponential"])
    def test_total_mass_is_one(self, name):
        rng = np.random.default_rng(0)
        x = rng.uniform(3, 5, (500, 1)) if name == "uniform" else 3 + rng.exponential(size=(500, 1))
        options = {**QUICK, "dtype": "float64", "max_iter": 20}
        fitted = nvpflow.FlowDensity(support=[(3, 5 if name == "uniform" else None)], **options).fit(x)
        u = (np.arange(200_000) + 0.5) / 200_000
        points, slopes = (3 + 2 * u, 2.0) if name == "uniform" else (3 - np.log1p(-u), 1 / (1 - u))
        assert np.mean(np.exp(fitted.score_samples(points[:, None])) * slopes) == pytest.approx(1, abs=2e-3)

    def test_samples_are_inside(self, model):
        samples = model.sample(20_000, random_state=1)
        assert is_inside(samples).all() and np.isfinite(model.score_samples(samples)).all()
        assert model.sample(0).shape == (0, 4)

    def test_log_density_outside_is_minus_infinity(self, model):
        outside = np.tile(X[0], (6, 1))
        outside[range(6), [0, 0, 1, 3, 0, 1]] = [-1e-12, 1 + 1e-12, 2 - 1e-12, 1e-12, 7, -1e30]
        assert (model.score_samples(outside) == -np.inf).all() and model.score(outside) == -np.inf
        assert np.isnan(model.grad_log_prob(outside)).all()
        assert np.isfinite(model.score_samples(X)).all()

    def test_gradient(self):
        fitted = nvpflow.FlowDensity(support=SUPPORT, dtype="float64", **QUICK).fit(X)
        rows = X[:5].copy()
        expected = central_difference(lambda: fitted.score_samples(rows).sum(), rows, 1e-6)
        np.testing.assert_allclose(fitted.grad_log_prob(rows), expected, rtol=1e-4, atol=1e-5)

    def test_transform_and_back(self, model):
        np.testing.assert_allclose(model.inverse_transform(model.transform(X)), X, rtol=1e-3, atol=1e-4)

    def test_history_is_in_the_units_of_the_data(self):
        fitted = nvpflow.FlowDensity(support=SUPPORT, base="normal", validation_fraction=None, noise=0, average=0, **QUICK)
        seen = []
        fitted.fit(X, callback=lambda epoch, train, validation: seen.append(train))
        np.testing.assert_allclose(seen, fitted.history_["train_nll"])
        assert abs(seen[-1] + fitted.score(X)) < 0.1  # the mean of the last epoch, and the NLL after it

    def test_validation_nll_is_in_the_units_of_the_data(self):
        """That of the start, with a tiny learning rate, is that of the model but for the choice of rows."""
        fitted = nvpflow.FlowDensity(support=SUPPORT, learning_rate=1e-9, average=0, **QUICK).fit(X)
        assert abs(fitted.history_["validation_nll"][-1] + fitted.score(X)) < 0.5
        assert abs(fitted.history_["train_nll"][-1] + fitted.score(X)) < 0.5


class TestBounds:
    @both_precisions
    def test_values_on_a_bound_are_finite(self, dtype):
        x = X.copy()
        x[:3, 0], x[3, 1], x[4, 3] = (0, 0, 1), 2, 0
        fitted = nvpflow.FlowDensity(support=SUPPORT, dtype=dtype, **QUICK).fit(x)
        assert np.isfinite(fitted.score_samples(x)).all()
        others = x[5:]
        gaps = np.minimum(others[:, 0], 1 - others[:, 0]).min(), others[:, 1].min() - 2, -others[:, 3].max()
        np.testing.assert_allclose([fitted.flow_.layers[-1].edges[i] for i in (0, 1, 3)], np.array(gaps) / 2)
        near = x[:5].copy()
        near[:5, 0] += np.array([1, 1, -1, 0, 0]) * gaps[0] / 2
        near[3, 1] += gaps[1] / 2
        near[4, 3] -= gaps[2] / 2
        np.testing.assert_allclose(fitted.score_samples(x[:5]), fitted.score_samples(near), atol=2e-2)

    def test_many_values_on_a_bound(self):
        x = draw(200)
        x[:20, 1] = 2
        with pytest.warns(UserWarning, match=r"column\(s\) 1 of X equal a bound in 10% of the rows.*leave its cells empty"):
            fitted = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(x)
        assert np.isfinite(fitted.score(x))

    def test_only_values_on_bounds(self):
        x = np.random.default_rng(0).integers(0, 2, (100, 2)).astype(float)
        with pytest.warns(UserWarning, match="equal a bound"):
            assert np.isfinite(nvpflow.FlowDensity(support=[(0, 1)] * 2, **QUICK).fit(x).score(x))

    def test_far_from_zero(self):
        """Values near a bound are resolved wherever the bound is."""
        near, far = X[:, :2] * [1, 1] - [0, 2], X[:, :2] - [0, 2] + [1e9, -1e9]
        near[:, :] = far - [1e9, -1e9]
        models = [
            nvpflow.FlowDensity(support=support, **QUICK).fit(x)
            for support, x in (([(0, 1), (0, None)], near), ([(1e9, 1e9 + 1), (-1e9, None)], far))
        ]
        np.testing.assert_array_equal(models[0].score_samples(near), models[1].score_samples(far))
        assert models[1].sample(5).dtype == np.float64 and (models[1].sample(1000)[:, 0] >= 1e9).all()

    @both_precisions
    def test_bounds_that_the_dtype_rounds(self, dtype):
        x = np.random.default_rng(0).uniform(0.1, 0.7, (300, 1))
        fitted = nvpflow.FlowDensity(support=[(0.1, 0.7)], dtype=dtype, **QUICK).fit(x)
        samples = fitted.sample(50_000, random_state=0)
        assert samples.min() >= 0.1 and samples.max() <= 0.7
        assert np.isfinite(fitted.score_samples([[0.1], [0.7]])).all()


class TestDeclaration:
    def test_forms_agree(self):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(X, columns=["share", "price", "x", "loss"])
        by_name = {"share": "unit", "price": (2, None), "loss": (-np.inf, 0)}
        forms = [SUPPORT, tuple(SUPPORT), {0: (0, 1), 1: [2, np.inf], 3: (None, 0)}, ["unit", (2, None), "real", (None, 0.0)]]
        expected = nvpflow.FlowDensity(support=by_name, **QUICK).fit(frame).score_samples(frame)
        for form in forms:
            fitted = nvpflow.FlowDensity(support=form, **QUICK).fit(X)
            np.testing.assert_array_equal(fitted.score_samples(X), expected)
            assert nvpflow.FlowDensity(support=form).get_params()["support"] is form

    @pytest.mark.parametrize("nothing", [None, {}, [None] * 4, ["real"] * 4])
    def test_no_support_changes_nothing(self, nothing):
        plain, fitted = nvpflow.FlowDensity(**QUICK).fit(X), nvpflow.FlowDensity(support=nothing, **QUICK).fit(X)
        np.testing.assert_array_equal(plain.flow_.parameters, fitted.flow_.parameters)
        assert len(plain.flow_.layers) == len(fitted.flow_.layers)

    @pytest.mark.parametrize("support, message", [
        ({9: "unit"}, "support must name columns of X, which has 4, counted from 0, got 9"),
        ({"price": "unit"}, "support must have numbers of columns, because X has no names, got 'price'"),
        ({-1: "unit"}, "a key of support other than a name must be at least 0, got -1"),
        ({1.5: "unit"}, "a key of support other than a name must be an integer, got 1.5"),
        ({0: (1, 0)}, "support[0] must be a pair (low, high) with low < high, got (1, 0)"),
        ({0: (0, 0)}, "support[0] must be a pair (low, high) with low < high, got (0, 0)"),
        ({0: (np.nan, 1)}, "support[0] must be a pair (low, high) without NaN, got nan"),
        ({0: "positiv"}, "support[0] must be one of 'real', 'positive', 'unit', 'integer', 'angle', 'category', got 'positiv'"),
        ({0: (1, 2, 3)}, "support[0] must be a pair (low, high), got (1, 2, 3)"),
        ([None], "support must have an entry for each of the 4 columns of X, got 1"),
        ("positive", "support must be a dict of columns, a sequence with an entry for each column, or None, got 'positive'"),
        ({0: (0, 0.5)}, "column 0 of X must be in [0, 0.5], its support, got "),
        ({0: (0, 1), 1: (3, None)}, "column 1 of X must be in [3, inf), its support, got "),
    ])  # fmt: skip
    def test_errors(self, support, message):
        for estimator in (
            nvpflow.FlowDensity(support=support, **QUICK),
            nvpflow.FlowOutlierDetector(support=support, **QUICK),
        ):
            with pytest.raises((TypeError, ValueError), match=re.escape(message)):
                estimator.fit(X)
            assert not hasattr(estimator, "flow_")

    def test_error_names_the_first_row(self):
        pandas = pytest.importorskip("pandas")
        x = X.copy()
        x[[7, 30], 1] = [1.5, -4]
        frame = pandas.DataFrame(x, columns=["share", "price", "x", "loss"])
        message = "column 'price' of X must be in [2, inf), its support, got 1.5 in row 7, and 1 more"
        for method in ("fit", "partial_fit"):
            with pytest.raises(ValueError, match=re.escape(message)):
                getattr(nvpflow.FlowDensity(support={"price": (2, None)}, **QUICK), method)(frame)
        with pytest.raises(
            ValueError, match=re.escape("has none of that name: got 'prize', X has 'share', 'price', 'x', 'loss'")
        ):
            nvpflow.FlowDensity(support={"prize": (2, None)}, **QUICK).fit(frame)
        with pytest.raises(ValueError, match=re.escape("support must name each column once, got column 'price' twice")):
            nvpflow.FlowDensity(support={"price": (0, None), 1: (0, None)}, **QUICK).fit(frame)


class TestFits:
    def test_weights_are_counts(self):
        times = np.random.default_rng(0).integers(0, 4, len(X))
        weighted = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(X, sample_weight=times)
        repeated = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(np.repeat(X, times, axis=0))
        np.testing.assert_array_equal(weighted.score_samples(X), repeated.score_samples(X))

    def test_context(self):
        context = np.random.default_rng(2).uniform(size=(400, 1))
        x = context + np.random.default_rng(3).exponential(size=(400, 1))
        fitted = nvpflow.FlowDensity(support=["positive"], **QUICK).fit(x, context=context)
        assert (fitted.sample(500, context=[0.5]) >= 0).all()
        assert fitted.sample(3, context=context[:4], per_context=True).shape == (4, 3, 1)
        assert (fitted.score_samples(-x, context=context) == -np.inf).all()

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_same_bits_for_any_number_of_threads(self, n_jobs, model):
        fitted = nvpflow.FlowDensity(support=SUPPORT, n_jobs=n_jobs, **QUICK).fit(X)
        np.testing.assert_array_equal(fitted.flow_.parameters, model.flow_.parameters)

    def test_warm_start(self, model):
        again = copy.deepcopy(model).set_params(warm_start=True)
        last = again.flow_.layers[-1]
        again.fit(draw(400, 5))
        assert again.flow_.layers[-1].config() == last.config()
        assert is_inside(again.sample(1000)).all() and again.score(X) > model.score(X) - 0.5
        message = "warm_start needs the support of the fit before, got column 0 in (-inf, inf) instead of [0, 1]"
        with pytest.raises(ValueError, match=re.escape(message)):
            again.set_params(support=[None, *SUPPORT[1:]]).fit(X)

    def test_partial_fit(self):
        streamed = nvpflow.FlowDensity(support=SUPPORT, base="mixture", **{**QUICK, "max_iter": None})
        for seed in range(4):
            streamed.partial_fit(draw(400, seed))
        fitted = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(draw(1600))
        assert streamed.score(X) > fitted.score(X) - 0.5
        assert is_inside(streamed.sample(1000)).all()
        piece = draw(400, 9)
        expected = streamed.score(piece)
        streamed.partial_fit(piece)
        assert abs(streamed.history_["train_nll"][-1] + expected) < 0.3
        with pytest.raises(ValueError, match="partial_fit needs the support of the fit before, got column 3"):
            streamed.set_params(support=SUPPORT[:3] + [None]).partial_fit(X)

    def test_partial_fit_after_fit(self, model):
        again = copy.deepcopy(model)
        again.partial_fit(X)
        assert is_inside(again.sample(1000)).all() and abs(again.score(X) - model.score(X)) < 0.3

    def test_detector(self):
        detector = nvpflow.FlowOutlierDetector(support=SUPPORT, contamination=0.05, **QUICK).fit(X)
        assert 0.03 <= np.mean(detector.predict(X) == -1) <= 0.07
        assert detector.predict([[-1, 3, 0, -1], [0.5, 3, 0, -1]]).tolist() == [-1, 1]
        assert detector.decision_function([[-1, 3, 0, -1]]) == -np.inf

    def test_search(self):
        selection = pytest.importorskip("sklearn.model_selection")
        grid = {"support": [[None] * 4, SUPPORT]}
        search = selection.GridSearchCV(nvpflow.FlowDensity(**QUICK), grid, cv=2).fit(X)
        assert search.best_params_["support"] == SUPPORT


class TestCopiesAndFiles:
    def test_pickle(self, model):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).score_samples(X), model.score_samples(X))

    @both_kinds
    @pytest.mark.parametrize("support", [SUPPORT, {0: "unit", 1: (2, None), 3: (None, 0)}])
    def test_files(self, tmp_path, ending, support):
        if ending == "safetensors":
            pytest.importorskip("safetensors")
        fitted = nvpflow.FlowDensity(support=support, **QUICK).fit(X)
        fitted.save(tmp_path / f"model.{ending}")
        loaded = nvpflow.load(tmp_path / f"model.{ending}")
        np.testing.assert_array_equal(loaded.score_samples(X), fitted.score_samples(X))
        np.testing.assert_array_equal(loaded.sample(10), fitted.sample(10))
        assert loaded.score_samples(X[:1] - 3).tolist() == [-np.inf]
        again = loaded.set_params(warm_start=True).fit(X)
        assert is_inside(again.sample(100)).all()

    def test_detector_file(self, tmp_path):
        detector = nvpflow.FlowOutlierDetector(support=SUPPORT, **QUICK).fit(X)
        detector.save(tmp_path / "detector.npz")
        loaded = nvpflow.load(tmp_path / "detector.npz")
        np.testing.assert_array_equal(loaded.predict(X), detector.predict(X))

    def test_frame_by_name(self, tmp_path):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(X, columns=["share", "price", "x", "loss"])
        fitted = nvpflow.FlowDensity(support={"share": "unit", "price": (2, None)}, **QUICK).fit(frame)
        fitted.save(tmp_path / "model.npz")
        loaded = nvpflow.load(tmp_path / "model.npz")
        assert loaded.support == {"share": (0.0, 1.0), "price": (2.0, None)}
        np.testing.assert_array_equal(loaded.score_samples(frame), fitted.score_samples(frame))
