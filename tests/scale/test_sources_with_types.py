"""Samples of models of tables that are read in batches: the numbers that the types of their columns hold."""

import numpy as np
import pytest

import nvpflow

QUICK = dict(n_layers=2, hidden_dim=8, max_iter=3, random_state=0)
pytestmark = pytest.mark.filterwarnings("ignore:column.* repeat few values")


def columns():
    rng = np.random.default_rng(0)
    return {"a": rng.poisson(30, 200).astype("uint8"), "y": rng.normal(size=200).astype("float32")}


def test_a_query_of_polars_gives_frames(tmp_path):
    polars = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    frame = polars.DataFrame(columns())
    fitted = nvpflow.FlowDensity(**QUICK).fit(frame.lazy())
    samples = fitted.sample(20)
    assert samples.schema == frame.schema
    fitted.save(tmp_path / "model.npz")
    assert nvpflow.load(tmp_path / "model.npz").sample(20).equals(samples)


@pytest.mark.parametrize("kind", ["parquet", "table"])
def test_other_sources_give_arrays(kind, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pytest.importorskip("pyarrow").table(columns())
    parquet.write_table(table, tmp_path / "data.parquet")
    samples = nvpflow.FlowDensity(**QUICK).fit(str(tmp_path / "data.parquet") if kind == "parquet" else table).sample(20)
    assert type(samples) is np.ndarray and samples.dtype == np.float32
    assert (samples % 1 == 0).all(axis=0).tolist() == [True, False]
