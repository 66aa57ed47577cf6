"""The engines of scale.py: each fits rows (n, D), with a seed, and returns the fitted density and the seconds that it took."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import nvpflow
from scale_densities import ROWS_PER_DRAW, write_parquet

PROCESSES, PARTS = 2, 8  # and of the rows on the workers of Dask


def fit_in_memory(x, seed, n_jobs=1):
    start = time.perf_counter()
    model = nvpflow.FlowDensity(random_state=seed, n_jobs=n_jobs).fit(x)
    return model, time.perf_counter() - start


def fit_parquet(x, seed, n_jobs=1):
    with tempfile.TemporaryDirectory(prefix="nvpflow-scale-") as folder:
        write_parquet(folder, (x[i : i + ROWS_PER_DRAW] for i in range(0, len(x), ROWS_PER_DRAW)))
        return fit_in_memory(folder, seed, n_jobs)


def fit_by_dask(x, seed, n_jobs=1):
    """By workers with one thread, which hold the rows."""
    from dask.array import concatenate, from_delayed
    from distributed import Client, LocalCluster

    options = {"n_workers": PROCESSES, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        parts = np.array_split(x, PARTS)
        held = client.scatter(parts)
        rows = concatenate([from_delayed(one, part.shape, x.dtype) for one, part in zip(held, parts, strict=True)])
        return fit_in_memory(rows, seed, n_jobs)


def fit_by_ranks(x, seed, n_jobs=1):
    """By the ranks of an MPI job, each with a part of the rows in its memory."""
    with tempfile.TemporaryDirectory(prefix="nvpflow-scale-") as folder:
        files = [str(Path(folder, f"{rank}.npy")) for rank in range(PROCESSES)]
        for file, part in zip(files, np.array_split(x, PROCESSES), strict=True):
            np.save(file, part)
        found = on_ranks(PROCESSES, "fit", "--seed", str(seed), "--n-jobs", str(n_jobs), "--files", *files)
        return nvpflow.load(found["path"]), found["seconds"]


ENGINES = {"memory": fit_in_memory, "parquet": fit_parquet, "dask": fit_by_dask, "mpi": fit_by_ranks}


def on_ranks(n_ranks, *arguments):
    """Run the part "rank" of scale.py on so many ranks, and return what it prints as JSON in its last line."""
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    permissions = dict.fromkeys(("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), "1")
    oversubscribed = {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
    command = [mpiexec, "-n", str(n_ranks), sys.executable, str(Path(__file__).with_name("scale.py")), "rank", *arguments]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | permissions | oversubscribed
    )
    return json.loads(done.stdout.splitlines()[-1])


def fit_files(files, seed, n_jobs):
    """What each rank runs."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    x = np.load(files[comm.rank])
    comm.Barrier()
    start = time.perf_counter()
    model = nvpflow.FlowDensity(random_state=seed, n_jobs=n_jobs).fit(x, comm=comm)
    seconds = time.perf_counter() - start
    if comm.rank == 0:
        path = files[0] + "-model.npz"
        model.save(path)
        print(json.dumps({"path": path, "seconds": seconds}))
