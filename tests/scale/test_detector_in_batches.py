"""FlowOutlierDetector on tables that are read in batches."""

import numpy as np
import pytest

import nvpflow
from nvpflow.scale import _fit, as_source

QUICK = {"n_layers": 2, "hidden_dim": 8, "max_iter": 1, "random_state": 0}


def rows(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2)) @ [[1, 2], [0, 1]]


def batches(x):
    return lambda: iter(np.array_split(x, 3))


@pytest.mark.parametrize("contamination", ["auto", 0.1])
@pytest.mark.parametrize("n", [150, 1000])  # fewer than 100 rows for each column are scored by fits that have not seen them
def test_few_rows_give_the_detector_of_a_table_in_memory(contamination, n):
    x = rows(n)
    plain, found = (nvpflow.FlowOutlierDetector(contamination=contamination, **QUICK).fit(X) for X in (x, batches(x)))
    assert found.offset_ == plain.offset_
    for method in ("score_samples", "decision_function", "predict"):
        expected, results = (getattr(detector, method)(X) for detector, X in ((plain, x), (found, batches(x))))
        assert results.dtype == expected.dtype
        np.testing.assert_array_equal(results, expected)


def test_drawn_rows_set_the_threshold_of_many(monkeypatch):
    x = rows(4000)
    monkeypatch.setattr(_fit.fit_and_draw, "__kwdefaults__", _fit.fit_and_draw.__kwdefaults__ | {"n_sample": 1000})
    detector = nvpflow.FlowOutlierDetector(contamination=0.1, **QUICK)
    labels = detector.fit_predict(batches(x))
    assert detector.estimator_.refinement_["n_sample"] == 1000
    assert np.mean(labels == -1) == pytest.approx(0.1, abs=0.03)
    np.testing.assert_array_equal(labels, detector.predict(x))


def test_files_and_names(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"a": rows(300)[:, 0], "b": rows(300)[:, 1]}), tmp_path / "x.parquet")
    detector = nvpflow.FlowOutlierDetector(**QUICK).fit(tmp_path / "x.parquet")
    assert detector.feature_names_in_.tolist() == detector.estimator_.feature_names_in_.tolist() == ["a", "b"]
    detector.save(tmp_path / "d.npz")
    np.testing.assert_array_equal(nvpflow.load(tmp_path / "d.npz").predict(tmp_path), detector.predict(tmp_path))


def test_missing_cells_have_thresholds_of_their_own():
    x = rows(300)
    detector = nvpflow.FlowOutlierDetector(missing="marginalize", **QUICK).fit(x)
    x[::7, 1] = np.nan
    for method in ("decision_function", "predict"):
        np.testing.assert_allclose(getattr(detector, method)(batches(x)), getattr(detector, method)(x), rtol=1e-12)


def test_errors():
    x, detector = rows(300), nvpflow.FlowOutlierDetector(**QUICK)
    with pytest.raises(nvpflow.NotFittedError):
        detector.predict(batches(x))
    with pytest.raises(ValueError, match="sample_weight needs a table in memory"):
        detector.fit(batches(x), sample_weight=np.ones(300))
    assert not hasattr(detector, "estimator_")
    detector.fit(x)
    for call in (detector.score_samples, detector.decision_function, detector.predict):
        with pytest.raises(ValueError, match="context needs a table in memory"):
            call(batches(x), context=x)
    with pytest.raises(ValueError, match="return_std needs a table in memory"):
        detector.score_samples(batches(x), return_std=True)
    with pytest.raises(ValueError, match="got inf in column 0, row 2"):
        detector.predict(as_source(np.array([[0.0, 0.0], [1.0, 1.0], [np.inf, 1.0]])))
