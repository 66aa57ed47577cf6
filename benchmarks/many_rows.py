"""A default fit of many rows: seconds of one core, peak memory, and the gap to the known density.

    python benchmarks/many_rows.py [--rows 1000000] [--columns 10] [--state 0]

Two columns depend on each other, x3 = 0.7 x7^2 + 0.5 N(0, 1); the others are N(0, 1). Seconds are CPU time of this process with one
thread; the gap is the mean of log p_true - log p_model over 100,000 other rows, in nats. The peak is what the process needs beside the
array, as the kernel counts it.
"""

import argparse
import os
import resource
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

import nvpflow  # noqa: E402
from moons import processor  # noqa: E402

SLOPE, WIDTH, N_HELD_OUT = 0.7, 0.5, 100_000


def samples(n, dim, rng):
    x = rng.normal(size=(n, dim))
    x[:, 3] = SLOPE * x[:, 7] ** 2 + WIDTH * rng.normal(size=n)
    return x


def log_density(x):
    z = x.copy()
    z[:, 3] = (x[:, 3] - SLOPE * x[:, 7] ** 2) / WIDTH
    return -0.5 * (z**2).sum(axis=1) - 0.5 * x.shape[1] * np.log(2 * np.pi) - np.log(WIDTH)


def peak_bytes():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=10, help="at least 8")
    parser.add_argument("--state", type=int, default=0, help="random state")
    options = parser.parse_args()
    rng = np.random.default_rng(options.state)
    x, held_out = samples(options.rows, options.columns, rng), samples(N_HELD_OUT, options.columns, rng)
    nvpflow.FlowDensity(max_iter=1).fit(x[:200])
    before, start = peak_bytes(), time.process_time()
    model = nvpflow.FlowDensity(random_state=options.state).fit(x)
    seconds, more = time.process_time() - start, peak_bytes() - before
    start = time.process_time()
    log_prob = model.score_samples(held_out)
    scoring = 1e6 * (time.process_time() - start) / N_HELD_OUT
    gap = np.mean(log_density(held_out) - log_prob)
    print(f"{options.rows} rows, {options.columns} columns, one core of {processor()}")
    print(f"fit {seconds:.3g} s, {model.n_iter_} epochs; memory {more / x.nbytes:.2f} times the array, beside it")
    print(f"scoring {scoring:.3g} us a row; gap {gap:.4f} nats")


if __name__ == "__main__":
    main()
