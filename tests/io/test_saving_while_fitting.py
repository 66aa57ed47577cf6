"""Pickling and saving a model while another thread fits it."""

import pickle
import sys
import threading

import numpy as np
import pytest

import nvpflow
from support.saved_files import POINTS


@pytest.mark.parametrize("kind", [nvpflow.FlowDensity, nvpflow.FlowOutlierDetector])
def test_attribute_added_while_pickling(kind):
    class Meddler:
        """Pickling it sets an attribute, as a `fit` in another thread would."""

        def __reduce__(self):
            model.another_ = 1
            return int, ()

    model = kind(1, 2, max_iter=1, random_state=0).fit(POINTS)
    model.verbose = Meddler()
    twin = pickle.loads(pickle.dumps(model))
    assert twin.verbose == 0 and not hasattr(twin, "another_")
    np.testing.assert_array_equal(twin.score_samples(POINTS), model.score_samples(POINTS))


@pytest.mark.parametrize("kind", [nvpflow.FlowDensity, nvpflow.FlowOutlierDetector])
def test_fit_in_another_thread(kind, tmp_path):
    """Each copy is of a single fit, though successive fits differ in columns, names and epochs."""
    pandas = pytest.importorskip("pandas")
    tables = [pandas.DataFrame(POINTS[:, :2], columns=["a", "b"]), POINTS]
    model, path = kind(1, 2, max_iter=1, validation_fraction=None, random_state=0).fit(tables[0]), tmp_path / "model.npz"
    stop, errors = threading.Event(), []

    def fit():
        try:
            for i in range(1, 10**9):
                if stop.is_set():
                    break
                model.set_params(max_iter=1 + i % 2).fit(tables[i % 2])
        except Exception as error:
            errors.append(error)

    thread, before = threading.Thread(target=fit), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        seen = set()
        for i in range(2000):
            if i % 5:
                twin = pickle.loads(pickle.dumps(model))
            else:
                model.save(path)
                twin = nvpflow.load(path)
            dim = twin.flow_.data_dim
            assert twin.n_features_in_ == dim and hasattr(twin, "feature_names_in_") == (dim == 2)
            assert twin.n_iter_ == len(twin.history_["train_nll"]) == dim - 1
            seen.add(dim)
            if i >= 100 and seen == {2, 3}:
                break
    finally:
        sys.setswitchinterval(before)
        stop.set()
        thread.join()
    assert errors == [] and seen == {2, 3}
