"""Parts of scale.py that measure speed alone: scores by Dask, and steps of training by ranks."""

import json
import os
import statistics
import time

import numpy as np

import nvpflow
from scale_densities import DENSITIES
from scale_engines import on_ranks

BATCHES, RANKS, REPEATS = (256, 1024, 4096), (1, 2, 4), 5


def compare_scores(density, n):
    """Rows a second of `score_samples`, plain and by the threads of Dask."""
    import dask.array

    x = DENSITIES[density](n, np.random.default_rng(0))
    model = nvpflow.FlowDensity(base="normal", max_iter=1, random_state=0).fit(x[:5000])
    lazy, seconds = dask.array.from_array(x, chunks=(50_000, x.shape[1])), []
    for _ in range(REPEATS):
        start = time.perf_counter()
        model.score_samples(x)
        middle = time.perf_counter()
        model.score_samples(lazy).compute()
        seconds.append((middle - start, time.perf_counter() - middle))
    plain, by_dask = (statistics.median(column) for column in zip(*seconds, strict=True))
    print(f"score_samples: {len(x) / plain:,.0f} rows a second in one thread, {len(x) / by_dask:,.0f} by Dask's threads")


def compare_ranks():
    """Steps a second by number of ranks and rows of a step."""
    found = [on_ranks(n_ranks, "steps") for n_ranks in RANKS]
    n_bytes = found[0]["bytes"]
    print(f"steps of training, {n_bytes:,} bytes summed in each, {os.cpu_count()} cores")
    for one, n_ranks in zip(found, RANKS, strict=True):
        print(f"{n_ranks} rank(s): a sum alone takes {1e6 * one['sum']:,.0f} us")
        for batch, seconds in zip(BATCHES, one["steps"], strict=True):
            print(f"    {batch:,} rows a step: {1e3 * seconds:.2f} ms, {batch / seconds:,.0f} rows a second")


def time_steps():
    """What each rank runs."""
    from mpi4py import MPI

    from nvpflow.scale.mpi import Ranks

    group = Ranks(MPI.COMM_WORLD)
    layers = [
        nvpflow.SplineCoupling(10, 32, mask, n_bins=6, tail_bound=3.0, random_state=0) for mask in 6 * ([0, 1] * 5, [1, 0] * 5)
    ]
    flow, seconds = nvpflow.Flow(layers), []
    with group.together():
        sums = np.zeros(flow.n_parameters + 3)
        alone = least_time(lambda: group.sum(sums), group)
        for batch in BATCHES:
            x = np.random.default_rng(group.rank).normal(size=(batch // group.size, 10)).astype(np.float32)

            def step(x=x):
                _, grad = flow.nll_and_grad(x)
                group.sum(np.concatenate([grad.astype(np.float64), [0.0, 0.0, 0.0]]))

            seconds.append(least_time(step, group))
    if group.rank == 0:
        print(json.dumps({"bytes": sums.nbytes, "sum": alone, "steps": seconds}))


def least_time(call, group, n=60):
    seconds = []
    for _ in range(n):
        group.any(False)  # all begin together
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
