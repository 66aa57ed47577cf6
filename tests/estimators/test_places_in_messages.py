"""Messages call columns and rows by the names and numbers that the user's table has for them: rows and columns from 0."""

import copy
import pickle

import numpy as np
import pytest

import nvpflow
from nvpflow._validation.cells import CellError

QUICK = dict(n_layers=2, hidden_dim=8, max_iter=2, random_state=0)
SUPPORT = {0: "category", 2: "positive"}


def rows(n=60):
    x = np.random.default_rng(0).normal(size=n)
    return [["a" if value > 0 else "b", float(value), float(abs(value)) + 0.1] for value in x]


def with_value(value, column=2, row=7):
    changed = copy.deepcopy(rows())
    changed[row][column] = value
    return changed


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"got NaN or infinity: nan in column 2, row 7\. To allow"),
        (np.inf, "got NaN or infinity: inf in column 2, row 7$"),
        (-1.0, r"column 2 of X must be in \[0, inf\), its support, got -1 in row 7$"),
        ("big", r"got 'big' in column 2, row 7\. Declare"),
    ],
)
def test_columns_beside_categories_have_the_numbers_of_the_table(value, message):
    fitted = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(rows())
    with pytest.raises(ValueError, match=message):
        nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(with_value(value))
    if value == -1.0:
        assert fitted.score_samples(with_value(value))[7] == -np.inf
        return
    with pytest.raises(ValueError, match=message):
        fitted.score_samples(with_value(value))


def test_a_column_without_values_has_the_number_of_the_table():
    empty = [[kind, x, np.nan] for kind, x, _ in rows()]
    with pytest.raises(ValueError, match="column 2 has none"):
        nvpflow.FlowDensity(support=SUPPORT, missing="marginalize", **QUICK).fit(empty)


@pytest.mark.parametrize("value", [np.inf, "big"])
def test_questions_name_columns(value):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows(), columns=["kind", "x", "size"])
    fitted = nvpflow.FlowDensity(support={"size": "positive"}, **QUICK).fit(frame)
    with pytest.raises(ValueError, match="in column 'size', row 0"):
        fitted.conditional({"size": value})
    with pytest.raises(ValueError, match="got column 'size' in both"):
        fitted.conditional({"size": 1.0}, columns=["size"])
    plain = nvpflow.FlowDensity(**QUICK).fit(frame[["x", "size"]])
    with pytest.raises(ValueError, match="in column 'size', row 1"):
        plain.conditional({"size": [1.0, value]})


def test_an_error_about_a_cell():
    error = CellError("got 3 in column 'x', ", 7, ", and 2 more")
    assert str(error) == "got 3 in column 'x', row 7, and 2 more"
    assert str(error.at(8)) == "got 3 in column 'x', row 8, and 2 more"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("bound", [0.1, 1 / 3])
def test_a_bound_that_float32_rounds(bound):
    """A value that equals the bound in float32 is on it, and no sample is beyond it in float64."""
    x = (bound * np.random.default_rng(0).random((200, 1))).astype(np.float32)
    x[5] = bound
    fitted = nvpflow.FlowDensity(support=[(0, bound)], **QUICK).fit(x)
    assert np.isfinite(fitted.score_samples(x)).all() and np.isfinite(fitted.score_samples(x.astype(np.float64)[:5])).all()
    assert fitted.sample(5000).astype(np.float64).max() <= bound
    np.testing.assert_array_equal(fitted._supports.clipped(x + np.float32(1)).astype(np.float64) <= bound, True)
    beyond = np.nextafter(np.float32(bound), np.float32(1))
    assert fitted.score_samples(np.full((1, 1), beyond))[0] == -np.inf
    with pytest.raises(ValueError, match="its support, got .* in row 3"):
        nvpflow.FlowDensity(support=[(0, bound)], **QUICK).fit(np.insert(x, 3, beyond, axis=0))


def test_contexts_name_columns():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    context = pandas.DataFrame({"kind": rng.choice(["a", "b"], 60), "wind": rng.uniform(0, 360, 60)})
    support = {"wind": nvpflow.Angle(0, 360)}
    fitted = nvpflow.FlowDensity(context_support=support, **QUICK).fit(rng.normal(size=(60, 1)), context=context)
    with pytest.raises(ValueError, match="nan in column 'wind', row 1$"):
        fitted.sample(2, context={"kind": "a", "wind": [3.0, np.nan]})
    with pytest.raises(ValueError, match="column 'kind' of context must have no missing values, got None in row 0$"):
        fitted.sample(2, context={"kind": None, "wind": 3.0})


def test_an_array_of_texts_says_what_numpy_did():
    texts = np.array([["a", 1.5], ["b", 2.5]] * 10)
    with pytest.raises(TypeError, match="got dtype <U.*NumPy makes texts of numbers beside texts: pass a frame"):
        nvpflow.FlowDensity(support=["category", None], **QUICK).fit(texts)


def test_truth_values_stay_truth_values():
    x = np.random.default_rng(0).random((60, 2)) < 0.5
    samples = nvpflow.FlowDensity(support=["category"] * 2, **QUICK).fit(x).sample(5)
    assert samples.dtype == bool and samples.shape == (5, 2)
