"""Files written by C and read by Python, and the other way round."""

import os
import shutil
import subprocess
import zipfile

import numpy as np
import pytest

import nvpflow
from support.c_programs import TESTS, run_tests
from support.flows import make_model

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the commands are those of gcc and clang")
N_FLOWS = 60  # of test_save.c


@pytest.fixture(scope="module")
def test_save(library_variant, tmp_path_factory):
    """tests/c/test_save.c, built."""
    return library_variant("plain").link(TESTS / "test_save.c", tmp_path_factory.mktemp("save") / "test_save")


def saved_twice(flow, program, folder):
    """The flow after Python has saved it, C loaded and saved it, and Python loaded it."""
    flow.save(folder / "flow-0.npz")
    run_tests(program, "files_for_python", "--", folder)
    return nvpflow.load(folder / "again-0.npz")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("context_dim, n_components", [(0, 0), (2, 3)])
def test_round_trip(test_save, dtype, context_dim, n_components, tmp_path):
    flow = make_model(context_dim, dtype, n_components)
    again = saved_twice(flow, test_save, tmp_path)
    assert again.config() == flow.config()
    assert again.parameters.tobytes() == flow.parameters.tobytes()
    x, context = np.split(np.random.RandomState(0).normal(size=(50, 5)), [3], axis=1)
    given = (x, context) if context_dim else (x,)
    assert again.log_prob(*given).tobytes() == flow.log_prob(*given).tobytes()
    with np.load(tmp_path / "flow-0.npz") as before, np.load(tmp_path / "again-0.npz") as after:
        assert all(before[name].tobytes() == after[name].tobytes() for name in ("description", "parameters"))


def test_real_number_options(test_save, tmp_path):
    """The header holds them in decimal: reading gives the same double."""
    bounds = [0.1, 1 / 3, 2.0, 1e-30, 123456789.123456789, 1e22, np.nextafter(1, 2)]
    layers = [nvpflow.CouplingLayer(2, 3, scale_bound=bound, dtype="float64") for bound in bounds]
    again = saved_twice(nvpflow.Flow(layers), test_save, tmp_path)
    assert [layer.scale_bound for layer in again.layers] == bounds


def test_python_matches_c(test_save, tmp_path):
    run_tests(test_save, "files_for_python", "--", tmp_path)
    types, dtypes, bases = set(), set(), set()
    for i in range(N_FLOWS):
        flow = nvpflow.load(tmp_path / f"random-{i}.npz")
        assert type(flow) is nvpflow.Flow
        types |= {layer.config()["type"] for layer in flow.layers}
        dtypes.add(flow.dtype.name)
        bases.add(flow.base.n_components if flow.base else 0)
        x = 4 * np.sin(np.arange(20 * flow.data_dim)).reshape(20, -1)
        context = np.cos(np.arange(20 * flow.context_dim)).reshape(20, -1) if flow.context_dim else None
        expected = np.loadtxt(tmp_path / f"random-{i}.txt")
        tolerance = 1e-3 if flow.dtype == np.float32 else 1e-9
        found = flow.log_prob(x, context)
        np.testing.assert_allclose(np.median(found), np.median(expected), rtol=tolerance, atol=tolerance)
        # Where the rotation of a circle is steep, it amplifies the rounding of the one compiler and of the other.
        if flow.dtype == np.float32 and any(layer.config()["type"] == "circular_spline_coupling" for layer in flow.layers):
            tolerance = 2e-2
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert types == set(nvpflow.layers.LAYER_TYPES) and dtypes == {"float32", "float64"} and bases == {0, 1, 2, 3}


def test_archive_tools(test_save, tmp_path):
    run_tests(test_save, "files_for_python", "--", tmp_path)
    with zipfile.ZipFile(tmp_path / "random-0.npz") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["header.npy", "description.npy", "parameters.npy"]
        assert {(member.compress_type, member.date_time) for member in archive.infolist()} == {(0, (1980, 1, 1, 0, 0, 0))}
    with np.load(tmp_path / "random-0.npz", allow_pickle=False) as arrays:
        assert str(arrays["header"]).startswith('{"format": "nvpflow", "version": 1, "kind": "Flow"')


def test_locale_with_decimal_comma(test_save, tmp_path):
    if not shutil.which("localedef"):
        pytest.skip("no localedef here")
    made = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", tmp_path / "de_DE.UTF-8"], capture_output=True)
    if made.returncode > 1:
        pytest.skip("no such locale here")
    run_tests(test_save, "locale", "--", ",", LOCPATH=str(tmp_path), LC_ALL="de_DE.UTF-8")
