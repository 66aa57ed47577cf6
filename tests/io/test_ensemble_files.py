"""Files of ensembles: what is loaded is what was saved, and hostile files cost little."""

import io
import json

import numpy as np
import pytest

import nvpflow
from nvpflow._io.safetensors import write_safetensors
from support.ensembles import CONTEXTS, POINTS, ensemble_of, fitted
from support.estimators import X
from support.marks import both_kinds
from support.saved_files import contents, load_in_bounds, rewrite, save_to, spoiled_headers, write

CONTEXT = np.random.default_rng(3).uniform(size=(len(X), 2))


@both_kinds
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("context_dim, weights", [(0, None), (2, [0.2, 0.7, 0.1])])
def test_ensemble(ending, dtype, context_dim, weights, tmp_path):
    ensemble = ensemble_of(3, context_dim, dtype, weights)
    twin = nvpflow.load(save_to(tmp_path, ensemble, ending))
    assert type(twin) is nvpflow.FlowEnsemble
    assert [flow.config() for flow in twin] == [flow.config() for flow in ensemble]
    assert [flow.parameters.tobytes() for flow in twin] == [flow.parameters.tobytes() for flow in ensemble]
    np.testing.assert_array_equal(twin.weights, ensemble.weights)
    given = (CONTEXTS,) if context_dim else ()
    np.testing.assert_array_equal(twin.log_prob(POINTS, *given), ensemble.log_prob(POINTS, *given))


@both_kinds
@pytest.mark.parametrize("kind", [nvpflow.FlowDensity, nvpflow.RealNVP, nvpflow.FlowOutlierDetector])
@pytest.mark.parametrize("options", [{}, {"context": CONTEXT}, {"validation_fraction": None}])
def test_estimators(ending, kind, options, tmp_path):
    model = fitted(kind, n_jobs=2, **options)
    twin = nvpflow.load(save_to(tmp_path, model, ending))
    assert type(twin) is kind and repr(twin) == repr(model) and twin.flow_.n_jobs == 2
    given = {"context": options["context"]} if "context" in options else {}
    for one, other in zip(twin.score_samples(X, **given, return_std=True), model.score_samples(X, **given, return_std=True)):
        np.testing.assert_array_equal(one, other)
    density, stored = (getattr(fit, "estimator_", fit) for fit in (model, twin))
    assert stored.n_iter_ == density.n_iter_ and stored.n_samples_seen_ == density.n_samples_seen_
    np.testing.assert_array_equal(stored.best_iter_, density.best_iter_, strict=True)
    assert stored.history_.keys() == density.history_.keys()
    for name, curve in density.history_.items():
        np.testing.assert_array_equal(stored.history_[name], curve, strict=True)
    assert vars(stored).keys() == vars(density).keys()


def test_interrupted_fit(tmp_path):
    """A part of the members, of different numbers of epochs."""

    def stop(epoch, train_nll, validation_nll):
        if epoch == 27:
            raise StopIteration

    model = fitted(callback=stop)
    twin = nvpflow.load(save_to(tmp_path, model, "npz"))
    assert len(twin.flow_) == 2 and np.bincount(twin.history_["member"]).tolist() == [20, 7]


def test_continued_generator(tmp_path):
    model = fitted(random_state=np.random.default_rng(0))
    twin = nvpflow.load(save_to(tmp_path, model, "npz"))
    np.testing.assert_array_equal(twin.sample(5), model.sample(5))


def test_arrays_of_a_file(tmp_path):
    ensemble = ensemble_of(2)
    header, arrays = contents(save_to(tmp_path, ensemble, "npz"))
    assert arrays.keys() == {"parameters", "descriptions", "weights"}
    np.testing.assert_array_equal(arrays["parameters"], np.concatenate([flow.parameters for flow in ensemble]))
    assert header["kind"] == "FlowEnsemble" and header["flows"] == json.loads(json.dumps([flow.config() for flow in ensemble]))
    assert header["version"] == 1


def test_parameters_that_are_not_finite(tmp_path):
    ensemble = ensemble_of(2)
    ensemble[1].parameters[3] = np.nan
    with pytest.raises(ValueError, match="parameters of model must be finite"):
        ensemble.save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


DAMAGE = {
    "no flows": ((("flows",), []), "flows must be a list of at least one flow"),
    "flows of another kind": ((("flows",), {"0": {}}), "flows must be a list"),
    "a flow that is none": ((("flows", 1), 7), "flows must be a list"),
    "missing flows": ((("flows",), ...), "it has no 'flows'"),
    "one flow less": ((("flows", 1), ...), "descriptions must have dtype|different flows"),
    "another activation": ((("flows", 1, "layers", 0, "activation"), "relu"), "those of different flows"),
    "another kind": ((("kind",), "Flow"), "it has no 'flow'"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_headers(case, tmp_path):
    change, message = DAMAGE[case]
    path = save_to(tmp_path, ensemble_of(2), "npz")
    header, arrays = contents(path)
    descriptions = arrays["descriptions"]
    arrays["description"] = descriptions[:1]  # which spoiled_headers removes
    with pytest.raises(ValueError, match=f"is damaged: .*({message})"):
        nvpflow.load(spoiled_headers(write(path, header, arrays), change))


@pytest.mark.parametrize("name, change, message", [
    ("weights", lambda w: w * 1.1, "weights must have the sum 1"),
    ("weights", lambda w: w * [2, 0.0], None),
    ("weights", lambda w: w * [3, -1], "weights must be finite and >= 0"),
    ("weights", lambda w: w[:1], r"weights must have dtype <f8 and shape \(2,\)"),
    ("weights", lambda w: w.astype("f4"), "weights must have dtype <f8"),
    ("descriptions", lambda d: d + (np.arange(len(d)) == len(d) - 1), "those of different flows"),
    ("descriptions", lambda d: d[:-1], "descriptions must have dtype"),
    ("parameters", lambda p: p[:-1], "parameters must have dtype"),
    ("parameters", lambda p: p * np.nan, "parameters must be finite"),
])  # fmt: skip
def test_damaged_arrays(name, change, message, tmp_path):
    path = save_to(tmp_path, ensemble_of(2), "npz")
    header, arrays = contents(path)
    arrays[name] = change(arrays[name])
    write(path, header, arrays)
    if message is None:
        assert nvpflow.load(path).weights.tolist() == [1, 0]
        return
    with pytest.raises(ValueError, match=f"is damaged: .*{message}"):
        nvpflow.load(path)


@pytest.mark.parametrize("name", ["weights", "descriptions", "parameters"])
def test_missing_arrays(name, tmp_path):
    path = save_to(tmp_path, ensemble_of(2), "npz")
    rewrite(path, lambda members: [(key, value) for key, value in members.items() if key != f"{name}.npy"])
    with pytest.raises(ValueError, match=f"is damaged: it has no '{name}'"):
        nvpflow.load(path)


@pytest.mark.parametrize("place, value, message", [
    (("n_iter",), 60, "n_iter must be a list of 3 integers"),
    (("n_iter",), [20, 20], "n_iter must be a list of 3 integers"),
    (("n_iter", 0), -1, "n_iter must be at least 0"),
    (("n_iter", 0), 10**15, "history.train_nll must have dtype"),
    (("best_iter",), 3, "best_iter must be a list of 3 integers"),
    (("best_iter", 2), 21, "best_iter must be at most 20"),
    (("flows", 2), ..., "must have dtype|must be a list of 2"),
    (("estimator", "n_models"), 0, "n_models must be at least 1"),
])  # fmt: skip
def test_damaged_estimators(place, value, message, tmp_path):
    path = save_to(tmp_path, fitted(), "npz")
    header, arrays = contents(path)
    arrays["description"] = np.zeros(1)
    with pytest.raises(ValueError, match=f"is damaged: .*({message})"):
        nvpflow.load(spoiled_headers(write(path, header, arrays), (place, value)))


# -- what a file may cost --

SHUFFLE = {"type": "permutation", "data_dim": 1, "permutation": [0]}


def flows_file(path, flows, n_parameters=0, descriptions=(), weights=()):
    pytest.importorskip("safetensors")
    text = json.dumps({"format": "nvpflow", "version": 1, "kind": "FlowEnsemble", "flows": flows})
    arrays = {"parameters": np.zeros(n_parameters, np.float32), "descriptions": np.array(descriptions, float)}
    file = io.BytesIO()
    write_safetensors(file, text, arrays | {"weights": np.array(weights, float)})
    path.write_bytes(file.getbuffer())
    return path


def test_huge_members(tmp_path):
    huge = {"dtype": "float32", "layers": [{"type": "act_norm", "data_dim": 10**15}]}
    path = flows_file(tmp_path / "flows", [huge] * 2)
    found = load_in_bounds(path, seconds=5)
    assert found.startswith("ValueError: ") and "descriptions must have dtype" in found


def test_many_members(tmp_path):
    """Time and memory are proportional to the file."""
    n = 20_000
    one = {"dtype": "float32", "layers": [SHUFFLE]}
    numbers = [7, 1, 0, 1, 0, 1, 4, 0]
    path = flows_file(tmp_path / "flows", [one] * n, 0, numbers * n, np.full(n, 1 / n))
    assert load_in_bounds(path, seconds=30) == "loaded"
