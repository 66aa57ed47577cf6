"""Fits to more rows than fit into memory.

    pip install ".[scale]"
    python benchmarks/scale.py memory [--rows 10000000]       # peak memory of a fit from Parquet, in a process of its own
    python benchmarks/scale.py likelihood [--rows 300000]     # held-out likelihood beside the plain fit's, and rows a second
    python benchmarks/scale.py dask [--rows 150000]           # the same by two workers of Dask, and scores
    python benchmarks/scale.py mpi [--rows 150000]            # the same by two ranks, and steps of 1, 2 and 4 ranks

The rows are written to a temporary folder (TMPDIR), which is removed in the end: 8 bytes for each number. "memory" prints the
peak of the resident set before and after the fit, the rows that were fitted a second, and how much the passes over all rows
gained. "likelihood" fits the same rows in memory and from Parquet, for each seed, turn by turn.
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
from scale_engines import add_parts, run_part

COLUMNS, ROWS_PER_FILE = 10, 1_000_000
SEEDS = range(5)


def bananas(n, rng):
    """Rows (n, 10): chained pairs of a normal column and one that is bent around its square."""
    z = rng.standard_normal((n, COLUMNS))
    x = z.copy()
    for i in range(0, COLUMNS - 1, 2):
        x[:, i + 1] = 0.5 * z[:, i + 1] + 0.7 * (z[:, i] ** 2 - 1) + (0.3 * x[:, i - 1] if i else 0)
    return x


def clusters(n, rng):
    """Rows (n, 10) of thirty normal distributions."""
    shape = np.random.default_rng(99)
    k = 30
    means = 2 * shape.standard_normal((k, COLUMNS))
    factors = 0.3 * np.tril(shape.standard_normal((k, COLUMNS, COLUMNS))) + 0.5 * np.eye(COLUMNS)
    which = rng.choice(k, n, p=shape.dirichlet(np.ones(k)))
    x = means[which]
    for i in range(k):
        x[which == i] += rng.standard_normal((np.count_nonzero(which == i), COLUMNS)) @ factors[i].T
    return x


DENSITIES = {"bananas": bananas, "clusters": clusters}


def write_parquet(folder, density, n, seed):
    """Write n rows to files of a million rows, in row groups of 131,072."""
    import pyarrow
    from pyarrow import parquet

    rng, names = np.random.default_rng(seed), [f"x{i}" for i in range(COLUMNS)]
    for number, start in enumerate(range(0, n, ROWS_PER_FILE)):
        x = DENSITIES[density](min(ROWS_PER_FILE, n - start), rng)
        table = pyarrow.table(list(np.ascontiguousarray(x.T)), names=names)
        parquet.write_table(table, Path(folder, f"{number:05}.parquet"), row_group_size=2**17, compression="none")


def peak():
    """The peak of the resident set of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def fit_folder(folder, density, n_jobs):
    """Fit to the files of a folder; what the process that is measured runs."""
    import pyarrow.dataset  # part of what a process takes before it fits

    before, start = peak(), time.perf_counter()
    model = nvpflow.FlowDensity(random_state=0, n_jobs=n_jobs, verbose=1).fit(folder)
    seconds = time.perf_counter() - start
    test = DENSITIES[density](50_000, np.random.default_rng(10_000))
    table = pyarrow.table(list(np.ascontiguousarray(test.T)), names=model.feature_names_in_.tolist())
    found = {"before": before, "peak": peak(), "seconds": seconds, "score": model.score(table)}
    print(json.dumps(found | model.refinement_))


def measure_memory(options):
    with tempfile.TemporaryDirectory(prefix="nvpflow-scale-") as folder:
        write_parquet(folder, options.density, options.rows, 0)
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
        command = [sys.executable, __file__, "fit", folder, "--density", options.density, "--n-jobs", str(options.n_jobs)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{options.rows:,} rows x {COLUMNS} of {options.density}, {size:,.0f} MB of Parquet")
    print(f"peak memory {found['peak']:,.0f} MB, of which {found['before']:,.0f} MB before the fit")
    print(f"{found['seconds']:,.0f} s, {options.rows / found['seconds']:,.0f} rows a second")
    print(f"{found['kind']}: {found['n_passes']} passes, {found['n_steps']:,} steps, gain {found['gain']:.4f} nats")
    print(f"log-density of fresh rows {found['score']:.4f} nats")


def compare_likelihood(options):
    print(f"{options.rows:,} rows x {COLUMNS}: log-density of 100,000 fresh rows in nats, and rows a second")
    for density, sample in DENSITIES.items():
        test, differences, speeds = sample(100_000, np.random.default_rng(10_000)), [], []
        for seed in SEEDS:
            with tempfile.TemporaryDirectory(prefix="nvpflow-scale-") as folder:
                write_parquet(folder, density, options.rows, seed)
                x = sample(options.rows, np.random.default_rng(seed))
                scores, seconds = [], []
                for rows in (x, folder):
                    start = time.perf_counter()
                    model = nvpflow.FlowDensity(random_state=seed, n_jobs=options.n_jobs).fit(rows)
                    seconds.append(time.perf_counter() - start)
                    with warnings.catch_warnings():  # the array has no names
                        warnings.simplefilter("ignore")
                        scores.append(model.score(test))
            differences.append(scores[1] - scores[0])
            speeds.append(seconds[0] / seconds[1])
            print(
                f"{density} {seed}: memory {scores[0]:.4f}, Parquet {scores[1]:.4f}, {seconds[0]:.0f} s and {seconds[1]:.0f} s"
            )
        print(f"{density}: least difference {min(differences):+.4f}, rows a second, Parquet / memory: "
              f"{statistics.median(speeds):.2f}")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    for name, rows in (("memory", 10_000_000), ("likelihood", 300_000)):
        part = parts.add_parser(name)
        part.add_argument("--rows", type=int, default=rows)
        part.add_argument("--density", choices=sorted(DENSITIES), default="bananas")
        part.add_argument("--n-jobs", type=int, default=1)
    part = parts.add_parser("fit")
    part.add_argument("folder")
    part.add_argument("--density", choices=sorted(DENSITIES), default="bananas")
    part.add_argument("--n-jobs", type=int, default=1)
    add_parts(parts)
    options = parser.parse_args()
    if options.part in ("dask", "mpi", "rank"):
        run_part(options, DENSITIES)
    elif options.part == "memory":
        measure_memory(options)
    elif options.part == "likelihood":
        compare_likelihood(options)
    else:
        fit_folder(options.folder, options.density, options.n_jobs)


if __name__ == "__main__":
    main()
