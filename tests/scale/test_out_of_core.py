"""Estimators on tables that are read in batches: supports, scores, files, and clear errors that leave the model as it was."""

import subprocess
import sys

import numpy as np
import pytest

import nvpflow
from nvpflow.scale import RowSource, as_source, fit_from
from nvpflow.scale import _sources as sources

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

NAMES = ["a", "b"]


def quick(**parameters):
    return nvpflow.FlowDensity(**{"n_layers": 2, "hidden_dim": 8, "max_iter": 1, "random_state": 0} | parameters)


def rows(n=400, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2)) @ [[1, 2], [0, 1]]


def table(x):
    return pyarrow.table(list(np.ascontiguousarray(x.T)), names=NAMES)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "x.parquet"
    parquet.write_table(table(rows()), path, row_group_size=90)
    return path


def test_fit_and_scores_of_a_file(path):
    x, model = rows(), quick().fit(path)
    assert list(model.feature_names_in_) == NAMES
    expected = quick().fit(x).score_samples(x)
    assert np.array_equal(model.score_samples(path), expected)
    assert np.array_equal(model.score_samples(str(path), temperature=1.0), expected)
    assert model.score(path) == pytest.approx(expected.mean())
    assert not np.array_equal(model.score_samples(path, temperature=2.0), expected)
    reordered = pyarrow.table({name: table(x)[name] for name in "ba"})
    with pytest.raises(ValueError, match="feature names should match"):
        model.score_samples(lambda: iter([reordered]))


def test_file_keeps_the_model(path, tmp_path):
    model = quick().fit(path)
    model.save(tmp_path / "m.npz")
    found = nvpflow.load(tmp_path / "m.npz")
    assert np.array_equal(found.score_samples(path), model.score_samples(path))
    assert found.refinement_ == model.refinement_ and found.refinement_["n_rows"] == 400
    assert not hasattr(model.fit(rows()), "refinement_")
    without = fit_from(quick(validation_fraction=None), as_source(rows()), n_sample=100)
    without.save(tmp_path / "m.npz")
    assert np.isnan(without.refinement_["gain"]) and np.isnan(nvpflow.load(tmp_path / "m.npz").refinement_["gain"])


def test_only_large_maps_are_read_in_batches(tmp_path, monkeypatch):
    x = rows()
    x.tofile(tmp_path / "x.bin")
    mapped = np.memmap(tmp_path / "x.bin", x.dtype, "r", shape=x.shape)
    assert not hasattr(quick().fit(mapped), "refinement_")
    assert not hasattr(quick().fit(table(x)), "refinement_")
    monkeypatch.setattr(sources, "LARGE", 1000)
    for large in (mapped, table(x)):
        assert quick().fit(large).refinement_["n_rows"] == len(x)
    assert not hasattr(quick().fit(x), "refinement_")


def test_supports_are_transformed_batch_by_batch():
    rng = np.random.default_rng(0)
    x = np.c_[rng.gamma(2.0, size=3000), rng.poisson(4.0, 3000), rng.vonmises(0.0, 2.0, 3000), rng.beta(2, 3, 3000)]
    support = ["positive", nvpflow.Integer(0, None), "angle", "unit"]
    model = fit_from(quick(support=support), as_source(lambda: iter(np.split(x, 3))), n_sample=500)
    plain = quick(support=support).fit(x[:500])
    assert model.refinement_["n_rows"] == 3000
    assert model.refinement_["gain"] >= 0
    assert model.score(x) > plain.score(x) - 0.01
    drawn = model.sample(200)
    assert (drawn[:, 0] > 0).all() and np.array_equal(drawn[:, 1], np.round(drawn[:, 1]))
    outside = x.copy()
    outside[2500, 3] = 1.5
    with pytest.raises(ValueError, match=r"column 3 of X must be in .*got 1.5 in row 2500$"):
        fit_from(quick(support=support), as_source(lambda: iter(np.split(outside, 3))), n_sample=500)


@pytest.mark.filterwarnings("ignore:column")  # of a coarse resolution
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_from_zero(dtype, standardize):
    x = rows(3000) * 1e-2 + [1e4, -3e4]
    model = fit_from(quick(dtype=dtype, standardize=standardize, base="mixture"), as_source(x), n_sample=500)
    # In double precision, where columns have no grid of few values, on which densities may peak.
    plain = quick(dtype="float64", standardize=standardize, base="mixture").fit(x[:500])
    assert model.score(x[:2000]) > plain.score(x[:2000]) - 0.02


def test_one_column_and_narrow_columns():
    x = np.c_[rows(2000)[:, 0], np.full(2000, 3.0)]
    one = fit_from(quick(), as_source(x[:, :1]), n_sample=300)
    assert np.isfinite(one.score(x[:, :1]))
    both = fit_from(quick(constant_columns="narrow"), as_source(x), n_sample=300)
    assert np.isfinite(both.score(x))


def with_value(value):
    x = rows(1000)
    x[777, 1] = value
    return x


@pytest.mark.parametrize(
    ("X", "parameters", "words"),
    [
        (with_value(np.nan), {}, "got nan in column 1, row 777: missing cells need a table in memory"),
        (with_value(np.nan), {"missing": "marginalize"}, "got nan in column 1, row 777"),
        (with_value(1e300), {}, r"X must be finite in float32, got 1e\+300 in column 1, row 777"),
        (rows() * [1, 0] + [0, 0.1], {}, r"X must have no constant column, got one in column\(s\) 1"),
        (rows(1), {}, r"X has 1 sample\(s\) while a minimum of 2"),
        (rows(), {"n_models": 2}, "n_models must be 1 out of core, got 2"),
        (rows(), {"batch_size": None}, "batch_size must be a number of rows out of core"),
        (rows(), {"support": {1: "category"}}, "column 1 must hold numbers out of core"),
        (rows(), {"support": {"a": "unit"}}, "support must have numbers of columns"),
    ],
)
def test_errors_leave_the_model_as_it_was(X, parameters, words):
    model = quick(**parameters)
    with pytest.raises(ValueError, match=words):
        model.fit(lambda: iter(np.array_split(X, 1)))
    assert not hasattr(model, "flow_")


def test_arguments_that_need_a_table_in_memory(path):
    model = quick().fit(path)
    for name, call in {
        "context": lambda: model.fit(path, context=rows()),
        "sample_weight": lambda: model.fit(path, sample_weight=np.ones(400)),
        "return_std": lambda: model.score_samples(path, return_std=True),
        "return_error": lambda: model.score_samples(path, return_error=True),
    }.items():
        with pytest.raises(ValueError, match=f"{name} needs a table in memory"):
            call()
    model = quick().fit(rows())
    for call in (model.score_samples, model.score):
        with pytest.raises(ValueError, match=f"row {len(rows())}"):
            call(lambda: iter([rows(), np.full((1, 2), np.nan)]))
    with pytest.raises(FileNotFoundError, match="there is no file 'none'"):
        model.fit("none")


def test_scores_of_no_rows(path, tmp_path):
    model, empty = quick(max_iter=1).fit(path), tmp_path / "empty.parquet"
    parquet.write_table(parquet.read_table(path).slice(0, 0), empty)
    for score in (model.score, model.score_samples):
        with pytest.raises(ValueError, match="X must have at least one row, got none"):
            score(empty)


def test_what_reads_no_files(path):
    model = quick(max_iter=1).fit(rows())
    with pytest.raises(TypeError, match="must be an array of real numbers, got .*: only fit, score and score_samples"):
        model.transform(path)


def test_a_source_of_ones_own():
    class Numbers(RowSource):
        n_features = 2

        def streams(self):
            from nvpflow.scale import Stream

            return [Stream(200 * i, lambda i=i: iter([rows(200, i)])) for i in range(3)]

    model = quick().fit(Numbers())
    assert model.refinement_["n_rows"] == 600


def test_import_stays_light():
    code = "import sys, nvpflow; assert not any(name.startswith(('nvpflow.scale', 'pyarrow')) for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_pyarrow(monkeypatch, path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'nvpflow\[scale\]'"):
        quick().fit(path)
