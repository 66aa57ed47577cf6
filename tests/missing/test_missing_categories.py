"""Missing cells beside and in columns of categories: sums over their values, draws given all other cells."""

import numpy as np
import pytest

import nvpflow
from nvpflow.missing._table import MOST_COMBINATIONS

rng = np.random.default_rng(0)
N = 1500
COLOURS = rng.choice(["red", "green", "blue"], N, p=[0.5, 0.3, 0.2])
SIZES = np.where(rng.random(N) < 0.8, COLOURS == "red", rng.random(N) < 0.5)
PLACE = {"red": -4.0, "green": 0.0, "blue": 4.0}
X1 = np.array([PLACE[c] for c in COLOURS]) + rng.normal(size=N)
X2 = X1 + rng.normal(size=N)
TABLE = np.array([X1, COLOURS, SIZES, X2], dtype=object).T
SUPPORT = {1: "category", 2: "category"}
QUICK = {"max_iter": 5, "n_layers": 2, "hidden_dim": 8, "random_state": 0}


def with_gaps(table, share, columns, seed=1):
    gaps = np.random.default_rng(seed).random((len(table), len(columns))) < share
    table = table.copy()
    for place, column in enumerate(columns):
        table[gaps[:, place], column] = None
    return table


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(support=SUPPORT, missing="marginalize", **QUICK).fit(TABLE)


def test_a_missing_category_is_the_sum_over_its_values(model):
    rows = TABLE[:20].copy()
    rows[:, 1] = None
    of_values = [model.score_samples(np.array([[x, c, s, y] for x, _, s, y in rows], dtype=object)) for c in PLACE]
    np.testing.assert_allclose(model.score_samples(rows), np.logaddexp.reduce(of_values, axis=0), atol=1e-4)
    rows[:, 2] = None
    of_pairs = [
        model.score_samples(np.array([[x, c, s, y] for x, _, _, y in rows], dtype=object))
        for c in PLACE
        for s in (True, False)
    ]
    np.testing.assert_allclose(model.score_samples(rows), np.logaddexp.reduce(of_pairs, axis=0), atol=1e-4)


def test_a_missing_number_is_integrated(model):
    row = np.array([[None, "red", True, 0.5], [None, None, True, 0.5]], dtype=object)
    grid = np.linspace(-12, 12, 2001)
    for one, score in zip(row, model.score_samples(row)):
        points = np.array([[x, *one[1:]] for x in grid], dtype=object)
        densities = np.exp(model.score_samples(points).astype(float))
        assert np.log(np.trapezoid(densities, grid)) == pytest.approx(score, abs=1e-3)


def test_categories_alone_and_nothing(model):
    rows = np.array([[None, c, None, None] for c in PLACE] + [[None] * 4], dtype=object)
    scores = model.score_samples(rows)
    assert np.exp(scores[:3].astype(float)).sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(np.exp(scores[:3]), [(c == COLOURS).mean() for c in PLACE], atol=0.01)
    assert scores[3] == pytest.approx(0, abs=1e-12)


def test_rows_do_not_depend_on_each_other(model):
    rows = with_gaps(TABLE[:50], 0.3, range(4))
    scores = model.score_samples(rows)
    np.testing.assert_array_equal(scores[::-1], model.score_samples(rows[::-1]))
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("n_models", [1, 2])
def test_fit_learns_from_incomplete_rows(n_models):
    """Rows without a colour must not weaken the dependence of colours and numbers."""
    model = nvpflow.FlowDensity(support=SUPPORT, missing="marginalize", n_models=n_models, **QUICK)
    incomplete = with_gaps(TABLE, 0.4, (0, 1, 2))
    model.fit(incomplete)
    assert model.n_samples_seen_ == N
    best = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(TABLE)
    assert model.score(TABLE) > best.score(TABLE) - 0.1
    scores, std, error = model.score_samples(incomplete, return_std=True, return_error=True)
    assert np.isfinite(scores).all() and (std >= 0).all() and (error >= 0).all()
    assert (std > 0).any() == (n_models > 1)


def test_impute_draws_given_all_other_cells(model):
    rows = np.array([[x, None, None, x] for x in np.repeat([-4.0, 0.0, 4.0], 100)], dtype=object)
    filled = model.impute(rows, random_state=1)
    colours = filled[:, 1].reshape(3, 100)
    assert [(colours[i] == colour).mean() > 0.85 for i, colour in enumerate(PLACE)] == [True] * 3
    assert (filled[:, [0, 3]] == rows[:, [0, 3]]).all()
    assert all(type(value) is bool for value in filled[:, 2])
    draws = model.impute(np.array([[None, "blue", None, None]], dtype=object), n_draws=200, random_state=1)
    assert draws.shape == (200, 1, 4) and draws[:, 0, 0].astype(float).mean() == pytest.approx(4, abs=0.3)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library):
    frames = pytest.importorskip(library)
    frame = frames.DataFrame({"x": X1, "colour": with_gaps(TABLE, 0.2, (1,))[:, 1].tolist(), "small": SIZES.tolist()})
    model = nvpflow.FlowDensity(missing="marginalize", **QUICK).fit(frame)
    assert np.isfinite(model.score_samples(frame)).all()
    filled = model.impute(frame, random_state=0)
    assert type(filled) is type(frame) and list(filled.columns) == ["x", "colour", "small"]
    values = filled["colour"].to_list() if library == "polars" else filled["colour"].tolist()
    given = frame["colour"].to_list() if library == "polars" else frame["colour"].tolist()
    assert set(values) == set(PLACE)
    assert all(new == old for new, old in zip(values, given) if isinstance(old, str))


def test_only_categories():
    table = with_gaps(TABLE[:, 1:3], 0.2, (0, 1))
    model = nvpflow.FlowDensity(support=["category", "category"], missing="marginalize", random_state=0).fit(table)
    rows = np.array([["red", None], [None, None], ["red", True], ["red", False]], dtype=object)
    scores = model.score_samples(rows).astype(float)
    assert scores[1] == pytest.approx(0, abs=1e-12) and np.exp(scores[2:]).sum() == pytest.approx(np.exp(scores[0]), abs=1e-6)
    assert None not in model.impute(table, random_state=0)


def test_many_combinations_are_drawn():
    """The sum over more combinations than are listed is an estimate with an error."""
    n_values = int(MOST_COMBINATIONS**0.5) + 2
    codes = rng.integers(0, n_values, (4000, 2))
    table = np.column_stack([codes, rng.normal(size=4000) + (codes[:, 0] < n_values / 2)]).astype(float)
    model = nvpflow.FlowDensity(support={0: "category", 1: "category"}, missing="marginalize", **QUICK).fit(table)
    row = np.array([[np.nan, np.nan, 0.5]])
    score, error = model.score_samples(row, return_error=True)
    density = np.mean([np.exp(-((0.5 - shift) ** 2) / 2) / np.sqrt(2 * np.pi) for shift in (0, 1)])
    assert 0 < error[0] < 0.1 and score[0] == pytest.approx(np.log(density), abs=0.1)


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_detector(contamination):
    table = with_gaps(TABLE, 0.1, range(4))
    detector = nvpflow.FlowOutlierDetector(support=SUPPORT, missing="marginalize", contamination=contamination, **QUICK)
    labels = detector.fit_predict(table)
    assert 0.02 < (labels == -1).mean() < 0.2
    odd = np.array([[9.0, None, None, -9.0], [None, None, None, 0.1]], dtype=object)
    np.testing.assert_array_equal(detector.predict(odd), [-1, 1])


def test_wrong_arguments(model):
    with pytest.raises(ValueError, match="column 1 of X must have no missing values, got None in row .*missing='marginalize'"):
        nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(with_gaps(TABLE, 0.2, (1,)))
    with pytest.raises(ValueError, match="column 1 of X must be one of the categories"):
        model.score_samples(np.array([[1.0, "pink", None, 2.0]], dtype=object))
    with pytest.raises(ValueError, match="partial_fit needs complete rows"):
        nvpflow.FlowDensity(support=SUPPORT, missing="marginalize", **QUICK).partial_fit(with_gaps(TABLE, 0.2, (1,)))
    table = TABLE.copy()
    table[:, 1] = None
    with pytest.raises(ValueError, match="column 1 of X must hold categories, got missing values alone"):
        nvpflow.FlowDensity(support=SUPPORT, missing="marginalize", **QUICK).fit(table)
