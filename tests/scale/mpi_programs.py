"""Programs that test_mpi.py starts on several ranks: ``mpiexec -n K python mpi_programs.py NAME ...``."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

import nvpflow
from nvpflow.scale import mpi
from nvpflow.scale._fit import fit_from

COMM = MPI.COMM_WORLD
SMALL = {"n_layers": 2, "hidden_dim": 8, "random_state": 0}


def few_rows_in_a_sample(n_sample):
    """Let a fit begin with so many rows, so that others refine it."""
    mpi.fit_from = lambda *arguments, **options: fit_from(*arguments, n_sample=n_sample, **options)


def own_rows(n=4000):
    """The share of this rank; ranks have different numbers of rows."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(n, 2)) + rng.integers(3, size=(n, 1)) * 3) * [1.0, 10.0] + 5
    ends = [round(n * (k / COMM.size) ** 1.5) for k in range(COMM.size + 1)]
    return x[ends[COMM.rank] : ends[COMM.rank + 1]]


def fits(path):
    """Fits of a mixture, of layers, and to few rows, on all ranks. The first one stores the parameters."""
    x, found = own_rows(), {}
    ordinary = nvpflow.FlowDensity(max_iter=2, **SMALL).fit(x, comm=COMM)
    few_rows_in_a_sample(1500)
    mixture = nvpflow.FlowDensity(base="mixture", max_iter=1, learning_rate=1e-9, **SMALL).fit(x, comm=COMM)
    layers = nvpflow.FlowDensity(base="normal", max_iter=2, **SMALL).fit(x, comm=COMM)
    for name, model in (("few_rows", ordinary), ("mixture", mixture), ("layers", layers)):
        found[name] = model.flow_.parameters
    bits = COMM.allgather([parameters.tobytes() for parameters in found.values()])
    if COMM.rank == 0:
        counts = {"n_passes": mixture.refinement_["n_passes"], "n_steps": layers.refinement_["n_steps"]}
        np.savez(path, is_same_on_all_ranks=all(one == bits[0] for one in bits), **counts, **found)


def failures(folder):
    """Fits that fail on one rank or on all. Each rank stores what it has raised."""
    x, messages = own_rows(), {}
    few_rows_in_a_sample(1500)

    def note(what, fit):
        try:
            fit()
            messages[what] = "fitted"
        except Exception as error:
            messages[what] = f"{type(error).__name__}: {error}"

    def fit(rows=x, comm=COMM, callback=None, context=None, **parameters):
        nvpflow.FlowDensity(**{"base": "normal", "max_iter": 1} | SMALL | parameters).fit(
            rows, comm=comm, callback=callback, context=context
        )

    def mismatch():
        group = mpi.Ranks(COMM)
        with group.together():
            group.sum(np.zeros(1 + COMM.rank))

    is_second = COMM.rank == 1
    note("bad rows", lambda: fit(np.where(np.arange(len(x))[:, np.newaxis] == 7, np.nan, x) if is_second else x))
    take = mpi.OwnRows.take
    if is_second:
        mpi.OwnRows.take = out_of_memory
    note("memory", fit)
    mpi.OwnRows.take = take
    note("callback", lambda: fit(callback=lambda *_: 1 / 0))
    note("parameters", lambda: fit(n_layers=1 + COMM.rank))
    note("columns", lambda: fit(x[:, : 2 - is_second]))
    note("mismatch", mismatch)
    note("context", lambda: fit(context=x))
    note("no communicator", lambda: fit(comm=3))
    note("fit after all that", fit)
    (Path(folder) / f"{COMM.rank}.json").write_text(json.dumps(messages))


def out_of_memory(self, numbers):
    raise MemoryError("no more")


def killed():
    """One rank dies in the middle of the fit."""
    few_rows_in_a_sample(1500)
    if COMM.rank == 1:
        mpi.OwnRows.take = lambda self, numbers: os.kill(os.getpid(), signal.SIGKILL)
    nvpflow.FlowDensity(base="normal", max_iter=2, **SMALL).fit(own_rows(), comm=COMM)
    print("reached the end")


if __name__ == "__main__":
    {"fits": fits, "failures": failures, "killed": killed}[sys.argv[1]](*sys.argv[2:])
