"""Parts of scale.py: Dask and MPI beside a fit in the memory of one process."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import nvpflow

BATCHES, RANKS, REPEATS = (256, 1024, 4096), (1, 2, 4), 5


def add_parts(parts):
    for name, rows in (("dask", 150_000), ("mpi", 150_000)):
        part = parts.add_parser(name)
        part.add_argument("--rows", type=int, default=rows)
        part.add_argument("--density", default="bananas")
        part.add_argument("--seeds", type=int, default=5, help="of the comparison of held-out likelihoods; 0: none")
        part.add_argument("--n-jobs", type=int, default=1)
    part = parts.add_parser("rank")  # what mpiexec starts
    part.add_argument("task", choices=("steps", "fit"))
    part.add_argument("--files", nargs="*", default=())
    part.add_argument("--seed", type=int, default=0)


def run_part(options, densities):
    if options.part == "rank":
        time_steps() if options.task == "steps" else fit_files(options)
    elif options.part == "mpi":
        compare_ranks()
        compare(options, densities, "MPI, two ranks", fit_by_ranks)
    else:
        compare_scores(densities[options.density](1_000_000, np.random.default_rng(0)))
        from distributed import Client, LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
            compare(options, densities, "Dask, two workers", fit_by_dask)


def compare(options, densities, words, fit):
    """Held-out likelihoods and times of a fit beside one in memory, for each seed."""
    sample, differences, ratios = densities[options.density], [], []
    for seed in range(options.seeds):
        x, test = (sample(n, np.random.default_rng(state)) for n, state in ((options.rows, seed), (100_000, 10_000)))
        start = time.perf_counter()
        plain = nvpflow.FlowDensity(random_state=seed, n_jobs=options.n_jobs).fit(x)
        middle = time.perf_counter()
        model = fit(x, seed)
        seconds = middle - start, time.perf_counter() - middle
        scores = [one.score_samples(test).mean(dtype=float) for one in (plain, model)]
        differences.append(scores[1] - scores[0])
        ratios.append(seconds[0] / seconds[1])
        print(
            f"{options.density} {seed}: memory {scores[0]:.4f} nats in {seconds[0]:.0f} s, {words} {scores[1]:.4f} in "
            f"{seconds[1]:.0f} s",
            flush=True,
        )
    if differences:
        print(
            f"{options.rows:,} rows: least difference {min(differences):+.4f} nats; rows a second, {words} / memory: "
            f"{statistics.median(ratios):.2f}"
        )


# Dask


def fit_by_dask(x, seed):
    import dask.array

    rows = dask.array.from_array(x, chunks=(len(x) // 8 + 1, x.shape[1])).persist()
    return nvpflow.FlowDensity(random_state=seed).fit(rows)


def compare_scores(x):
    """Rows a second of `score_samples`, plain and by the threads of Dask."""
    import dask.array

    model = nvpflow.FlowDensity(base="normal", max_iter=1, random_state=0).fit(x[:5000])
    lazy, seconds = dask.array.from_array(x, chunks=(50_000, x.shape[1])), []
    for _ in range(REPEATS):
        start = time.perf_counter()
        model.score_samples(x)
        middle = time.perf_counter()
        model.score_samples(lazy).compute()
        seconds.append((middle - start, time.perf_counter() - middle))
    plain, by_dask = (statistics.median(column) for column in zip(*seconds))
    print(f"score_samples: {len(x) / plain:,.0f} rows a second in one thread, {len(x) / by_dask:,.0f} by Dask's threads")


# MPI


def on_ranks(n_ranks, *arguments):
    """Run this file's program on so many ranks, and return what it prints as JSON in its last line."""
    mpiexec = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    permissions = dict.fromkeys(("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"), "1")
    oversubscribed = {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
    command = [mpiexec, "-n", str(n_ranks), sys.executable, str(Path(__file__).with_name("scale.py")), "rank", *arguments]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | permissions | oversubscribed
    )
    return json.loads(done.stdout.splitlines()[-1])


def fit_by_ranks(x, seed):
    with tempfile.TemporaryDirectory(prefix="nvpflow-scale-") as folder:
        files = [str(Path(folder, f"{rank}.npy")) for rank in range(2)]
        for file, part in zip(files, np.array_split(x, 2)):
            np.save(file, part)
        path = on_ranks(2, "fit", "--seed", str(seed), "--files", *files)
        return nvpflow.load(path)


def fit_files(options):
    from mpi4py import MPI

    x = np.load(options.files[MPI.COMM_WORLD.rank])
    model = nvpflow.FlowDensity(random_state=options.seed).fit(x, comm=MPI.COMM_WORLD)
    if MPI.COMM_WORLD.rank == 0:
        path = options.files[0] + "-model.npz"
        model.save(path)
        print(json.dumps(path))


def compare_ranks():
    """Steps a second by number of ranks and rows of a step."""
    found = [on_ranks(n_ranks, "steps") for n_ranks in RANKS]
    n_bytes = found[0]["bytes"]
    print(f"steps of training, {n_bytes:,} bytes summed in each, {os.cpu_count()} cores")
    for one, n_ranks in zip(found, RANKS):
        print(f"{n_ranks} rank(s): a sum alone takes {1e6 * one['sum']:,.0f} us")
        for batch, seconds in zip(BATCHES, one["steps"]):
            print(f"    {batch:,} rows a step: {1e3 * seconds:.2f} ms, {batch / seconds:,.0f} rows a second")


def time_steps():
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
