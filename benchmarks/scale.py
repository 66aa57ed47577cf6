"""Fits to more rows than fit into memory, and by several processes together.

    pip install ".[scale,dask,mpi]"
    python benchmarks/scale.py likelihood [--rows 600000]     # from memory, from Parquet, by Dask and by MPI
    python benchmarks/scale.py memory [--rows 100000000]      # peak memory of a fit from Parquet, in a process of its own
    python benchmarks/scale.py scores                         # rows a second of scores, plain and by Dask
    python benchmarks/scale.py steps                          # steps a second of 1, 2 and 4 ranks of MPI

"likelihood" fits the same rows by each engine, seed by seed, two processes for Dask and for MPI. It prints the log-densities
of 100,000 fresh rows and the rows that were fitted a second, then the differences to the fit in memory. With --store it
goes on where it was interrupted.

"memory" writes rows of four bytes a number to a temporary folder (TMPDIR), which is removed in the end. It prints the peak of
the resident set, before and after the fit, the rows that were fitted a second, and how much the passes over all rows gained.
With --limit, private memory of the process is limited to so many MB (RLIMIT_DATA, which also counts what is only
reserved, so Arrow takes its memory from malloc).
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import nvpflow
from scale_densities import COLUMNS, DENSITIES, as_table, draws_of, write_parquet
from scale_engines import ENGINES, fit_files
from scale_speed import compare_ranks, compare_scores, time_steps

SEEDS, TEST_ROWS, TEST_SEED = 5, 100_000, 10_000


def compare_likelihood(options):
    """Fit by each engine, and print how the fits compare with those in memory."""
    store = json.loads(options.store.read_text() or "{}") if options.store.exists() else {}
    print(f"{options.rows:,} rows of {options.density}: log-density of {TEST_ROWS:,} fresh rows in nats, rows a second")
    for seed in range(options.seeds):
        for engine in options.engines:
            key = f"{options.density} {options.rows} {seed} {engine}"
            if key not in store:
                store[key] = fit_and_score(options, engine, seed)
                options.store.write_text(json.dumps(store, indent=1))
            score, speed = store[key]["score"], options.rows / store[key]["seconds"]
            print(f"seed {seed}, {engine:8} {score:.4f} {speed:10,.0f}", flush=True)
    for engine in options.engines:
        print_differences(options, store, engine)


def fit_and_score(options, engine, seed):
    draw = DENSITIES[options.density]
    x, test = draw(options.rows, np.random.default_rng(seed)), draw(TEST_ROWS, np.random.default_rng(TEST_SEED))
    model, seconds = ENGINES[engine](x, seed, options.n_jobs)
    with warnings.catch_warnings():  # an array has no names
        warnings.simplefilter("ignore", UserWarning)
        return {"score": float(np.mean(model.score_samples(test), dtype=float)), "seconds": seconds}


def print_differences(options, store, engine):
    pairs = [
        [store[f"{options.density} {options.rows} {seed} {one}"] for one in ("memory", engine)]
        for seed in range(options.seeds)
        if "memory" in options.engines and engine != "memory"
    ]
    if pairs:
        gains = [other["score"] - plain["score"] for plain, other in pairs]
        speed = statistics.median(plain["seconds"] / other["seconds"] for plain, other in pairs)
        print(f"{engine} - memory: median {statistics.median(gains):+.4f}, least {min(gains):+.4f}, speed {speed:.2f} times")


def peak():
    """The peak of the resident set of this process, in MB. Where the system tells it, without that of the process before."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def fit_folder(options):
    """Fit to the files of a folder; what the process that is measured runs."""
    if options.limit:
        resource.setrlimit(resource.RLIMIT_DATA, (options.limit * 10**6, options.limit * 10**6))
    import pyarrow.dataset  # noqa: F401 - part of what a process takes before it fits

    before, start = peak(), time.perf_counter()
    model = nvpflow.FlowDensity(random_state=0, n_jobs=options.n_jobs, verbose=1).fit(options.folder)
    seconds, test = time.perf_counter() - start, DENSITIES[options.density](50_000, np.random.default_rng(TEST_SEED))
    found = {"before": before, "peak": peak(), "seconds": seconds, "score": model.score(as_table(test))}
    print(json.dumps(found | model.refinement_))


def measure_memory(options):
    with tempfile.TemporaryDirectory(prefix="nvpflow-scale-") as folder:
        write_parquet(folder, draws_of(options.density, options.rows, 0, np.float32))
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        command = [sys.executable, __file__, "fit", folder, "--density", options.density]
        command += ["--n-jobs", str(options.n_jobs), "--limit", str(options.limit)]
        pool = {"ARROW_DEFAULT_MEMORY_POOL": "system"} if options.limit else {}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | pool)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{options.rows:,} rows x {COLUMNS} of {options.density}, {size:,.0f} MB of Parquet")
    print(f"peak memory {found['peak']:,.0f} MB, of which {found['before']:,.0f} MB before the fit")
    print(f"{found['seconds']:,.0f} s, {options.rows / found['seconds']:,.0f} rows a second")
    print(f"{found['kind']}: {found['n_passes']} passes, {found['n_steps']:,} steps, gain {found['gain']:.4f} nats")
    print(f"log-density of fresh rows {found['score']:.4f} nats")


def run_rank(options):
    if options.task == "steps":
        time_steps()
    else:
        fit_files(options.files, options.seed, options.n_jobs)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)

    def add(name, run, rows=None):
        part = parts.add_parser(name)
        part.set_defaults(run=run)
        part.add_argument("--density", choices=sorted(DENSITIES), default="bananas")
        part.add_argument("--n-jobs", type=int, default=1)
        if rows:
            part.add_argument("--rows", type=int, default=rows)
        return part

    likelihood = add("likelihood", compare_likelihood, 600_000)
    likelihood.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    likelihood.add_argument("--seeds", type=int, default=SEEDS)
    likelihood.add_argument("--store", type=Path, default=Path(os.devnull), help="a JSON file of what has been measured")
    add("memory", measure_memory, 100_000_000).add_argument("--limit", type=int, default=0, help="MB; 0: none")
    add("scores", lambda options: compare_scores(options.density, options.rows), 1_000_000)
    add("steps", lambda options: compare_ranks())
    fit = add("fit", fit_folder)  # what "memory" starts
    fit.add_argument("folder")
    fit.add_argument("--limit", type=int, default=0)
    rank = add("rank", run_rank)  # what mpiexec starts
    rank.add_argument("task", choices=("steps", "fit"))
    rank.add_argument("--files", nargs="*", default=())
    rank.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    options = parse()
    options.run(options)
