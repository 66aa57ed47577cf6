"""The examples of Ray, Spark, Dask and MPI run, and give the log-densities of NumPy."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
# What runs after an example, with its names.
COMPARE = """
import runpy, sys, numpy as np
names = runpy.run_path(sys.argv[1], run_name="__main__")
scored, model, rows = (names[name] for name in ("scored", "model", "rows"))
assert len(scored) == len(rows)
np.testing.assert_allclose(scored["log_density"], model.score_samples(scored[["a", "b"]]), atol=1e-5)
np.testing.assert_array_equal(np.sort(scored["a"]), np.sort(rows["a"]))
print("compared")
"""


def run(command, **options):
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, **options)


@pytest.mark.parametrize("name, package, program", [("ray", "ray", None), ("spark", "pyspark", "java")])
def test_scores(name, package, program, tmp_path):
    if importlib.util.find_spec(package) is None or (program and shutil.which(program) is None):
        pytest.skip(f"needs {package}{f' and {program}' * bool(program)}")
    pytest.importorskip("pandas")
    done = run([sys.executable, "-c", COMPARE, EXAMPLES / f"score_with_{name}.py"], cwd=tmp_path)
    assert done.returncode == 0 and "compared" in done.stdout, done.stdout + done.stderr


def test_dask_example(tmp_path):
    pytest.importorskip("distributed", reason="needs Dask's distributed")
    done = run([sys.executable, EXAMPLES / "fit_with_dask.py"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mean log-density -2.8" in done.stdout  # -1 - log(2 pi)


def test_mpi_example(tmp_path):
    if importlib.util.find_spec("mpi4py") is None:
        pytest.skip("needs mpi4py")
    done = run([sys.executable, EXAMPLES / "fit_with_mpi.py"], cwd=tmp_path)  # one rank
    assert done.returncode == 0, done.stderr
    assert "fitted 5000 rows on 1 ranks" in done.stdout and (tmp_path / "model.npz").exists()
