"""Saving and loading, pickles and copies of models."""

import copy
import io
import pickle
import sys

import numpy as np
import pytest

import nvpflow
from support.flows import one_of_each
from support.marks import both_kinds
from support.saved_files import POINTS, assert_same, every_model, save_to


@every_model
@both_kinds
def test_round_trip(models, name, ending, tmp_path):
    path = save_to(tmp_path, models[name], ending)
    twin = nvpflow.load(path)
    assert_same(twin, models[name])
    renamed = path.rename(tmp_path / "any name")
    assert_same(nvpflow.load(str(renamed)), models[name])
    assert [entry.name for entry in tmp_path.iterdir()] == ["any name"]  # nothing temporary stays
    if hasattr(twin, "get_params"):
        assert twin.dtype == "float64" and twin.random_state == 7
        assert_same(twin.fit(POINTS), models[name])


@both_kinds
def test_feature_names(ending, tmp_path):
    pandas = pytest.importorskip("pandas")
    for kind in (nvpflow.FlowDensity, nvpflow.FlowOutlierDetector):
        model = kind(1, 2, max_iter=1).fit(pandas.DataFrame(POINTS, columns=["a", "b", "ü"]))
        twin = nvpflow.load(save_to(tmp_path, model, ending))
        assert list(twin.feature_names_in_) == ["a", "b", "ü"] and twin.feature_names_in_.dtype == object


def test_failed_save_keeps_old_file(models, tmp_path, monkeypatch):
    path = save_to(tmp_path, models["flow"], "npz")
    before = path.read_bytes()
    for model in ({}, nvpflow.ActNorm(2)):
        with pytest.raises(TypeError, match=f"a FlowClassifier or a FlowRegressor, got {type(model).__name__}"):
            nvpflow.save(model, path)
    for kind in (nvpflow.FlowDensity, nvpflow.FlowOutlierDetector):
        with pytest.raises(nvpflow.NotFittedError, match=f"this {kind.__name__} is not fitted yet"):
            kind().save(path)
    bad = models["flow"].copy()
    bad.parameters[3] = np.nan
    with pytest.raises(ValueError, match="parameters of model must be finite"):
        bad.save(path)
    with pytest.raises(FileNotFoundError):
        models["flow"].save(tmp_path / "nowhere" / "x.npz")
    monkeypatch.setattr(np, "savez", lambda file, **arrays: (file.write(b"half") and None) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        models["flow"].save(path)
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == ["model.npz"]


@both_kinds
def test_without_safetensors_package(models, ending, tmp_path, monkeypatch):
    path = save_to(tmp_path, models["flow"], ending)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    if ending == "npz":
        return assert_same(nvpflow.load(path), models["flow"])
    for call in (lambda: nvpflow.load(path), lambda: models["flow"].save(tmp_path / "other.safetensors")):
        with pytest.raises(ImportError, match="need that package: pip install safetensors"):
            call()
    assert not (tmp_path / "other.safetensors").exists()


def test_safetensors_package_reads_file(models, tmp_path):
    path = save_to(tmp_path, models["estimator"], "safetensors")
    arrays = pytest.importorskip("safetensors.numpy").load_file(path)
    np.testing.assert_array_equal(arrays["parameters"], models["estimator"].flow_.parameters)
    search = [f"search.{name}" for name in ("score", "validation_score", "weight")]
    assert sorted(arrays) == ["description", "history.train_nll", "history.validation_nll", "parameters", *search]


DUPLICATES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "joblib": lambda model: joblib_copy(model),
}


def joblib_copy(model):
    joblib = pytest.importorskip("joblib")
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize("way", DUPLICATES)
@every_model
def test_copies(models, name, way):
    model = models[name]
    if isinstance(model, nvpflow.Flow):
        model.n_jobs = 2
    twin = DUPLICATES[way](model)
    assert_same(twin, model)
    if way != "copy" and hasattr(twin, "get_params"):
        twin.fit(POINTS[:30])
        assert not np.array_equal(twin.score_samples(POINTS), model.score_samples(POINTS))


@pytest.mark.parametrize("way", [*DUPLICATES, "method"])
def test_copies_are_independent(models, way):
    duplicate = DUPLICATES.get(way, lambda original: original.copy())
    layers = (nvpflow.CouplingLayer(3, (4, 5), context_dim=2), nvpflow.ActNorm(2), *one_of_each(3).values())
    for original in (*(models[name] for name in ("flow", "everything", "conditional")), *layers):
        twin = duplicate(original)
        assert repr(twin) == repr(original)
        np.testing.assert_array_equal(twin.parameters, original.parameters)
        twin.parameters[:] += 1
        assert not np.any(twin.parameters == original.parameters)


# -- PyTorch's state dicts --


# -- damaged and hostile files --


class MyFlow(nvpflow.Flow):
    pass


class MyDensity(nvpflow.FlowDensity):
    def __init__(self, width=3, random_state=0):
        super().__init__(2, width, max_iter=2, random_state=random_state)
        self.width = width


class MyDetector(nvpflow.FlowOutlierDetector):
    def __init__(self, width=3):
        super().__init__(2, width, max_iter=2, random_state=0, contamination=0.2)
        self.width = width


@both_kinds
def test_subclasses(ending, tmp_path):
    flow = MyFlow([nvpflow.ActNorm(3)])
    assert type(nvpflow.load(save_to(tmp_path, flow, ending))) is nvpflow.Flow
    for made, kind in ((MyDensity(4), nvpflow.FlowDensity), (MyDetector(4), nvpflow.FlowOutlierDetector)):
        made.fit(POINTS)
        twin = nvpflow.load(save_to(tmp_path, made, ending))
        assert type(twin) is kind and twin.hidden_dim == 4 and twin.n_layers == 2 and not hasattr(twin, "width")
        np.testing.assert_array_equal(twin.score_samples(POINTS), made.score_samples(POINTS))
        np.testing.assert_array_equal(twin.fit(POINTS).flow_.parameters, made.flow_.parameters)
    with pytest.raises(nvpflow.NotFittedError, match="this MyDensity is not fitted yet"):
        MyDensity().save(tmp_path / "none.npz")
