"""Models fitted to a frame with a support give frames like it."""

import numpy as np
import pytest

import nvpflow

QUICK = dict(n_layers=2, hidden_dim=8, max_iter=3, random_state=0)
SUPPORT = {"price": "positive", "count": nvpflow.Integer(0, 200)}


def columns(n=300):
    rng = np.random.default_rng(0)
    return {"price": rng.lognormal(size=n), "x": rng.normal(size=n).astype("float32"), "count": rng.poisson(3, n)}


@pytest.fixture(params=["pandas", "polars"])
def frame(request):
    frame = pytest.importorskip(request.param).DataFrame(columns())
    if request.param == "pandas":
        return frame.astype({"count": "uint8"})
    import polars

    return frame.with_columns(polars.col("count").cast(polars.UInt8))


def test_columns_types_and_order(frame):
    fitted = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(frame)
    samples, log_density = fitted.sample_and_log_prob(50)
    assert type(samples) is type(frame) and list(samples.columns) == list(frame.columns)
    assert list(samples.dtypes) == list(frame.dtypes)
    np.testing.assert_allclose(fitted.score_samples(samples), log_density, atol=1e-4)
    assert len(fitted.sample(0)) == 0 and list(fitted.sample(0).dtypes) == list(frame.dtypes)


@pytest.mark.filterwarnings("ignore:column.* repeat few values")
def test_without_a_support_samples_are_arrays(frame):
    assert type(nvpflow.FlowDensity(**QUICK).fit(frame).sample(3)) is np.ndarray


def test_set_output_decides(frame):
    fitted = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(frame)
    array = fitted.set_output(transform="default").sample(5)
    assert type(array) is np.ndarray
    for kind in ("pandas", "polars"):
        library = pytest.importorskip(kind)
        samples = fitted.set_output(transform=kind).sample(5)
        assert type(samples) is library.DataFrame
        np.testing.assert_array_equal(samples.to_numpy().astype(float), array.astype(float))


def test_arrays_after_arrays(frame):
    fitted = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(frame)
    fitted.set_params(support=["positive", None, "integer"]).fit(frame.to_numpy())
    assert type(fitted.sample(3)) is np.ndarray


def test_pieces(frame):
    fitted = nvpflow.FlowDensity(support=SUPPORT, **QUICK).partial_fit(frame)
    fitted.partial_fit(frame)
    assert list(fitted.sample(3).dtypes) == list(frame.dtypes)


def test_files(frame, tmp_path):
    fitted = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(frame)
    fitted.save(tmp_path / "model.npz")
    samples = nvpflow.load(tmp_path / "model.npz").sample(20)
    assert type(samples) is type(frame) and samples.equals(fitted.sample(20))


def test_nullable_types_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns()).astype({"count": "Int16", "price": "Float64"})
    samples = nvpflow.FlowDensity(support=SUPPORT, **QUICK).fit(frame).sample(20)
    assert samples.dtypes.tolist() == frame.dtypes.tolist()


def test_integers_that_the_type_cannot_hold():
    """They get a wider type instead of other values."""
    pandas = pytest.importorskip("pandas")
    counts = np.random.default_rng(0).poisson(240, 300).clip(0, 255).astype("uint8")
    fitted = nvpflow.FlowDensity(support={"count": "integer"}, **QUICK).fit(pandas.DataFrame({"count": counts}))
    samples = fitted.sample(2000)["count"]
    assert samples.max() > 255 and samples.dtype == np.int64


@pytest.mark.filterwarnings("ignore:column.* repeat few values")
def test_columns_of_integers_that_are_not_declared_stay_real():
    pandas = pytest.importorskip("pandas")
    samples = nvpflow.FlowDensity(support={"price": "positive"}, **QUICK).fit(pandas.DataFrame(columns())).sample(20)
    assert samples["count"].dtype.kind == "f"
