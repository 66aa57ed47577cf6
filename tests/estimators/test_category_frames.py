"""Frames with categories: what is a category by itself, and samples as frames like that of the fit."""

import numpy as np
import pytest

import nvpflow

pd = pytest.importorskip("pandas")
FAST = {"n_layers": 2, "hidden_dim": 8, "max_iter": 3, "random_state": 0}


def values(n=120):
    rng = np.random.default_rng(0)
    code = rng.integers(3, size=n)
    return {
        "x": code + 0.3 * rng.normal(size=n),
        "colour": np.array(["red", "green", "blue"])[code],
        "flag": rng.random(n) < 0.4,
        "kind": np.array(["u", "v"])[rng.integers(2, size=n)],
        "y": rng.normal(size=n).astype(np.float32),
        "code": rng.integers(3, size=n),
    }


def pandas_frame():
    frame = pd.DataFrame(values())
    frame["colour"] = pd.Categorical(frame["colour"], categories=["unused", "red", "green", "blue"], ordered=True)
    frame["maybe"] = frame["flag"].astype("boolean")
    frame["text"] = frame["kind"].astype("string")
    frame["object"] = frame["kind"].astype(object)
    frame["Count"] = frame["code"].astype("Int64")
    return frame


class TestPandas:
    def test_samples_are_like_the_frame(self):
        frame = pandas_frame()
        support = {"code": "category", "Count": nvpflow.Category([0, 1, 2, 3])}
        model = nvpflow.FlowDensity(support=support, **FAST).fit(frame)
        samples = model.sample(200)
        pd.testing.assert_series_equal(samples.dtypes, frame.dtypes)
        assert list(samples["colour"].cat.categories) == ["unused", "red", "green", "blue"] and samples["colour"].cat.ordered
        for name in ("colour", "flag", "kind", "maybe", "text", "object", "code"):
            assert set(samples[name]) <= set(frame[name])
        np.testing.assert_allclose(model.score_samples(samples), model.sample_and_log_prob(200)[1], atol=1e-4)

    def test_categories_by_themselves(self):
        frame = pd.DataFrame(values())
        model = nvpflow.FlowDensity(**FAST).fit(frame.drop(columns="code"))
        assert model._categories.coding.columns == (1, 2, 3)
        assert model.feature_names_in_.tolist() == ["x", "colour", "flag", "kind", "y"]
        assert type(model.sample(5)) is pd.DataFrame

    def test_numbers_stay_numbers(self):
        frame = pd.DataFrame(values())[["x", "y"]]
        plain, of_frame = (nvpflow.FlowDensity(**FAST).fit(X) for X in (frame.to_numpy(), frame))
        assert of_frame._known_categories() is None and type(of_frame.sample(3)) is pd.DataFrame
        np.testing.assert_array_equal(plain.score_samples(frame.to_numpy()), of_frame.score_samples(frame))

    def test_a_declared_kind_wins(self):
        frame = pd.DataFrame(values())[["x", "flag"]].assign(z=np.random.default_rng(1).normal(size=120))
        model = nvpflow.FlowDensity(support={"flag": "integer"}, **FAST).fit(frame)
        assert model._known_categories() is None

    @pytest.mark.parametrize("value", ["pink", None])
    def test_errors_name_the_column(self, value):
        frame = pd.DataFrame(values())[["x", "colour"]]
        model = nvpflow.FlowDensity(**FAST).fit(frame)
        frame.loc[4, "colour"] = value
        message = "one of the categories .* got 'pink' in row 4" if value else "no missing values, got .* in row 4"
        with pytest.raises(ValueError, match=f"column 'colour' of X must (be|have) {message}"):
            model.score_samples(frame)

    def test_arrays_instead_of_the_frame(self):
        frame = pd.DataFrame(values())[["x", "colour", "flag"]]
        model = nvpflow.FlowDensity(warm_start=True, **FAST).fit(frame)
        with pytest.warns(UserWarning, match="does not have valid feature names"):
            scores = model.score_samples(frame.to_numpy(dtype=object))
        np.testing.assert_array_equal(scores, model.score_samples(frame))

    def test_columns_without_names(self):
        frame = pd.DataFrame(pd.DataFrame(values())[["x", "colour"]].to_numpy(dtype=object)).astype({0: float})
        model = nvpflow.FlowDensity(**FAST).fit(frame)
        assert model._categories.coding.columns == (1,) and model.sample(3).columns.equals(frame.columns)

    def test_set_output(self):
        rows = pd.DataFrame(values())[["x", "colour"]].to_numpy(dtype=object)
        model = nvpflow.FlowDensity(support={1: "category"}, **FAST).fit(rows).set_output(transform="pandas")
        assert model.sample(3).columns.tolist() == ["x0", "x1"]


class TestPolars:
    def test_samples_are_like_the_frame(self):
        pl = pytest.importorskip("polars")
        frame = pl.DataFrame(values()).with_columns(
            colour=pl.col("colour").cast(pl.Enum(["unused", "red", "green", "blue"])), kind=pl.col("kind").cast(pl.Categorical)
        )
        frame = frame.with_columns(text=pl.col("colour").cast(pl.String))
        model = nvpflow.FlowDensity(support={"code": "category"}, **FAST).fit(frame)
        samples = model.sample(100)
        assert samples.schema == frame.schema
        assert set(samples["colour"]) <= set(frame["colour"])
        assert np.isfinite(model.score_samples(samples)).all()
        with pytest.raises(ValueError, match="column 'kind' of X must have no missing values, got None in row 0"):
            model.score_samples(frame.with_columns(kind=pl.lit(None)))


def test_a_real_table():
    """From a frame to a synthetic frame: cars of three origins."""
    data = pytest.importorskip("vega_datasets").data
    columns = ["Miles_per_Gallon", "Horsepower", "Weight_in_lbs", "Cylinders", "Origin"]
    frame = pd.read_json(data.cars.filepath).dropna()[columns].astype({"Weight_in_lbs": float})
    half = frame.iloc[::2], frame.iloc[1::2]
    support = {"Cylinders": nvpflow.Category([3, 4, 5, 6, 8]), "Horsepower": nvpflow.Integer(1)}
    model = nvpflow.FlowDensity(support=support, random_state=0).fit(half[0])
    independent = sum(
        nvpflow.FlowDensity(support={name: kind for name, kind in support.items() if name == column}, random_state=0)
        .fit(half[0][[column]])
        .score(half[1][[column]])
        for column in frame.columns
    )
    assert model.score(half[1]) > independent + 1
    samples = model.sample(500)
    pd.testing.assert_series_equal(samples.dtypes, frame.dtypes)
    # All cars with eight cylinders are from one place, and are heavy.
    eight = samples["Cylinders"] == 8
    assert (samples.loc[eight, "Origin"] == "USA").mean() > 0.95
    assert samples.loc[eight, "Weight_in_lbs"].mean() > samples.loc[~eight, "Weight_in_lbs"].mean() + 1000
