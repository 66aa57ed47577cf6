"""Fixtures of the tests of files."""

import os
import tempfile
from pathlib import Path

import pytest

import nvpflow
from support.flows import flow_of_everything
from support.saved_files import POINTS, conditional_flow, fitted


@pytest.fixture(autouse=True)
def needs_safetensors(request):
    """Skip a test of .safetensors where the package is missing."""
    call = getattr(request.node, "callspec", None)
    if call and call.params.get("ending") == "safetensors":
        pytest.importorskip("safetensors")


@pytest.fixture
def open_directory():
    """One that every user may reach: those of pytest are the user's own."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        yield Path(directory)


@pytest.fixture(scope="module")
def models():
    return {
        "flow": nvpflow.Flow([nvpflow.CouplingLayer(3, 4, [1, 0, 1], random_state=0), nvpflow.ActNorm(3)]),
        "everything": flow_of_everything(3),
        "conditional": conditional_flow(),
        "empty": nvpflow.Flow([nvpflow.Permutation(3, [2, 0, 1])]),
        "estimator": fitted(nvpflow.FlowDensity),
        "detector": fitted(nvpflow.FlowOutlierDetector),
    }


@pytest.fixture(scope="module")
def small_model():
    return nvpflow.FlowDensity(1, 4, coupling="affine", n_init=1, max_iter=5, dtype="float64", random_state=0).fit(POINTS)


@pytest.fixture(scope="module")
def estimator():
    options = {"coupling": "affine", "max_iter": 5, "dtype": "float64", "random_state": 0}
    return nvpflow.FlowDensity(1, 4, **options).fit(POINTS)


@pytest.fixture(scope="module")
def detector():
    return nvpflow.FlowOutlierDetector(1, 4, max_iter=3, random_state=0).fit(POINTS)
