"""Questions that have no good answer say so, and those about no row have answers of no row."""

import numpy as np
import pandas
import pytest

import nvpflow
from nvpflow import FlowDensity

LAYERS = {"base": "normal", "n_layers": 3, "max_iter": 10}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=400)
    count = rng.poisson(np.exp(0.3 * z[:, 0])).astype(float)
    kind = np.where(z[:, 1] > 0, "a", "b")
    return pandas.DataFrame({"real": z[:, 0], "positive": np.exp(z[:, 1]), "count": count, "kind": kind})


@pytest.fixture(scope="module", params=[{"max_iter": 5}, LAYERS], ids=["mixture", "layers"])
def model(frame, request):
    support = {"positive": "positive", "count": nvpflow.Integer(0)}
    return FlowDensity(support=support, random_state=0, **request.param).fit(frame)


def test_a_number_far_from_all_samples_warns(model, frame):
    found = model.conditional({"real": [0.5, 60.0], "count": 1, "kind": "a"}, "positive")
    with pytest.warns(nvpflow.AccuracyWarning, match=r"far from all samples of the model in 1 row\(s\)"):
        found.interval(0.9)
    model.conditional(frame[["real", "count", "kind"]], "positive").interval(0.9)  # rows of the fit do not


def test_the_order_of_columns_does_not_matter(model, frame):
    given = frame.head(5)
    one = model.conditional(given[["kind", "count", "real"]], "positive").mean()
    np.testing.assert_array_equal(one, model.conditional(given[["real", "kind", "count"]], "positive").mean())


def test_no_rows_have_no_answers(model, frame):
    none = frame.head(0)
    found = model.conditional(none, "positive")
    assert found.mean().shape == found.std().shape == found.error.shape == (0,)
    assert found.interval(0.9).shape == found.cdf([1.0, 2.0]).shape == found.ppf([0.1, 0.9]).shape == (0, 2)
    assert found.pdf([1.0, 2.0, 3.0]).shape == model.posterior(none, "positive", [1.0, 2.0, 3.0]).shape == (0, 3)
    assert found.sample(4).shape == (0, 4, 1)
    assert found.score_samples([]).shape == (0,)
    assert model.conditional(none, "kind").pdf(["a", "b"]).shape == (0, 2)


def test_probabilities_of_values_sum_to_one(model, frame):
    given = frame.head(6)
    of_kinds = model.conditional(given[["real", "positive"]], "kind").pdf(["a", "b"])
    np.testing.assert_allclose(of_kinds.sum(axis=1), 1, atol=1e-4)
    of_counts = model.conditional(given[["real", "positive", "kind"]], "count").pdf(np.arange(100))
    np.testing.assert_allclose(of_counts.sum(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(
        model.marginal("kind").pdf(["a", "b"]), [(frame["kind"] == kind).mean() for kind in "ab"], atol=0.01
    )


@pytest.mark.parametrize("value", [-1, 1.5])
def test_whole_numbers_outside_of_their_support_have_no_density(model, value):
    with pytest.warns(nvpflow.AccuracyWarning, match="no density in 1 row"):
        assert np.isnan(model.conditional({"count": value}, "real").mean())


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda model: model.conditional({"real": "x"}), "got 'x' in column 'real', row 0"),
        (lambda model: model.conditional({"positive": [1.0, np.inf]}, "real"), "inf in column 'positive', row 1"),
        (
            lambda model: model.conditional({"kind": "z"}, "real"),
            "column 'kind' of given must be one of the categories 'a', 'b'",
        ),
        (lambda model: model.conditional({"real": 0.1, "positive": 1.0, "count": 1, "kind": "a"}), "must leave a column free"),
        (lambda model: model.marginal("real").pdf(["a"]), "grid must be numbers"),
        (lambda model: model.posterior({"real": 0.1}, "positive", [1.0]), "grid must be two numbers or more"),
        (lambda model: model.posterior({"real": 0.1}, "positive", [2.0, 1.0]), r"in increasing order, got \[2.0, 1.0\]"),
    ],
)
def test_errors_name_the_column(model, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(model)


def test_a_grid_without_density_warns(model):
    with pytest.warns(nvpflow.AccuracyWarning, match=r"0 on all of grid"):
        assert np.isnan(model.posterior({"real": 0.1}, "positive", [-2.0, -1.0])).all()


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda model: model.marginal(None), TypeError, "columns must be a name or a number"),
        (lambda model: model.marginal({"real": 1.0}), TypeError, "columns must be a name or a number"),  # no conditional
        (lambda model: model.posterior({"real": 1.0}, "x", [1.0]), ValueError, "column must be names or numbers"),
        (lambda model: model.posterior({"real": 1.0}, ["kind"], ["a"]), TypeError, "column must be a name or a number"),
        (lambda model: model.posterior({"real": 1.0}, "kind", ["a", "a"]), ValueError, "grid must have each value once"),
        (lambda model: model.posterior({"real": 1.0}, "count", [2, 1, 1]), ValueError, "grid must have each value once"),
        (lambda model: model.density_levels("x"), TypeError, "mass must be numbers between 0 and 1, got 'x'"),
        (lambda model: model.conditional({"real": np.datetime64("2020-01-01")}), TypeError, "Convert times to numbers"),
        (
            lambda model: model.conditional({"real": 0.1}, ["positive", "count"]).score_samples([[1.0, np.nan]]),
            ValueError,
            "X must have values in all free columns, got nan in column 'count', row 0",
        ),
        (
            lambda model: model.conditional({"real": 0.1}, ["positive", "kind"]).pdf(([1.0, np.nan], ["a"])),
            ValueError,
            "grid must have values in all free columns, got nan in column 'positive', row 1",
        ),
    ],
)
def test_questions_that_would_be_answered_with_something_else(model, ask, error, message):
    with pytest.raises(error, match=message):
        ask(model)


def test_grids_of_no_value_and_of_nan(model):
    both = model.conditional({"real": [0.1, 0.2], "positive": 1.0}, ["kind", "count"])
    assert both.pdf((["a", "b"], [])).shape == (2, 2, 0) and both.pdf(([], [1])).shape == (2, 0, 1)
    one = model.conditional({"real": 0.1}, "count")
    np.testing.assert_array_equal(one.pdf([np.nan, -1, 0.5]), [np.nan, 0, 0])
    np.testing.assert_array_equal(one.pdf(([0.0, 1.0],)), one.pdf([0.0, 1.0]))


def test_masked_values_are_missing(model):
    masked = np.ma.masked_array([0.1, 0.2], mask=[True, False])
    found = model.conditional({"real": masked, "kind": "a", "positive": 1.0}, "count").mean()
    np.testing.assert_array_equal(
        found, model.conditional({"real": [None, 0.2], "kind": "a", "positive": 1.0}, "count").mean()
    )


def test_many_rows_of_a_product_are_computed_in_parts(model, frame, monkeypatch):
    found = model.conditional(frame[["real", "positive"]].head(7), ["count", "kind"])
    grid = np.arange(4), ["a", "b"]
    whole = found.pdf(grid)
    monkeypatch.setattr("nvpflow.queries._density.MOST_POINTS", 17)
    np.testing.assert_allclose(found.pdf(grid), whole, rtol=1e-9)
