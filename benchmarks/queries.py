"""Queries of fitted densities for many rows: seconds of each, and errors of total mass.

    python benchmarks/queries.py
    python benchmarks/queries.py --rows 10000 --models "mixture" "spline layers" --turns 5
    python benchmarks/queries.py --rows 100 --models "spline layers, 4 columns" --n-open 3    (others are drawn)
    python benchmarks/queries.py --n-jobs 2

The last column is free and all others are given, but for those that `--n-open` leaves open as well. Every figure is the median
over the turns of the CPU seconds, with `--n-jobs` those of the clock, of one question to a new `conditional`, so that nothing
is computed ahead. "mass" is the largest absolute difference from 1, over `--checked` rows,
of the sum of `pdf` over a fine grid; "estimate" the largest `error` of these rows.
"""

import argparse
import time

import numpy as np
from sklearn.datasets import make_moons

import nvpflow

LEVEL, CHUNK = 0.9, 50
TAILS = 10.0 ** np.arange(-9, -1)  # closely, as a millionth of an average of mixtures is far out
PLACES, STEPS = np.r_[TAILS, 0.1, 0.3, 0.5, 0.7, 0.9, 1 - TAILS[::-1]], 800  # of the grid of a mass


def skewed(rng, n):
    x = rng.exponential(size=n) ** 2
    return np.stack([x, np.exp(x**0.25 + 0.3 * rng.normal(size=n))], axis=1)


def curved(rng, n, dim):
    x = rng.normal(size=(n, dim))
    for i in range(1, dim):
        x[:, i] += np.sin(2 * x[:, i - 1])
    return x


def models(n_jobs=None):
    """What is fitted, by name: what the defaults keep of these samples is a mixture, without layers."""

    def fit(data, **parameters):
        return nvpflow.FlowDensity(random_state=0, n_jobs=n_jobs, **parameters).fit(data)

    rng = np.random.default_rng(0)
    moons = make_moons(1000, noise=0.1, random_state=0)[0]
    layers = {"base": "normal", "max_iter": 100}
    return {
        "mixture": lambda: fit(moons),
        "mixture, 5 columns": lambda: fit(curved(rng, 3000, 5)),
        "mixture behind margins": lambda: fit(skewed(rng, 1000)),
        "bounded columns": lambda: fit(skewed(rng, 1000), support=["positive", "positive"]),
        "spline layers": lambda: fit(moons, **layers),
        "spline layers, 4 columns": lambda: fit(curved(rng, 2000, 4), **layers),
        "affine layers": lambda: fit(moons, coupling="affine", **layers),
        "three flows": lambda: fit(moons, n_models=3, n_layers=4, **layers),
    }


def questions(column, truth):
    return {
        "pdf": lambda found: found.pdf(truth),
        "cdf": lambda found: found.cdf(truth),
        "ppf": lambda found: found.ppf([0.5]),
        "mean": lambda found: found.mean(),
        "std": lambda found: found.std(),
        "interval": lambda found: found.interval(LEVEL),
        "score": lambda found: found.score_samples(truth),
    }


def seconds(model, rows, column, truth, turns):
    found, clock = {}, time.process_time if model.n_jobs is None else time.perf_counter
    for name, ask in questions(column, truth).items():
        spent = []
        for _ in range(turns):
            density = model.conditional(rows, column)
            start = clock()
            ask(density)
            spent.append(clock() - start)
        found[name] = float(np.median(spent))
    return found


def mass_error(model, rows, column):
    """The largest difference of the mass of a row from 1, and the largest estimate of it."""
    density, worst = model.conditional(rows, column), 0.0
    between = np.linspace(0, 1, STEPS, endpoint=False)
    for start in range(0, len(rows), CHUNK):
        found = model.conditional(rows[start : start + CHUNK], column)
        ends = found.ppf(PLACES)
        grid = (ends[:, :-1, None] + np.diff(ends)[:, :, None] * between).reshape(len(ends), -1)
        worst = max(worst, float(np.abs(np.trapezoid(found.pdf(grid), grid, axis=1) - 1).max()))
    return worst, float(density.error.max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--checked", type=int, default=1000, help="rows whose mass is summed")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--n-open", type=int, default=1, help="columns that are not given, the last ones")
    parser.add_argument("--n-jobs", type=int)
    parser.add_argument("--models", nargs="+", choices=list(models()), help="default: all")
    options = parser.parse_args()
    print(f"{'':26s}{'method':>11s}", *(f"{name:>8s}" for name in questions(0, None)), "    mass  estimate")
    for name, build in models(options.n_jobs).items():
        if options.models is not None and name not in options.models:
            continue
        model = build()
        samples = np.asarray(model.sample(options.rows, 1), np.float64)
        column = samples.shape[1] - 1
        rows = samples.copy()
        rows[:, -options.n_open :] = np.nan
        model.conditional(rows[:2], column).mean()  # what all questions share
        spent = seconds(model, rows, column, samples[:, column:], options.turns)
        mass, estimate = mass_error(model, rows[: options.checked], column)
        method = model.conditional(rows[:2], column).method
        print(f"{name:26s}{method:>11s}", *(f"{s:8.2f}" for s in spent.values()), f"{mass:8.0e}  {estimate:8.0e}", flush=True)


if __name__ == "__main__":
    main()
