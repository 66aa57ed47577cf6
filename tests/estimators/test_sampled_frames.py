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
@pytest.mark.parametrize("kind", [nvpflow.FlowDensity, nvpflow.RealNVP, nvpflow.FlowOutlierDetector])
def test_without_a_support(frame, kind):
    """The numbers are those that a model of an array has, but for whole ones."""
    options = QUICK | (dict(constant_columns="narrow") if kind is nvpflow.FlowOutlierDetector else {})
    fitted, of_array = (kind(**options).fit(X) for X in (frame, frame.to_numpy()))
    samples = fitted.sample(3)
    assert type(samples) is type(frame) and list(samples.columns) == list(frame.columns)
    drawn = of_array.sample(3)
    np.testing.assert_allclose(samples.to_numpy(), np.c_[drawn[:, :2], np.rint(drawn[:, 2])], rtol=1e-6)
    assert list(samples.dtypes) == list(frame.dtypes)


@pytest.mark.parametrize("labels", [range(2), [7, 3], [("a", "low"), ("a", "high")], [7, "x"]])
def test_labels_that_are_no_texts(labels, tmp_path):
    pandas = pytest.importorskip("pandas")
    columns = pandas.MultiIndex.from_tuples(labels) if isinstance(labels[0], tuple) else labels
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(100, 2)), columns=columns)
    if list(labels) == [7, "x"]:
        with pytest.raises(TypeError, match="string names"):
            nvpflow.FlowDensity(**QUICK).fit(frame)
        return
    fitted = nvpflow.FlowDensity(**QUICK).fit(frame)
    fitted.save(tmp_path / "model.npz")
    assert fitted.sample(2).columns.equals(frame.columns) and len(fitted.score_samples(frame)) == 100
    assert nvpflow.load(tmp_path / "model.npz").sample(2).equals(fitted.sample(2))


def test_labels_that_a_file_cannot_hold(tmp_path):
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2024-01-01", periods=2)
    frame = pandas.DataFrame(np.random.default_rng(0).normal(size=(100, 2)), columns=days)
    fitted = nvpflow.FlowDensity(**QUICK).fit(frame)
    fitted.save(tmp_path / "model.npz")
    assert fitted.sample(2).columns.equals(days)
    assert nvpflow.load(tmp_path / "model.npz").sample(2).columns.tolist() == ["x0", "x1"]


def test_numbers_name_columns():
    """As pandas does: 7 is the column of that name, not the eighth."""
    pandas = pytest.importorskip("pandas")
    x = np.random.default_rng(0).normal(size=(100, 2))
    frame = pandas.DataFrame({7: x[:, 0], 0: abs(x[:, 1])})
    samples = nvpflow.FlowDensity(support={0: "positive"}, **QUICK).fit(frame).sample(50)
    assert samples[0].min() > 0 > samples[7].min()
    with pytest.raises(ValueError, match="has none of that name: got 1, X has 7, 0"):
        nvpflow.FlowDensity(support={1: "positive"}, **QUICK).fit(frame)
    with pytest.raises(ValueError, match=r"column 7 of X must be in \[0, inf\), its support"):
        nvpflow.FlowDensity(support={7: "positive"}, **QUICK).fit(frame)
    frame.loc[3, 7] = np.nan
    with pytest.raises(ValueError, match="nan in column 7, row 3"):
        nvpflow.FlowDensity(**QUICK).fit(frame)


def test_no_sample_is_beyond_whole_numbers():
    """Numbers over many orders of magnitude: the type of the column and the float hold all of them."""
    pandas = pytest.importorskip("pandas")
    x = (10 ** np.random.default_rng(0).uniform(0, 15, 300)).astype("int64")
    frame = pandas.DataFrame({"id": x, "y": np.random.default_rng(1).normal(size=300)})
    fitted = nvpflow.FlowDensity(support={"id": nvpflow.Integer(0)}, max_iter=3, random_state=0).fit(frame)
    samples = fitted.sample(2000)
    assert samples["id"].dtype == np.int64 and samples["id"].min() >= 0 and samples["id"].max() < 2**53
    assert np.isfinite(fitted.score_samples(samples)).all()


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
