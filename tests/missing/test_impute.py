"""`impute`, and the kinds of input with missing cells."""

import numpy as np
import pytest

import nvpflow

NAN = np.nan
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(800, 2)) @ np.linalg.cholesky([[1, 0.9], [0.9, 1]]).T
HOLES = np.where(RNG.random(POINTS.shape) < 0.3, NAN, POINTS)
MARGINALIZE = {"missing": "marginalize", "random_state": 0, "max_iter": 10}


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(random_state=0, max_iter=10).fit(POINTS)


@pytest.fixture(scope="module")
def trained():
    options = {"random_state": 0, "max_iter": 40, "validation_fraction": None, "base": "mixture", "n_layers": 4}
    return nvpflow.FlowDensity(**options).fit(POINTS)


def given(model, x, column, n=4000):
    """Draws of a column, given the value x of the other one."""
    row = np.full((1, 2), x)
    row[0, column] = NAN
    return model.impute(np.tile(row, (n, 1)), random_state=1)[:, column]


class TestDraws:
    @pytest.mark.parametrize("name", ["model", "trained"])
    def test_conditional_distribution(self, name, request):
        """Draws against the distribution function of the conditional density, by quadrature."""
        model = request.getfixturevalue(name)
        drawn, grid = np.sort(given(model, 1.2, 0)), np.linspace(-8, 8, 4001)
        density = np.exp(model.score_samples(np.c_[grid, np.full(4001, 1.2)]).astype(np.float64))
        expected = np.cumsum(density) / density.sum()
        assert np.abs(np.searchsorted(drawn, grid) / len(drawn) - expected).max() < 0.035  # 4 sigma or so

    def test_present_cells_stay_to_the_bit(self, model):
        for dtype in (np.float32, np.float64):
            x = HOLES.astype(dtype)
            full = model.impute(x)
            assert full.dtype == dtype and np.isfinite(full).all()
            assert np.array_equal(full[~np.isnan(x)], x[~np.isnan(x)])
        assert np.array_equal(model.impute(POINTS), POINTS)

    def test_dependence_is_kept(self, model):
        full = model.impute(HOLES)
        assert np.corrcoef(full.T)[0, 1] == pytest.approx(0.9, abs=0.04)
        assert np.allclose(full.std(axis=0), 1, atol=0.1)

    def test_several_draws(self, model):
        full = model.impute(HOLES, 5)
        assert full.shape == (5, 800, 2)
        missing = np.isnan(HOLES)
        assert (full[:, ~missing] == HOLES[~missing]).all()
        assert (full[:, missing].std(axis=0) > 0).all()

    def test_random_state(self, model):
        assert np.array_equal(model.impute(HOLES), model.impute(HOLES))
        assert not np.array_equal(model.impute(HOLES), model.impute(HOLES, random_state=7))

    def test_rows_without_values_are_samples(self, model):
        full = model.impute(np.full((4000, 2), NAN))
        assert np.allclose(np.cov(full.T), [[1, 0.9], [0.9, 1]], atol=0.15)

    def test_ensembles(self):
        ensemble = nvpflow.FlowDensity(**MARGINALIZE, n_models=2).fit(HOLES)
        assert given(ensemble, 1.5, 1).mean() == pytest.approx(0.9 * 1.5, abs=0.1)

    def test_supports(self):
        rng = np.random.default_rng(0)
        counts = rng.poisson(np.exp(1 + POINTS[:, 0]))
        x = np.c_[counts, np.exp(POINTS[:, 0]), (3 * POINTS[:, 0] + rng.vonmises(0, 9, 800)) % (2 * np.pi)]
        holes = np.where(rng.random(x.shape) < 0.3, NAN, x)
        model = nvpflow.FlowDensity(**MARGINALIZE, support=[nvpflow.Integer(0), "positive", "angle"]).fit(holes)
        full = model.impute(holes)
        missing = np.isnan(holes)
        assert np.array_equal(full[~missing], holes[~missing])
        assert (full[:, 0] == np.floor(full[:, 0])).all() and (full[:, :2] >= 0).all()
        assert (full[:, 2] >= 0).all() and (full[:, 2] < 2 * np.pi).all()
        both = missing[:, 1] & ~missing[:, 0]  # the logarithm follows the count
        assert np.corrcoef(np.log(full[both, 1]), np.log(x[both, 1]))[0, 1] > 0.6
        turned = missing[:, 2] & ~missing[:, 1]
        assert np.cos(full[turned, 2] - 3 * np.log(full[turned, 1])).mean() > 0.5

    def test_errors(self, model):
        for bad, error, message in (
            (dict(X=HOLES, n_draws=0), ValueError, "n_draws must be at least 1, got 0"),
            (dict(X=[[NAN, 1, 2]]), ValueError, "X has 3 features"),
            (dict(X=[[NAN, np.inf]]), ValueError, "inf in column 1, row 0"),
            (dict(X=[["a", None]]), (TypeError, ValueError), "X must be an array of real numbers"),
        ):
            with pytest.raises(error, match=message):
                model.impute(**bad)
        with pytest.raises(nvpflow.NotFittedError):
            nvpflow.FlowDensity().impute(HOLES)


class TestFrames:
    def test_pandas(self):
        pandas = pytest.importorskip("pandas")
        counts = np.random.default_rng(0).poisson(np.exp(POINTS[:, 0]))
        frame = pandas.DataFrame(
            {
                "real": HOLES[:, 0],
                "single": HOLES[:, 1].astype(np.float32),
                "count": pandas.array(np.where(np.isnan(HOLES[:, 0]), None, counts), dtype="Int64"),
                "whole": counts,
            },
            index=np.arange(800)[::-1],
        )
        support = {"count": nvpflow.Integer(0), "whole": nvpflow.Integer(0)}
        model = nvpflow.FlowDensity(**MARGINALIZE, support=support).fit(frame)
        full = model.impute(frame)
        assert (full.dtypes == frame.dtypes).all() and full.index.equals(frame.index)
        assert not full.isna().any(axis=None) and frame.isna().any(axis=None)
        for name in frame:
            seen = frame[name].notna()
            assert full[name][seen].equals(frame[name][seen])
        frames = model.impute(frame, 2)
        assert len(frames) == 2 and not frames[0].equals(frames[1])
        assert np.isfinite(model.score_samples(frame)).all()

    def test_nullable_integers_that_are_not_declared(self, model):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame({"a": pandas.array([1, None, 2], dtype="Int64"), "b": [0.5, 1.0, 1.5]})
        with pytest.warns(UserWarning, match="fitted without feature names"):
            assert model.impute(frame).dtypes.astype(str).tolist() == ["Int64", "float64"]

    def test_polars(self):
        polars = pytest.importorskip("polars")
        counts = np.random.default_rng(0).poisson(np.exp(POINTS[:, 0]))
        columns = {
            "real": polars.Series(HOLES[:, 0], nan_to_null=True),
            "nan": HOLES[:, 1],
            "count": polars.Series([None if hole else int(k) for hole, k in zip(np.isnan(HOLES[:, 0]), counts)]),
        }
        frame = polars.DataFrame(columns)
        model = nvpflow.FlowDensity(**MARGINALIZE, support={"count": nvpflow.Integer(0)}).fit(frame)
        full = model.impute(frame)
        assert full.schema == frame.schema
        assert full.null_count().sum_horizontal()[0] == 0 and not np.isnan(full.to_numpy()).any()
        seen = ~np.isnan(HOLES)
        assert np.array_equal(full["real"].to_numpy()[seen[:, 0]], HOLES[seen[:, 0], 0])
        assert np.array_equal(full["nan"].to_numpy()[seen[:, 1]], HOLES[seen[:, 1], 1])

    @pytest.mark.parametrize("kind", ["list", "objects", "masked", "NA"])
    def test_what_stands_for_a_missing_cell(self, kind):
        model = nvpflow.FlowDensity(**MARGINALIZE).fit(HOLES)
        missing = np.isnan(HOLES)
        if kind == "NA":
            none = pytest.importorskip("pandas").NA
        objects = np.where(missing, none if kind == "NA" else None, HOLES.astype(object))
        same = {
            "list": objects.tolist(),
            "objects": objects,
            "NA": objects,
            "masked": np.ma.masked_array(np.nan_to_num(HOLES), missing),
        }[kind]
        assert np.array_equal(nvpflow.FlowDensity(**MARGINALIZE).fit(same).score_samples(HOLES), model.score_samples(HOLES))
        assert np.array_equal(model.score_samples(same), model.score_samples(HOLES))
        assert np.array_equal(model.impute(same), model.impute(HOLES))


class TestDetector:
    @pytest.mark.parametrize("contamination", ["auto", 0.1])
    def test_each_pattern_has_the_same_share_of_outliers(self, contamination):
        """Columns of very different units: one threshold would put all rows of a pattern to one side."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(3000, 2)) * [1e-3, 1e3]
        holes = np.where(rng.random(x.shape) < 0.3, NAN, x)
        detector = nvpflow.FlowOutlierDetector(**MARGINALIZE, contamination=contamination)
        missing, is_outlier = np.isnan(holes), detector.fit_predict(holes) < 0
        share = 0.05 if contamination == "auto" else contamination
        for pattern in ([0, 0], [0, 1], [1, 0]):
            rows = (missing == pattern).all(axis=1)
            assert is_outlier[rows].mean() == pytest.approx(share, abs=0.025)
        assert is_outlier.mean() == pytest.approx(share, abs=0.01)
        assert not is_outlier[missing.all(axis=1)].any()
        decision = detector.decision_function(holes)
        assert np.array_equal(decision < 0, detector.predict(holes) < 0)
        complete = ~missing.any(axis=1)
        assert np.allclose(decision[complete], detector.score_samples(holes[complete]) - detector.offset_, atol=1e-4)
        assert (detector.predict([[1.0, NAN], [NAN, 1e5], [0, 0]]) == [-1, -1, 1]).all()

    def test_files_and_errors(self, tmp_path):
        detector = nvpflow.FlowOutlierDetector(**MARGINALIZE).fit(HOLES)
        detector.save(tmp_path / "detector.npz")
        assert np.array_equal(nvpflow.load(tmp_path / "detector.npz").predict(HOLES), detector.predict(HOLES))
        std, error = detector.score_samples(HOLES, return_std=True, return_error=True)[1:]
        assert (std == 0).all() and (error == 0).all()
        context = np.random.default_rng(0).normal(size=(800, 1))
        given_context = nvpflow.FlowOutlierDetector(**MARGINALIZE).fit(HOLES, context=context)
        assert np.isfinite(given_context.score_samples(HOLES, context=context)).all()
        with pytest.raises(ValueError, match="X must have no missing cells where there is a context"):
            given_context.predict(HOLES, context=context)
        with pytest.raises(ValueError, match="contamination must be 'auto' for samples with missing cells and a context"):
            nvpflow.FlowOutlierDetector(**MARGINALIZE, contamination=0.1).fit(HOLES, context=context)
        with pytest.raises(ValueError, match="missing='marginalize'"):
            nvpflow.FlowOutlierDetector().fit(HOLES)


def test_scikit_learn():
    utils = pytest.importorskip("sklearn.utils")
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    for kind in (nvpflow.FlowDensity, nvpflow.FlowOutlierDetector):
        assert utils.get_tags(kind(missing="marginalize")).input_tags.allow_nan
        assert not utils.get_tags(kind()).input_tags.allow_nan
    assert np.isfinite(cross_val_score(make_pipeline(StandardScaler(), nvpflow.FlowDensity(**MARGINALIZE)), HOLES, cv=3)).all()
