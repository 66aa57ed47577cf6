"""Samples of a model of a frame have the types of its columns."""

import contextlib
import decimal

import numpy as np
import pytest

import nvpflow
from nvpflow.supports._frame import Frame
from nvpflow.supports._kinds import REALS
from nvpflow.supports._number_types import number_type

QUICK = dict(n_layers=2, hidden_dim=8, max_iter=3, random_state=0)
WHOLE = {"pandas": ["int8", "uint64", "Int16", "UInt32", "Sparse[int64, 0]", "int16[pyarrow]", "uint8[pyarrow]"]}
WHOLE["polars"] = ["Int8", "Int64", "Int128", "UInt32"]
REAL = {"pandas": ["float16", "float32", "Float32", "Float64", "Sparse[float64, nan]", "double[pyarrow]", "float[pyarrow]"]}
REAL["polars"] = ["Float32", "Float64"]
pytestmark = pytest.mark.filterwarnings("ignore:column.* repeat few values")


def counts(n=200, mean=30):
    return np.random.default_rng(0).poisson(mean, n)


def frame_of(library, dtype, values):
    frames = pytest.importorskip(library)
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    y = np.random.default_rng(1).normal(size=len(values))
    if library == "pandas":
        return frames.DataFrame({"a": frames.Series(values).astype(dtype), "y": y})
    if not hasattr(frames, dtype):
        pytest.skip(f"this polars has no {dtype}")
    return frames.DataFrame({"a": frames.Series(values).cast(getattr(frames, dtype)), "y": y})


def types(frame):
    return list(map(str, frame.dtypes))


@pytest.mark.parametrize("library, dtype", [(library, dtype) for library in WHOLE for dtype in WHOLE[library]])
def test_whole_numbers(library, dtype, tmp_path):
    """They are the nearest to the draws of a model of an array, which has the same density."""
    frame = frame_of(library, dtype, counts())
    fitted = nvpflow.FlowDensity(**QUICK).fit(frame)
    samples = fitted.sample(50)
    assert types(samples) == types(frame)
    real = frame.to_numpy().astype(float)
    of_array = nvpflow.FlowDensity(**QUICK).fit(real)
    np.testing.assert_array_equal(samples.to_numpy().astype(float)[:, 0], np.rint(of_array.sample(50)[:, 0]))
    np.testing.assert_array_equal(fitted.score_samples(frame), of_array.score_samples(real))
    drawn, log_density = fitted.sample_and_log_prob(50)
    assert drawn.equals(samples)
    np.testing.assert_array_equal(log_density, of_array.sample_and_log_prob(50)[1])
    fitted.save(tmp_path / "model.npz")
    restored = nvpflow.load(tmp_path / "model.npz").sample(50)
    assert types(restored) == types(frame) and restored.equals(samples)


@pytest.mark.parametrize("library, dtype", [(library, dtype) for library in WHOLE for dtype in WHOLE[library]])
def test_declared_whole_numbers(library, dtype):
    frame = frame_of(library, dtype, counts())
    samples = nvpflow.FlowDensity(support={"a": nvpflow.Integer(0, 120)}, **QUICK).fit(frame).sample(50)
    assert types(samples) == types(frame)


@pytest.mark.parametrize("library, dtype", [(library, dtype) for library in REAL for dtype in REAL[library]])
def test_real_numbers(library, dtype):
    frame = frame_of(library, dtype, counts() + np.random.default_rng(2).random(200))
    samples = nvpflow.FlowDensity(**QUICK).fit(frame).sample(50)
    assert types(samples) == types(frame)
    assert not np.array_equal(*(f(samples.to_numpy()[:, 0].astype(float)) for f in (np.rint, np.positive)))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_decimals(library):
    frames = pytest.importorskip(library)
    pyarrow = pytest.importorskip("pyarrow")
    values = [decimal.Decimal(int(n)) / 100 for n in counts(mean=300)]
    dtype = frames.ArrowDtype(pyarrow.decimal128(10, 2)) if library == "pandas" else frames.Decimal(10, 2)
    frame = frames.DataFrame({"a": frames.Series(values, dtype=dtype)})
    samples = nvpflow.FlowDensity(**QUICK).fit(frame).sample(30)
    assert types(samples) == types(frame)
    drawn = samples["a"].to_list()
    assert all(isinstance(one, decimal.Decimal) and one.as_tuple().exponent == -2 for one in drawn)
    assert len({one % 1 for one in drawn}) > 10


@pytest.mark.parametrize("library, dtype, support", [
    ("pandas", "uint8", None), ("polars", "UInt8", None), ("pandas", "uint8", "integer"),
])  # fmt: skip
def test_numbers_beyond_the_type_are_at_its_end(library, dtype, support):
    frame = frame_of(library, dtype, counts(300, 240).clip(0, 255))
    samples = nvpflow.FlowDensity(support=support and {"a": support}, **QUICK).fit(frame).sample(2000)
    assert types(samples) == types(frame) and samples["a"].max() == 255 and samples["a"].min() > 100
    low = frame_of(library, dtype, counts(300, 2))
    least = nvpflow.FlowDensity(support=support and {"a": support}, **QUICK).fit(low).sample(2000)["a"]
    assert least.min() == 0 and least.max() < 100


@pytest.mark.parametrize("kind, low, high", [
    ((0.4, 9.6), 1, 9), (nvpflow.Angle(0, 10), 0, 9), (nvpflow.Angle(0.5, 10.2), 1, 10), (nvpflow.Integer(0, 9), 0, 9),
])  # fmt: skip
def test_rounded_within_the_support(kind, low, high):
    """An angle of 9.7 in [0, 10) is 0, not 10."""
    frame = frame_of("pandas", "int64", np.random.default_rng(0).integers(low, high + 1, 400))
    fitted = nvpflow.FlowDensity(support={"a": kind}, **QUICK).fit(frame)
    samples = fitted.sample(1000)
    assert set(samples["a"]) == set(range(low, high + 1))
    assert np.isfinite(fitted.score_samples(samples)).all()


@pytest.mark.parametrize("dtype, kind, x, expected", [
    ("Int64", nvpflow.Angle(0, 10), [9.7, 9.3, 0.2], [0, 9, 0]),
    ("int8", nvpflow.Angle(-0.4, 9.6), [9.55, -0.3], [0, 0]),
    ("uint8", nvpflow.Angle(0, 2.5), [2.4, 1.6], [2, 2]),
    ("Decimal(precision=5, scale=1)", nvpflow.Angle(0, 1.2), [1.19, 1.11], [0, 1.1]),
    ("Decimal(precision=2, scale=1)", REALS, [0.26, 12.0, -33.0], [0.3, 9.9, -9.9]),
    ("boolean", REALS, [-0.2, 0.7, 1.8], [0, 1, 1]),
    ("float16", REALS, [1e6, 1.0], [65504, 1]),
])  # fmt: skip
def test_nearest_numbers(dtype, kind, x, expected):
    np.testing.assert_allclose(number_type(dtype).nearest(np.array(x), kind), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", [(0.1, 0.3), nvpflow.Angle(0, 0.3)])
def test_floats_within_the_support(kind):
    """0.3 in float32 is more than 0.3."""
    frame = frame_of("pandas", "float32", np.random.default_rng(0).uniform(0.1, 0.3, 200))
    fitted = nvpflow.FlowDensity(support={"a": kind}, dtype="float64", **QUICK).fit(frame)
    samples = fitted.sample(10)
    samples["a"] = number_type("float32").nearest(np.array([0.1, 0.3] * 5), fitted._known_supports().kinds[0])
    assert samples["a"].max() < 0.3 and samples["a"].min() >= 0.1
    assert np.isfinite(fitted.score_samples(samples)).all()


def test_everything_that_samples():
    """Members of ensembles, conditional densities, contexts, and arrays instead of frames."""
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"a": counts().astype("int16"), "c": pandas.Series(list("xy") * 100, dtype="category")})
    frame["y"] = rng.normal(size=200).astype("float32")
    fitted = nvpflow.FlowDensity(n_models=2, **QUICK).fit(frame)
    assert types(fitted.sample(9)) == types(frame)
    one = fitted.conditional({"c": "x"}).sample(9)
    assert types(one) == types(frame[["a", "y"]])
    assert types(fitted.marginal(["a"]).sample(9)) == ["int16"]
    many = fitted.conditional(frame[["c"]][:3]).sample(4).astype(float)
    assert many.shape == (3, 4, 2) and (many[..., 0] % 1 == 0).all()
    assert all(value % 1 == 0 for value in fitted.set_output(transform="default").sample(9)[:, 0])
    given = nvpflow.FlowDensity(**QUICK).fit(frame[["a", "y"]], context=frame[["c"]])
    assert types(given.sample(1, context={"c": "x"})) == ["int16", "float32"]
    of_each = given.sample(2, context=frame[["c"]][:3], per_context=True)
    assert of_each.shape == (3, 2, 2) and of_each.dtype == np.float32 and (of_each[..., 0] % 1 == 0).all()
    detector = nvpflow.FlowOutlierDetector(**QUICK).fit(frame)
    assert types(detector.sample(9)) == types(frame)


def test_weights_of_rounded_draws():
    """The density before rounding estimates the sum over whole numbers."""
    frame = frame_of("pandas", "int64", counts(1000))[["a"]]
    fitted = nvpflow.FlowDensity(base="normal", **QUICK).fit(frame)
    x, log_density = fitted.sample_and_log_prob(20_000)
    k, mean, std = x["a"].to_numpy(), 30, 3
    weights = np.exp(-0.5 * ((k - mean) / std) ** 2 - log_density)
    everything = np.exp(-0.5 * ((np.arange(200) - mean) / std) ** 2).sum()
    assert weights.mean() == pytest.approx(everything, abs=5 * weights.std() / 20_000**0.5)


@pytest.mark.parametrize("library, dtype", [
    ("pandas", "Int8"), ("pandas", "uint8[pyarrow]"), ("pandas", "float[pyarrow]"), ("polars", "Int32"), ("polars", "UInt8"),
])  # fmt: skip
def test_filled_cells(library, dtype):
    frame = frame_of(library, dtype, counts())
    fitted = nvpflow.FlowDensity(**QUICK).fit(frame)
    gaps = frame.clone() if library == "polars" else frame.copy()
    if library == "polars":
        gaps[3, "a"] = None
    else:
        gaps.loc[3, "a"] = None
    for model in (fitted, nvpflow.FlowDensity(**QUICK).fit(frame.to_numpy().astype(float)).set_params(missing="marginalize")):
        with pytest.warns(UserWarning, match="feature names") if model is not fitted else contextlib.nullcontext():
            filled = model.impute(gaps)
        assert types(filled) == types(frame)
        assert filled["a"].to_list()[:3] == frame["a"].to_list()[:3]
    gaps = frame.to_numpy().astype(float)
    gaps[3, 0] = np.nan
    drawn = model.impute(gaps)[3, 0]
    assert filled["a"].to_list()[3] == (pytest.approx(drawn) if "float" in dtype else round(drawn))


def test_filled_cells_of_another_type():
    """pandas makes floats of whole numbers where a cell is missing. They are whole all the same, as in training."""
    frame = frame_of("pandas", "int64", counts())
    gaps = frame.astype(float)
    gaps.loc[::2, "a"] = np.nan
    filled = nvpflow.FlowDensity(**QUICK).fit(frame).impute(gaps)
    assert types(filled) == ["float64", "float64"] and (filled["a"] % 1 == 0).all()


@pytest.mark.parametrize("dtype", ["decimal128(99, 98)[pyarrow]", "Sparse[int64", "int7", "uint64[", "DataFrame", "Int64"])
def test_types_that_a_file_may_name(dtype):
    """Any text is a type: an unknown one gives numbers."""
    for library in ("pandas", "polars"):
        pytest.importorskip(library)
        built = Frame.restore([library, [dtype]], 1).build([np.ones(2)], ["a"])
        assert built.shape == (2, 1) and [float(one) for one in built["a"]] == [1, 1]


@pytest.mark.filterwarnings("ignore:column.* of context leave the range")
def test_thresholds_and_p_values_are_those_of_samples():
    """Of rounded ones, whose density is higher than that of the draws around each peak."""
    pandas = pytest.importorskip("pandas")

    def rows(n, seed):
        rng = np.random.default_rng(seed)
        counts = rng.poisson(3, n)
        return pandas.DataFrame({"a": counts, "y": rng.normal(0.3 * counts), "c": rng.choice(list("uv"), n)})

    for columns, context in ((["a", "y"], None), (["a", "y", "c"], None), (["a"], ["y"])):
        given = {} if context is None else {"context": rows(1000, 0)[context]}
        detector = nvpflow.FlowOutlierDetector(max_iter=5, random_state=0).fit(rows(1000, 0)[columns], **given)
        given = {} if context is None else {"context": rows(2000, 1)[context]}
        samples = detector.sample(2000, 1, **given)
        assert np.mean(detector.predict(samples, **given) < 0) == pytest.approx(0.05, abs=0.02)
        if context is None:
            p_values = detector.estimator_.p_values(samples)
            assert np.mean(p_values < 0.3) == pytest.approx(0.3, abs=0.04)
