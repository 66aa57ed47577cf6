"""Densities of tables with categories."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import nvpflow
from nvpflow.supports._effects import FOLDS, Effects

FAST = {"n_layers": 2, "hidden_dim": 8, "max_iter": 5, "random_state": 0}
COLOURS = ("blue", "green", "red")


def table(n=300, seed=0):
    """A real column whose place depends on a colour, the colour, a flag, and whole numbers."""
    rng = np.random.default_rng(seed)
    code = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    rows = np.empty((n, 4), dtype=object)
    rows[:, 0] = (code + 0.3 * rng.normal(size=n)).tolist()
    rows[:, 1] = [COLOURS[k] for k in code]
    rows[:, 2] = (rng.random(n) < 0.2 + 0.3 * code).tolist()
    rows[:, 3] = rng.poisson(2, n).tolist()
    return rows


SUPPORT = {1: "category", 2: nvpflow.Category([False, True]), 3: nvpflow.Integer(0)}


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(support=SUPPORT, **FAST).fit(table())


@pytest.mark.parametrize("support", [SUPPORT, SUPPORT | {2: nvpflow.Category([False, True, "unknown"])}])
def test_total_mass_is_one(support):
    model = nvpflow.FlowDensity(support=support, **FAST).fit(table())
    x = np.linspace(-4, 6, 300)
    others = itertools.product(COLOURS, model._categories.coding.values[1], range(25))
    mass = sum(
        np.exp(model.score_samples([[value, *other] for value in x]).astype(float)).sum() * (x[1] - x[0]) for other in others
    )
    assert mass == pytest.approx(1, abs=0.01)


def test_a_density_given_each_value():
    """The place of the real column depends on the colour, whose shares are those of the rows."""
    rows = table(1000)[:, :2]
    model = nvpflow.FlowDensity(support={1: "category"}, random_state=0).fit(rows)
    held_out = table(2000, seed=1)[:, :2]
    code = np.array([COLOURS.index(colour) for colour in held_out[:, 1]])
    z = (held_out[:, 0].astype(float) - code) / 0.3
    truth = np.log(np.array([0.5, 0.3, 0.2])[code]) - 0.5 * z**2 - np.log(0.3 * np.sqrt(2 * np.pi))
    assert np.mean(truth - model.score_samples(held_out)) < 0.05


def test_samples(model):
    samples = model.sample(500)
    assert samples.dtype == object and samples.shape == (500, 4)
    assert [set(map(type, column)) for column in samples.T[:3]] == [{float}, {str}, {bool}]
    assert set(samples[:, 1]) == set(COLOURS)
    counts = samples[:, 3].astype(float)
    assert (counts >= 0).all() and (counts == np.floor(counts)).all()
    drawn, log_density = model.sample_and_log_prob(500)
    np.testing.assert_array_equal(drawn, samples)
    np.testing.assert_allclose(model.score_samples(samples), log_density, atol=1e-4)
    np.testing.assert_array_equal(model.sample(500, random_state=0), samples)
    assert not np.array_equal(model.sample(500, random_state=1), samples)
    assert model.sample(0).shape == (0, 4)


def test_score(model):
    rows, weight = table(100, seed=1), np.arange(100)
    scores = model.score_samples(rows).astype(float)
    assert model.score(rows) == pytest.approx(scores.mean())
    assert model.score(rows, sample_weight=weight) == pytest.approx(np.average(scores, weights=weight))


def test_the_order_of_the_rows_does_not_matter(model):
    other = nvpflow.FlowDensity(support=SUPPORT, **FAST).fit(table()[::-1])
    np.testing.assert_array_equal(other.score_samples(table()), model.score_samples(table()))


def test_lists_of_rows(model):
    other = nvpflow.FlowDensity(support=SUPPORT, **FAST).fit(table().tolist())
    np.testing.assert_array_equal(other.score_samples(table().tolist()), model.score_samples(table()))
    assert other.sample(3).dtype == object


def test_arrays_of_numbers():
    X = np.random.default_rng(0).normal(size=(200, 2))
    X[:, 1] = np.random.default_rng(1).integers(3, size=200)
    model = nvpflow.FlowDensity(support=[None, "category"], **FAST).fit(X)
    samples = model.sample(50)
    assert samples.dtype == np.float32 and set(samples[:, 1]) <= {0, 1, 2}
    X[:, 1] += 2**24  # not a float32
    samples = nvpflow.FlowDensity(support=[None, "category"], **FAST).fit(X).sample(50)
    assert samples.dtype == np.float64 and set(samples[:, 1]) <= {2**24, 2**24 + 1, 2**24 + 2}


def test_categories_alone():
    rows = table()[:, 1:3]
    model = nvpflow.FlowDensity(support=["category", "category"], random_state=0).fit(rows)
    p = [np.exp(model.score_samples([row])[0]) for row in itertools.product(COLOURS, (False, True))]
    assert sum(p) == pytest.approx(1, abs=1e-6)
    assert model.flow_ is None and model.n_iter_ == 0 and model.n_features_in_ == 2
    samples, log_density = model.sample_and_log_prob(200)
    np.testing.assert_allclose(model.score_samples(samples), log_density)
    assert model.score_samples(rows, return_std=True)[1].max() == 0
    detector = nvpflow.FlowOutlierDetector(support=["category", "category"], contamination=0.1, random_state=0).fit(rows)
    assert 0 < np.mean(detector.predict(rows) == -1) <= 0.2
    assert "n_features_in_" in model._repr_html_()
    model.partial_fit(rows)
    assert model.n_samples_seen_ == 2 * len(rows)


def test_hundreds_of_values_and_five_columns():
    rng = np.random.default_rng(0)
    rows = np.empty((2000, 6), dtype=object)
    rows[:, 0] = rng.normal(size=2000).tolist()
    for column, size in enumerate((300, 5, 4, 3, 2), start=1):
        rows[:, column] = [f"v{code}" for code in rng.integers(size, size=2000)]
    support = dict.fromkeys(range(1, 6), "category")
    model = nvpflow.FlowDensity(support=support, **FAST).fit(rows)
    assert np.isfinite(model.score_samples(model.sample(200))).all()


def test_ensembles():
    model = nvpflow.FlowDensity(support=SUPPORT, n_models=2, **FAST).fit(table())
    scores, std = model.score_samples(table(), return_std=True)
    np.testing.assert_allclose(scores, model.score_samples(table()), atol=1e-5)
    assert std.max() > 0
    assert model.sample(20).shape == (20, 4)


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_outliers(contamination):
    rows = table()
    detector = nvpflow.FlowOutlierDetector(support=SUPPORT, contamination=contamination, **FAST).fit(rows)
    share = 0.1 if contamination == 0.1 else 0.05
    assert np.mean(detector.predict(rows) == -1) == pytest.approx(share, abs=0.03)


def test_sample_weight():
    rows, times = table(100), np.tile([1, 2, 3, 0], 25)
    first = nvpflow.FlowDensity(support=SUPPORT, **FAST).fit(rows, sample_weight=times)
    second = nvpflow.FlowDensity(support=SUPPORT, **FAST).fit(np.repeat(rows, times, axis=0))
    np.testing.assert_array_equal(first.score_samples(rows), second.score_samples(rows))


def test_warm_start():
    model = nvpflow.FlowDensity(support=SUPPORT, warm_start=True, **FAST).fit(table())
    model.fit(table(seed=1)[table(seed=1)[:, 1] != "red"])  # a value may be missing
    assert np.isfinite(model.score_samples(table())).all()
    before = model.score_samples(table())
    odd = table()
    odd[7, 1] = "pink"
    with pytest.raises(ValueError, match="column 1 of X must be one of the categories .*'red'.* got 'pink' in row 7"):
        model.fit(odd)
    with pytest.raises(ValueError, match="support of its fit: column 3 of X is a category now, and was none"):
        model.set_params(support=SUPPORT | {3: "category"}).fit(table())
    np.testing.assert_array_equal(model.score_samples(table()), before)


def test_partial_fit():
    rows = table(400)
    model = nvpflow.FlowDensity(support=SUPPORT | {1: nvpflow.Category([*COLOURS, "pink"])}, **FAST)
    for part in (rows[:200], rows[200:250], rows[250:]):
        model.partial_fit(part)
    assert model.n_samples_seen_ == 400 and model._categories.table.known.total == 400
    colours = {colour: np.mean(rows[:, 1] == colour) for colour in COLOURS}
    only = nvpflow.FlowDensity(support=["category"], random_state=0)
    for part in (rows[:200, 1:2], rows[200:, 1:2]):
        only.partial_fit(part)
    for colour, share in colours.items():
        assert np.exp(only.score_samples([[colour]])[0]) == pytest.approx(share, abs=0.01)
    with pytest.raises(ValueError, match="got 'pink' in row 0"):
        only.partial_fit([["pink"]])
    odd = rows[:5].copy()
    odd[:, 1] = "pink"
    assert np.isfinite(model.partial_fit(odd).score_samples(odd)).all()
    after_fit = nvpflow.FlowDensity(support=SUPPORT, **FAST).fit(rows).partial_fit(rows)
    assert after_fit._categories.table.known.total == 800


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies(model, twin):
    np.testing.assert_array_equal(twin(model).score_samples(table()), model.score_samples(table()))


def test_clone(model):
    sklearn = pytest.importorskip("sklearn.base")
    assert sklearn.clone(model).get_params() == model.get_params()


@pytest.mark.parametrize("method", ["transform", "grad_log_prob", "inverse_transform"])
def test_methods_without_a_meaning(model, method):
    with pytest.raises(ValueError, match=f"{method} needs columns of real numbers, and column.s. 1, 2 of X are categories"):
        getattr(model, method)(table())


class TestErrors:
    @pytest.mark.parametrize("value, message", [
        ("pink", "column 1 of X must be one of the categories 'blue', 'green', 'red', .* got 'pink' in row 3, and 1 more"),
        (None, "column 1 of X must have no missing values, got None in row 3, and 1 more"),
        (np.nan, "column 1 of X must have no missing values, got nan in row 3"),
    ])  # fmt: skip
    def test_values(self, model, value, message):
        rows = table(20)
        rows[[3, 5], 1] = value
        with pytest.raises(ValueError, match=message):
            model.score_samples(rows)
        if value != "pink":
            with pytest.raises(ValueError, match=message):
                nvpflow.FlowDensity(support=SUPPORT, **FAST).fit(rows)

    def test_declared_values(self):
        with pytest.raises(ValueError, match="must be one of the categories 'blue', .* got 'green' in row "):
            nvpflow.FlowDensity(support={1: nvpflow.Category(["blue"]), 2: "category"}, **FAST).fit(table())

    def test_hashable(self, model):
        rows = table(20)
        rows[4, 1] = []
        with pytest.raises(TypeError, match=r"column 1 of X must hold hashable values, got \[\]"):
            model.score_samples(rows)
        with pytest.raises(TypeError, match=r"column 1 of X must hold hashable values, got \[\]"):
            nvpflow.FlowDensity(support=SUPPORT, **FAST).fit(rows)

    def test_shapes(self, model):
        with pytest.raises(ValueError, match="X has 3 features, but the model is expecting 4 features as input"):
            model.score_samples(table()[:, :3])
        with pytest.raises(ValueError, match=r"X must have shape \(n, D\), got \(4,\)"):
            model.score_samples(table()[0])
        with pytest.raises(ValueError, match=r"X must have shape \(n, D\), got \(2,\)"):
            nvpflow.FlowDensity(support=SUPPORT, **FAST).fit([[1.0, "red", True, 1], [1.0, "red"]])

    def test_texts_elsewhere(self):
        with pytest.raises((TypeError, ValueError), match="X must be an array of real numbers"):
            nvpflow.FlowDensity(support={2: "category"}, **FAST).fit(table())

    def test_context(self):
        with pytest.raises(ValueError, match=r"column.s. 1, 2 of X are categories, whose probabilities given a context"):
            nvpflow.FlowDensity(support=SUPPORT, **FAST).fit(table(), context=np.zeros((300, 1)))

    def test_context_of_samples(self, model):
        with pytest.raises(ValueError, match="context must be None"):
            model.score_samples(table(), context=np.zeros((300, 1)))
        with pytest.raises(ValueError, match="per_context must be False"):
            model.sample(3, per_context=True)

    @pytest.mark.parametrize("values, error, message", [
        ([], ValueError, "values must have at least one value"),
        (["a", "a"], ValueError, "values must be different from each other, got 'a' twice"),
        (["a", None], ValueError, "values must not be missing, got None"),
        ("abc", TypeError, "values must be a sequence of the values of the column, or None, got 'abc'"),
        ({"a"}, TypeError, "values must be a sequence"),
        ([[]], TypeError, "values must be hashable"),
    ])  # fmt: skip
    def test_category(self, values, error, message):
        with pytest.raises(error, match=message):
            nvpflow.Category(values)

    def test_no_flow(self):
        model = nvpflow.FlowDensity(support=["category"]).fit([["a"], ["b"], ["a"]])
        with pytest.raises(ValueError, match="transform needs columns of real numbers"):
            model.transform([["a"]])
        with pytest.raises(ValueError, match="X has 1 sample"):
            nvpflow.FlowDensity(support=["category"]).fit([["a"]])


def test_few_rows_share_an_indicator():
    rows = table(200)
    rows[:3, 1] = ["a", "b", "c"]
    model = nvpflow.FlowDensity(support=SUPPORT, **FAST).fit(rows)
    # Three values have one row each: with the next rarest value, they have enough.
    groups = dict(zip(model._categories.coding.values[0], model._categories.indicators.groups[0]))
    assert groups["a"] == groups["b"] == groups["c"] and groups["blue"] != groups["green"]
    assert np.isfinite(model.score_samples(rows)).all()


def cities(n, seed):
    """A column whose mean depends on one of 200 values."""
    rng = np.random.default_rng(seed)
    code, means = rng.integers(200, size=n), np.random.default_rng(9).normal(size=200)
    rows = np.empty((n, 2), dtype=object)
    rows[:, 0], rows[:, 1] = (means[code] + 0.3 * rng.normal(size=n)).tolist(), [f"city {k}" for k in code]
    z = (rows[:, 0].astype(float) - means[code]) / 0.3
    return rows, -0.5 * z**2 - np.log(0.3 * np.sqrt(2 * np.pi) * 200)


def test_rare_values_have_means():
    """With 15 rows for each of 200 values, the flow knows where each of them is."""
    values = [f"city {k}" for k in range(200)]
    model = nvpflow.FlowDensity(support={1: nvpflow.Category(values)}, random_state=0).fit(cities(3000, 0)[0])
    assert model._categories.effects.width == 1
    held_out, truth = cities(2000, 1)
    assert np.mean(truth - model.score_samples(held_out)) < 0.25  # 1.2 without the means


def towns(n=400, n_rare=40):
    """Two columns of text; values of the first one are frequent, or have a row or two."""
    rng = np.random.default_rng(0)
    town = [*rng.choice(["a", "b", "c"], n), *(f"rare {k % n_rare}" for k in range(n_rare + n_rare // 2))]
    return np.column_stack([town, rng.choice(["f", "m"], len(town))]).astype(object)


def test_rare_values_without_numbers():
    """There are no numbers whose means they could have."""
    rows = towns()
    model = nvpflow.FlowDensity(support=["category", "category"], random_state=0).fit(rows)
    pairs = [[town, sex] for town in sorted(set(rows[:, 0])) for sex in ("f", "m")]
    assert np.exp(model.score_samples(pairs)).sum() == pytest.approx(1, abs=1e-4)
    share = np.exp(model.score_samples([["a", "f"], ["a", "m"]])).sum()
    assert share == pytest.approx(np.mean(rows[:, 0] == "a"), abs=0.02)


def test_a_classifier_of_rare_values():
    rows = towns()
    model = nvpflow.FlowClassifier(support=["category"], random_state=0).fit(rows[:, :1], rows[:, 1])
    assert np.isfinite(model.predict_log_proba(rows[:, :1])).all()


def test_means_do_not_give_away_their_own_rows():
    """A mean of all rows but one would fall in a straight line with the number of that row."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(20), 100)[:, np.newaxis]
    x = codes + rng.normal(size=(2000, 1))
    effects, rows = Effects.fit(codes, [np.zeros(20, int)], x, None)
    of_all = effects.of_codes(codes)
    for k in range(20):
        of_value = codes[:, 0] == k
        assert len(np.unique(rows[of_value])) == FOLDS and np.abs(rows[of_value] - of_all[of_value]).max() < 0.1
        assert abs(np.corrcoef(rows[of_value, 0], x[of_value, 0])[0, 1]) < 0.5


def test_frequent_values_are_not_fitted_by_their_own_rows():
    """Means without their own row alone let a mixture know the number of each row: 15 nats off."""
    means = np.random.default_rng(9).normal(size=40)

    def draw(n, seed):
        rng = np.random.default_rng(seed)
        codes, noise = rng.integers(40, size=n), rng.normal(size=n)
        return np.column_stack([codes, means[codes] + 0.3 * noise]), -0.5 * noise**2 - np.log(0.3 * np.sqrt(2 * np.pi) * 40)

    model = nvpflow.FlowDensity(support={0: "category"}, random_state=0).fit(draw(1000, 0)[0])
    held_out, truth = draw(2000, 1)
    assert np.mean(truth - model.score_samples(held_out)) < 0.4


@pytest.mark.parametrize("n_values, slope", [(5, 1.0), (40, 0.0)])
def test_no_means_of_few_values_or_of_numbers_that_do_not_depend_on_them(n_values, slope):
    rng = np.random.default_rng(0)
    codes = rng.integers(n_values, size=(400, 1))
    x = slope * codes + rng.normal(size=(400, 2))
    effects, rows = Effects.fit(codes, [np.zeros(n_values, int)], x, None)
    assert effects.width == 0 and rows.shape == (400, 0)


def test_labels_that_are_nearly_all_different():
    """Means of single rows say nothing of others. As rounding errors that a context was scaled to, they made samples of 1e15."""
    rng = np.random.default_rng(0)
    table = np.empty((90, 4), dtype=object)
    table[:, 0] = [f"name {k}" for k in [*range(82), *range(8)]]
    table[:, 1] = [f"genus {k}" for k in [*range(70), *range(20)]]
    table[:, 2:] = (0.1 * rng.normal(size=(90, 2)) + rng.normal(size=(90, 1)).repeat(2, axis=1)).tolist()
    table[82:, 2:] = table[:8, 2:]
    model = nvpflow.FlowDensity(support={0: "category", 1: "category"}, random_state=0).fit(table)
    assert np.abs(model.sample(1000, random_state=0)[:, 2:].astype(float)).max() < 10
    assert model.score_samples(table).min() > -30
