"""Parameters of estimators in files: `load` checks them as `fit` does."""

import pickle

import numpy as np
import pytest

import nvpflow
from support.saved_files import POINTS, contents, save_to, spoiled_headers, write

UNFIT = {
    "n_layers": [0, -1, 1.5, "3", True, 10**30, [2]],
    "hidden_dim": [0, [], {}, "4", [[4]], [0], [True], 1e3, None, [10**30]],
    "activation": ["sine", None, 1, ["relu"]],
    "coupling": ["sinh", None],
    "scale_bound": [0, -1.0, "1", 10**400],
    "n_bins": [1, 65, 6.0, "6"],
    "tail_bound": [0, -3.0, "3", 1e300],
    "base": ["tree", None],
    "standardize": [1, "yes", None],
    "context_support": [1, "positive", {}, [[1, 0]], ["some"], {"columns": [[1.5, None]]}, [{"category": [[]]}]],
    "support": [1, "positive", {}, {"columns": 1}, [[1, 0]], ["some"], {"columns": [[1.5, None]]}, [{"integer": [2, 1]}]],
    "missing": ["ignore", None, True],
    "latent": ["any", None, True],
    "constant_columns": ["allow", None, True],
    "n_init": [0, None, 1.0],
    "n_models": [0, None, 1.0, 10**30],
    "max_iter": [0, -1, 2.5, "10"],
    "time_limit": [0, -1.0, "1", 10**400],
    "batch_size": [0, 0.5, "all"],
    "learning_rate": [0, -1e-3, "fast", 10**400],
    "schedule": ["linear", None],
    "warmup": [-1, 1.5, "0", None],
    "average": [1, -0.1, "0", None],
    "noise": [-0.1, "0", None, [0.1]],
    "validation_fraction": [0, 1, -0.2],
    "n_iter_no_change": [0, 1.5, "1"],
    "tol": [-1e-3, None, "0"],
    "warm_start": [1, None],
    "dtype": ["nonsense", "float16", "f4,f8", None, 4, ["float32"], ""],
    "n_jobs": [0, 100_000, -100_000, 1.5, "all", 10**30],
    "verbose": [-1, 0.5, "loud", None],
    "random_state": [-1, 0.5, "seed", [1], {}, {"type": "Generator"}],
}


def test_table_is_complete():
    assert UNFIT.keys() == nvpflow.FlowDensity().get_params().keys()


@pytest.mark.parametrize("name", UNFIT)
def test_bad_parameters(name, estimator, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    for value in UNFIT[name]:
        if (name, value) == ("hidden_dim", []):
            continue  # a linear map alone
        estimator.save(path)
        with pytest.raises(ValueError) as caught:
            nvpflow.load(spoiled_headers(path, (("estimator", name), value)))
        text = str(caught.value)
        # An entry is missing from the last random state; {} is no type of one.
        assert text.startswith(f"{path} is damaged: ") and (name in text or isinstance(value, dict)), text


def test_bad_detector_parameters(detector, tmp_path):
    path = save_to(tmp_path, detector, "npz")
    cases = {"contamination": [0, 0.6, "some", None, -0.1], "n_jobs": [100_000], "dtype": ["nonsense"], "verbose": [-1]}
    for name, values in cases.items():
        for value in values:
            detector.save(path)
            with pytest.raises(ValueError, match=f"is damaged: {name} must "):
                nvpflow.load(spoiled_headers(path, (("detector", name), value)))
    for place in ("detector", "estimator"):
        for value in (None, 3, [], "x", [["n_layers", 3]]):
            detector.save(path)
            with pytest.raises(ValueError, match="parameters of .* must be an object, got"):
                nvpflow.load(spoiled_headers(path, ((place,), value)))


def test_detector_of_conditional_density(tmp_path):
    path = save_to(tmp_path, nvpflow.FlowDensity(1, 2, max_iter=1).fit(POINTS[:, :2], context=POINTS[:, 2:]), "npz")
    header, arrays = contents(path)
    header |= {"kind": "FlowOutlierDetector", "detector": {}, "offset": 0.0}
    detector = nvpflow.load(write(path, header, arrays))
    with pytest.raises(ValueError, match="context must be given"):
        detector.predict(POINTS[:, :2])


@pytest.mark.parametrize("name, value, message", [
    ("n_iter", 10**18, "history.train_nll must have dtype"), ("best_iter", 6, "best_iter must be at most 5"),
    ("n_samples_seen", -1, "n_samples_seen must be at least 0"), ("n_samples_seen", 1.5, "n_samples_seen must be an integer"),
])  # fmt: skip
def test_bad_training_counts(name, value, message, estimator, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    with pytest.raises(ValueError, match=message):
        nvpflow.load(spoiled_headers(path, ((name,), value)))


def test_missing_training_curve(estimator, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    header, arrays = contents(path)
    del arrays["history.train_nll"], arrays["history.validation_nll"]
    header["n_iter"] = 10**18
    with pytest.raises(ValueError, match=r"it has no 'history.train_nll'"):
        nvpflow.load(write(path, header, arrays))


def test_save_checks_what_load_checks(estimator, detector, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    before = path.read_bytes()
    twin = pickle.loads(pickle.dumps(estimator))
    for name, value in (("n_jobs", "many"), ("scale_bound", -1.0), ("n_layers", 0), ("dtype", "nonsense"), ("tol", np.nan)):
        was = getattr(twin, name)
        with pytest.raises((TypeError, ValueError), match=f"{name} must "):
            twin.set_params(**{name: value}).save(path)
        twin.set_params(**{name: was})
    other = pickle.loads(pickle.dumps(detector))
    other.offset_ = np.nan
    with pytest.raises(ValueError, match="offset_ must be finite, got nan"):
        other.save(path)
    assert path.read_bytes() == before


def test_numpy_scalars_become_python_scalars(estimator, tmp_path):
    twin = pickle.loads(pickle.dumps(estimator)).set_params(
        n_layers=np.int8(3), hidden_dim=np.array([4, 5]), tol=np.float32(0.5), standardize=np.bool_(True), coupling=np.str_("affine"),
        dtype=np.dtype(np.float64), random_state=np.uint32(7),
    )  # fmt: skip
    loaded = nvpflow.load(save_to(tmp_path, twin, "npz")).get_params()
    assert (loaded["n_layers"], loaded["hidden_dim"], loaded["tol"], loaded["standardize"]) == (3, [4, 5], 0.5, True)
    assert (loaded["coupling"], loaded["dtype"], loaded["random_state"]) == ("affine", "float64", 7)
    assert {type(loaded[name]) for name in ("n_layers", "tol", "standardize", "random_state")} == {int, float, bool}
