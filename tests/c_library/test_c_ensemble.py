"""Ensembles written by Python and read by C, and the other way round."""

import os
import subprocess

import numpy as np
import pytest

import nvpflow
from support.c_programs import ROOT, TESTS, run_tests
from support.ensembles import ensemble_of, fitted

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands are those of gcc and clang")
N = 40
X = 4 * np.sin(np.arange(3 * N)).reshape(N, 3)
CONTEXT = np.cos(np.arange(2 * N)).reshape(N, 2)


@pytest.fixture(scope="module")
def program(library_variant, tmp_path_factory):
    """tests/c/test_ensemble.c, built."""
    return library_variant("plain").link(TESTS / "test_ensemble.c", tmp_path_factory.mktemp("ensemble") / "test_ensemble")


@pytest.mark.parametrize("weights", [None, [0.2, 0.7, 0.1]])
def test_round_trip(program, weights, tmp_path):
    ensemble = ensemble_of(3, 2, "float64", weights)
    ensemble.save(tmp_path / "ensemble.npz")
    run_tests(program, "files_for_python", "--", tmp_path)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "ensemble.txt"), ensemble.log_prob(X, CONTEXT), rtol=1e-12)
    again = nvpflow.load(tmp_path / "again.npz")
    assert type(again) is nvpflow.FlowEnsemble
    assert [flow.config() for flow in again] == [flow.config() for flow in ensemble]
    np.testing.assert_array_equal(again.weights, ensemble.weights)
    np.testing.assert_array_equal(again.log_prob(X, CONTEXT), ensemble.log_prob(X, CONTEXT))
    with np.load(tmp_path / "ensemble.npz") as before, np.load(tmp_path / "again.npz") as after:
        for name in ("descriptions", "weights", "parameters"):
            assert before[name].tobytes() == after[name].tobytes()


def test_a_flow_is_an_ensemble_of_one(program, tmp_path):
    flow = ensemble_of(1, 2)[0]
    flow.save(tmp_path / "ensemble.npz")
    run_tests(program, "files_for_python", "--", tmp_path)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "ensemble.txt"), flow.log_prob(X, CONTEXT), rtol=1e-12)


@pytest.mark.parametrize("n_models", [1, 3])
def test_example(n_models, library_variant, tmp_path):
    """examples/score.c with an estimator."""
    program = library_variant("plain").link(ROOT / "examples" / "score.c", tmp_path / "score")
    model = fitted(n_models=n_models, max_iter=3, dtype="float64")
    model.save(tmp_path / "model.npz")
    points = model.sample(7)
    lines = "".join(f"{a!r},{b!r}\n" for a, b in points.tolist())
    run = subprocess.run([program, tmp_path / "model.npz"], input=lines, capture_output=True, text=True, check=True)
    np.testing.assert_allclose(np.array(run.stdout.split(), float), model.score_samples(points), rtol=1e-12)
