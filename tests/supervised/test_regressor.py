"""FlowRegressor: means, quantiles, scores and samples agree with each other and with known densities; files."""

import io
import warnings

import numpy as np
import pytest

import nvpflow
from nvpflow import FlowDensity
from nvpflow._normal import normal_cdf
from nvpflow.supervised import _conformal

RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, size=(400, 2))
Y = np.sin(2 * X[:, 0]) + 0.3 * np.exp(X[:, 1] / 2) * RNG.normal(size=400)
SMALL = dict(n_layers=2, hidden_dim=8, max_iter=20, base="normal", n_folds=None, random_state=0)
LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
MODELS = {
    "mixture": dict(base="auto"),
    "layers": dict(max_iter=60),
    "layers over a mixture": dict(base="mixture", validation_fraction=None),
    "ensemble": dict(n_models=2),
    "bounded": dict(base="auto", support=[(-9, 9)]),
}


def make(**parameters):
    return nvpflow.FlowRegressor(**SMALL | parameters)


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return make(**MODELS[request.param]).fit(X, Y)


def test_quantiles_and_means_are_those_of_the_density(model):
    """The integral of the density up to a quantile is its level, and that of y the mean."""
    rows = X[:3]
    q, mean = model.predict_quantiles(rows, LEVELS), model.predict(rows)
    for row, of_row, expected in zip(rows, q, mean):
        y = np.linspace(-8.99, 8.99, 20_001)
        p = model.predict_density(np.repeat(row[None], len(y), axis=0), y)
        cdf = np.concatenate([[0], np.cumsum((p[1:] + p[:-1]) / 2 * np.diff(y))])
        assert abs(cdf[-1] - 1) < 2e-3
        np.testing.assert_allclose(np.interp(of_row, y, cdf), LEVELS, atol=2e-3)
        np.testing.assert_allclose(np.sum(y * p) * (y[1] - y[0]), expected, atol=5e-3)
    assert (np.diff(q, axis=1) > 0).all()
    low, high = model.predict_interval(rows, 0.9)
    np.testing.assert_allclose(np.stack([low, high]), q[:, [0, -1]].T, atol=1e-6)


def test_crps_is_that_of_samples(model):
    draws = model.sample(X[:15], 4000, random_state=1).astype(np.float64)
    expected = np.abs(draws - Y[:15, None]).mean(axis=1) - 0.5 * np.abs(draws[:, ::2] - draws[:, 1::2]).mean(axis=1)
    np.testing.assert_allclose(model.crps(X[:15], Y[:15]).mean(), expected.mean(), rtol=0.02)


def test_scores():
    model = make().fit(X, Y)
    residual = ((Y - model.predict(X)) ** 2).sum()
    np.testing.assert_allclose(model.score(X, Y), 1 - residual / ((Y - Y.mean()) ** 2).sum())
    log_p = model.predict_log_density(X, Y)
    np.testing.assert_array_equal(log_p, model.estimator_.score_samples(Y[:, None], context=X))
    np.testing.assert_allclose(model.log_likelihood(X, Y), log_p.mean(), rtol=1e-6)
    np.testing.assert_allclose(
        model.log_likelihood(X, Y, sample_weight=np.arange(400)), np.average(log_p, weights=np.arange(400))
    )
    shares = [((low <= Y) & (high >= Y)).mean() for low, high in (model.predict_interval(X, level) for level in (0.5, 0.9))]
    assert abs(shares[0] - 0.5) < 0.12 and abs(shares[1] - 0.9) < 0.06


def test_conformal_quantiles():
    """With 60 rows in 6 columns the intervals of a density hold too few fresh rows, those that held-out rows check enough."""
    rng = np.random.default_rng(1)
    x, fresh = rng.normal(size=(60, 6)), rng.normal(size=(1000, 6))
    y, fresh_y = x[:, 0] + rng.normal(size=60), fresh[:, 0] + rng.normal(size=1000)
    options = dict(noise=0, validation_fraction=None, max_iter=200)
    alone, checked = (make(**options, n_folds=n).fit(x, y) for n in (None, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows outside of the range
        shares = [
            ((low <= fresh_y) & (fresh_y <= high)).mean()
            for low, high in (m.predict_interval(fresh) for m in (alone, checked))
        ]
    assert shares[0] < 0.8 and shares[1] > 0.85, shares
    assert checked.levels_.shape == (60,) and (np.diff(checked.levels_) >= 0).all() and alone.levels_ is None
    np.testing.assert_array_equal(alone.predict(x), checked.predict(x))
    content = io.BytesIO()
    checked.save(content)
    twin = nvpflow.load(io.BytesIO(content.getvalue()))
    np.testing.assert_array_equal(twin.predict_quantiles(x), checked.predict_quantiles(x))
    with pytest.warns(UserWarning, match="repeat few values"):  # a fold must not hold all targets of a value
        repeated = make(n_folds=2).fit(x, np.arange(60) % 2)
    assert repeated.levels_.shape == (60,)
    assert checked.set_params(n_folds=None).fit(x, y).levels_ is None
    with pytest.raises(ValueError, match="n_folds must be None or .auto., unless there is one target"):
        make(n_folds=2).fit(X, np.c_[Y, Y**2])


def test_folds_by_default():
    """As many as give enough levels; none where quantiles cannot be checked."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1400, 1))
    y = x[:, 0] + rng.normal(size=1400)
    options = dict(max_iter=2, n_layers=1, n_folds="auto")
    few, some, many = (make(**options).fit(x[:n], y[:n]) for n in (29, 100, 1400))
    assert few.levels_ is None and some.levels_.shape == (100,) and many.levels_.shape == (1120,)
    np.testing.assert_array_equal(some.levels_, make(**options | dict(n_folds=5)).fit(x[:100], y[:100]).levels_)
    assert make(**options).fit(x, np.c_[y, y**2]).levels_ is None
    assert make(**options, support=["integer"]).fit(x[:100], np.rint(y[:100])).levels_ is None
    content = io.BytesIO()
    some.save(content)
    twin = nvpflow.load(io.BytesIO(content.getvalue()))
    assert twin.n_folds == "auto"
    np.testing.assert_array_equal(twin.levels_, some.levels_)
    with pytest.raises(ValueError, match="n_folds must be a number of folds, 'auto' or None, got 'some'"):
        make(n_folds="some").fit(x, y)


def test_levels_count_by_weight():
    """Of 80 % of the rows, four units higher, that are 20 % of the population."""
    rng = np.random.default_rng(0)
    is_high = rng.random(1000) < 0.8
    x = rng.normal(size=(1000, 1))
    y = x[:, 0] + 4 * is_high + rng.normal(size=1000)
    model = make(n_folds="auto").fit(x, y, sample_weight=np.where(is_high, 0.25, 4.0))
    fresh = rng.normal(size=(2000, 1))
    below = (fresh[:, 0] + 4 * (rng.random(2000) < 0.2) + rng.normal(size=2000))[:, np.newaxis] < model.predict_quantiles(
        fresh, [0.1, 0.5, 0.9]
    )
    np.testing.assert_allclose(below.mean(axis=0), [0.1, 0.5, 0.9], atol=0.06)
    assert 200 < len(model.levels_) < 800


def test_whole_number_weights_count_levels_of_copies():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    y, weight = x[:, 0] + rng.normal(size=200), rng.integers(0, 3, 200)
    options = dict(n_folds="auto", max_iter=2, n_layers=1)
    weighted = make(**options).fit(x, y, sample_weight=weight)
    repeated = make(**options).fit(np.repeat(x, weight, axis=0), np.repeat(y, weight))
    assert weighted.levels_.shape == repeated.levels_.shape == (weight.sum(),)


def test_a_fold_without_different_targets_has_no_levels():
    x, y = X[:40], np.zeros(40)
    y[7] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of repeated values
        model = make(n_folds="auto").fit(x, y)
    assert model.levels_.shape == (32,)


def test_positive_and_whole_targets():
    counts = RNG.poisson(np.exp(X[:, 0]))
    model = make(support=["integer"]).fit(X, counts)
    q = model.predict_quantiles(X, LEVELS)
    assert (q == np.rint(q)).all() and model.sample(X[:5], 3).shape == (5, 3)
    draws = model.sample(X[:20], 4000, random_state=1)
    np.testing.assert_allclose(model.predict(X[:20]), draws.mean(axis=1), atol=0.15)
    values = np.arange(-100, 100)
    sums = [model.predict_density(np.repeat(X[i : i + 1], 200, axis=0), values) @ values for i in range(20)]
    np.testing.assert_allclose(model.predict(X[:20]), sums, rtol=2e-3, atol=1e-3)
    positive = make(support=["positive"]).fit(X, np.exp(Y))
    assert positive.predict_quantiles(X, [1e-4]).min() > 0
    assert positive.predict_log_density(X[:1], [-1.0]) == -np.inf
    with pytest.raises(ValueError, match="support must not be an Angle"):
        make(support=["angle"]).fit(X, Y)
    with pytest.raises(ValueError, match="support must not be a category: FlowClassifier"):
        make(support=["category"]).fit(X, Y > 0)


def test_score_of_huge_targets():
    model = make(n_folds=None, dtype="float64").fit(X, Y)
    expected = model.score(X, Y)
    huge = make(n_folds=None, dtype="float64").fit(X, 1e300 * Y)
    assert huge.score(X, 1e300 * Y) == pytest.approx(expected, abs=0.05)


def test_columns_of_many_categories():
    """Each value has an effect of its own, and more rows than values that share an indicator."""
    rng = np.random.default_rng(0)
    code, effect = rng.integers(0, 60, 1800), 2 * rng.normal(size=60)
    x = np.array([[f"value {i}", rng.normal()] for i in code], dtype=object)
    y = effect[code] + 0.5 * rng.normal(size=1800)
    model = make(n_folds=None, context_support=["category", None]).fit(x[:1200], y[:1200])
    assert model.score(x[1200:], y[1200:]) > 0.88  # of at most 0.93
    with pytest.warns(UserWarning, match="column 0 of X: .* look the same to the flow"):
        make(n_folds=None, context_support=["category", None]).fit(x[:200], y[:200])


@pytest.mark.filterwarnings("ignore:.*leave the range of training:UserWarning")
def test_intervals_of_few_rows():
    """Less than twenty distinct targets are no repeated values: only layers over N(0, 1) competed, and overfitted."""
    held, nll = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(220, 3))
        y = x[:, 0] + 0.5 * rng.normal(size=220)
        model = nvpflow.FlowRegressor(random_state=seed).fit(x[:20], y[:20])
        low, high = model.predict_interval(x[20:], 0.9)
        held.append(np.mean((low <= y[20:]) & (y[20:] <= high)))
        nll.append(-model.log_likelihood(x[20:], y[20:]))
    assert np.mean(held) > 0.75  # 0.63
    assert np.mean(nll) < 1.3  # 2.0; the true one is 0.73


@pytest.mark.parametrize("n_rare", [1, 3])
def test_a_category_of_which_a_fold_has_no_row(n_rare):
    pd = pytest.importorskip("pandas")
    level = np.where(np.arange(200) < n_rare, "rare", np.array(list("abcdefg"))[np.arange(200) % 7])
    frame = pd.DataFrame({"number": X[:200, 0], "level": level})
    model = make(n_folds="auto", max_iter=5).fit(frame, Y[:200])
    assert model.levels_.shape == (200,) and np.isfinite(model.predict(frame)).all()
    codes = np.c_[X[:200, 0], np.unique(level, return_inverse=True)[1]]
    model = make(n_folds=5, max_iter=5, context_support={1: "category"}).fit(codes, Y[:200])
    assert model.levels_.shape == (200,)


def test_several_targets():
    both = np.c_[Y, X[:, 0] + RNG.normal(size=400)]
    for options in (dict(base="auto"), {}):
        model = make(**options).fit(X, both)
        draws = model.sample(X[:10], 4000, random_state=1)
        assert draws.shape == (10, 4000, 2)
        np.testing.assert_allclose(model.predict(X[:10]), draws.mean(axis=1), atol=0.15)
        assert model.predict_log_density(X, both).shape == (400,)
        with pytest.raises(ValueError, match="predict_quantiles needs one target, and this FlowRegressor has 2"):
            model.predict_quantiles(X)


def test_frames_with_categories():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"u": X[:, 0], "colour": np.where(X[:, 1] > 0, "red", "blue")})
    model = make().fit(frame, np.where(X[:, 1] > 0, 3, 0) + Y)
    means = model.predict(pandas.DataFrame({"u": [0.0, 0.0], "colour": ["red", "blue"]}))
    assert 2 < means[0] - means[1] < 4 and model.feature_names_in_.tolist() == ["u", "colour"]
    assert model.predict_log_density(frame, Y).shape == (400,)
    content = io.BytesIO()
    model.save(content)
    twin = nvpflow.load(io.BytesIO(content.getvalue()))
    np.testing.assert_array_equal(twin.predict_quantiles(frame), model.predict_quantiles(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        twin.predict(frame[["colour", "u"]])


def test_files(model):
    content = io.BytesIO()
    model.save(content)
    twin = nvpflow.load(io.BytesIO(content.getvalue()))
    assert type(twin) is nvpflow.FlowRegressor and twin.n_targets_ == 1
    np.testing.assert_array_equal(twin.predict(X[:20]), model.predict(X[:20]))
    with np.load(io.BytesIO(content.getvalue())) as file:
        arrays = dict(file)
    damaged = io.BytesIO()
    header = str(arrays["header"]).replace('"n_columns": 2', '"n_columns": 3')
    np.savez(damaged, **arrays | {"header": np.array(header)})
    with pytest.raises(ValueError, match="the density must read 3 columns"):
        nvpflow.load(io.BytesIO(damaged.getvalue()))


def test_bad_arguments():
    with pytest.raises(nvpflow.NotFittedError):
        make().predict(X)
    model = make().fit(X, Y)
    for call, message in [
        (lambda: model.fit(X, Y[:5]), "y must have one entry for each of 400 rows of X, got 5"),
        (lambda: model.fit(X, None), "requires y to be passed"),
        (lambda: model.predict(X[:, :1]), "X has 1 features, but FlowRegressor is expecting 2"),
        (lambda: model.predict_quantiles(X, [0.0]), r"quantiles must be a sequence of levels in \(0, 1\)"),
        (lambda: model.predict_interval(X, 1.5), "level must be"),
        (lambda: model.crps(X, Y[:4]), r"y must have shape \(400, 1\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="has no parameter 'missing'"):
        make(missing="marginalize")


def test_normal_cdf():
    special = pytest.importorskip("scipy.special")
    z = np.linspace(-30, 10, 1001)
    np.testing.assert_allclose(normal_cdf(z), special.ndtr(z), rtol=1.3e-7)


@pytest.mark.parametrize("has_layers", [True, False])
def test_folds_keep_layers_as_the_fit_does(monkeypatch, has_layers):
    """Levels of densities of another kind would say little of the one that is asked."""
    seen, fit = [], FlowDensity._fit_data

    def record(self, *arguments):
        seen.append(_conformal._has_layers(fit(self, *arguments)))
        return self

    model = FlowDensity(random_state=0).fit(Y[:200, np.newaxis], context=X[:200])
    monkeypatch.setattr(FlowDensity, "_fit_data", record)
    monkeypatch.setattr(_conformal, "_has_layers", lambda density, known=_conformal._has_layers: (
        has_layers if density is model else known(density)
    ))  # fmt: skip
    _conformal.held_out_levels(model, X[:200], Y[:200, np.newaxis], None, 2)
    assert seen == [has_layers, has_layers]


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: make().fit([[1.0], [np.nan]], [1.0, 2.0]), "^X must be finite in float32, got NaN .* column 0, row 1$"),
        (lambda: make().fit([["a"], ["b"]], [1.0, 2.0]), "^X must be an array of real numbers, got dtype <U1"),
        (lambda: make().fit(X, np.ones(400)), "^y must have no constant column"),
        (lambda: make(support=["integer"]).fit(X, Y), "^column 0 of y must be in the whole numbers"),
        (
            lambda: make(context_support=["category"]).fit([["a"], ["b"]] * 9, RNG.normal(size=18)).predict([["c"]]),
            "of X must",
        ),
    ],
)
def test_errors_are_said_of_x_and_y(ask, message):
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        ask()
    assert "context" not in str(caught.value).replace("context_support", "") and "marginalize" not in str(caught.value)


def test_warnings_are_said_of_x_and_y():
    with pytest.warns(UserWarning, match=r"column\(s\) 0 of y repeat few values"):
        model = make(max_iter=1).fit(X, (Y > 0).astype(float))
    with pytest.warns(UserWarning, match=r"column\(s\) 1 of X leave the range of training"):
        assert model.predict_quantiles([[0.0, 9.0]], []).shape == (1, 0)
