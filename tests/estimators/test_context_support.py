"""Contexts with categories and angles."""

import warnings

import numpy as np
import pytest

import nvpflow

FAST = {"n_layers": 2, "hidden_dim": 8, "max_iter": 5, "random_state": 0}
COLOURS = ("blue", "green", "red")
SUPPORT = {0: "category", 2: nvpflow.Angle(0, 360)}


def data(n=300):
    rng = np.random.default_rng(0)
    code, angle = rng.integers(3, size=n), rng.uniform(0, 360, n)
    context = np.empty((n, 3), dtype=object)
    context[:, 0], context[:, 1] = [COLOURS[k] for k in code], rng.normal(size=n).tolist()
    context[:, 2] = angle.tolist()
    return (2 * code + np.cos(np.radians(angle)) + 0.3 * rng.normal(size=n))[:, np.newaxis], context


@pytest.fixture(scope="module")
def model():
    X, context = data()
    return nvpflow.FlowDensity(context_support=SUPPORT, random_state=0).fit(X, context=context)


def test_categories_and_angles(model):
    X, context = data()
    assert model.flow_.context_dim == 3 + 3  # a number, cosine and sine, three indicators
    means = [np.mean(model.sample(400, context=[colour, 0.0, 90.0])) for colour in COLOURS]
    np.testing.assert_allclose(means, [0, 2, 4], atol=0.4)
    turned = context.copy()
    turned[:, 2] += 720
    np.testing.assert_allclose(model.score_samples(X, context=turned), model.score_samples(X, context=context), atol=1e-3)


def test_one_context_for_all(model):
    row = ["red", 0.5, 10.0]
    expected = model.sample(5, context=np.array([row] * 5, dtype=object))
    for one in (row, [row], np.array(row, dtype=object), np.array([row], dtype=object)):
        np.testing.assert_array_equal(model.sample(5, context=one), expected)
    many = model.sample(5, context=[row, ["blue", 0.0, 1.0]], per_context=True)
    assert many.shape == (2, 5, 1)
    np.testing.assert_array_equal(model.sample_and_log_prob(5, context=row)[0], expected)


def test_frames():
    pd = pytest.importorskip("pandas")
    X, context = data()
    frame = pd.DataFrame(context, columns=["colour", "z", "heading"]).astype({"z": float, "heading": float})
    frame["colour"] = frame["colour"].astype("category")
    model = nvpflow.FlowDensity(context_support={"heading": nvpflow.Angle(0, 360)}, **FAST).fit(X, context=frame)
    assert model.context_feature_names_in_.tolist() == ["colour", "z", "heading"]
    expected = model.sample(3, context=frame.iloc[:1])
    row = frame.iloc[0].to_dict()
    for one in (row, frame.iloc[0], dict(reversed(row.items()))):
        np.testing.assert_array_equal(model.sample(3, context=one), expected)
    columns = {name: frame[name].tolist() for name in frame}
    np.testing.assert_array_equal(model.score_samples(X, context=columns), model.score_samples(X, context=frame))
    with pytest.raises(ValueError, match="context must have the columns 'colour', 'z', 'heading', got"):
        model.sample(3, context={"colour": "red"})
    with pytest.raises(ValueError, match="column 'colour' of context must be one of the categories .* got 'pink' in row 0"):
        model.sample(3, context=row | {"colour": "pink"})
    with pytest.raises(ValueError, match="column 'colour' of context must have no missing values"):
        model.sample(3, context=row | {"colour": None})
    with pytest.warns(UserWarning, match="column.s. 'z' of context leave the range of training"):
        model.sample(3, context=row | {"z": 100.0})


def test_a_dict_names_a_plain_context():
    pd = pytest.importorskip("pandas")
    X = np.random.default_rng(0).normal(size=(100, 1))
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(100, 2)), columns=["a", "b"])
    model = nvpflow.FlowDensity(**FAST).fit(X, context=frame)
    np.testing.assert_array_equal(
        model.sample(3, context={"b": 0.1, "a": 0.2}), model.sample(3, context=frame.iloc[:1] * 0 + [0.2, 0.1])
    )


def test_training_goes_on():
    X, context = data()
    for start in (nvpflow.FlowDensity.fit, nvpflow.FlowDensity.partial_fit):
        model = start(nvpflow.FlowDensity(context_support=SUPPORT, **FAST), X, context=context)
        model.partial_fit(X[:50], context=context[:50])
        model.set_params(warm_start=True).fit(X[:100], context=context[:100])
        assert np.isfinite(model.score_samples(X, context=context)).all()
    detector = nvpflow.FlowOutlierDetector(context_support=SUPPORT, **FAST).fit(X, context=context)
    assert set(detector.predict(X, context=context)) == {-1, 1}


@pytest.mark.parametrize("support, message", [
    ({5: "category"}, "context_support must name columns of context, which has 3, counted from 0, got 5"),
    ({"colour": "category"}, "context_support must have numbers of columns, because context has no names"),
    (["category"], "context_support must have an entry for each of the 3 columns of context, got 1"),
])  # fmt: skip
def test_errors(support, message):
    X, context = data()
    with pytest.raises(ValueError, match=message):
        nvpflow.FlowDensity(context_support=support, **FAST).fit(X, context=context)


def test_context_support_needs_a_context():
    with pytest.raises(ValueError, match="context_support must be None without a context"):
        nvpflow.FlowDensity(context_support=SUPPORT).fit(data()[0])


@pytest.mark.parametrize("values", [["rare"] * 5 + ["b"] * 45, ["b"] * 50, [str(i // 5) for i in range(50)]])
def test_a_context_in_which_all_rows_look_the_same(values):
    pd = pytest.importorskip("pandas")
    x, context = np.random.default_rng(0).normal(size=(50, 1)), pd.DataFrame({"k": values})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(
            ValueError, match=r"context must tell rows apart, got column\(s\) 'k' in which all rows have one value"
        ):
            nvpflow.FlowDensity(max_iter=3).fit(x, context=context)
        with pytest.raises(ValueError, match="X must tell rows apart"):
            nvpflow.FlowRegressor(max_iter=3).fit(context, x[:, 0])
