"""Redshifts of galaxies given their magnitudes: posteriors of nvpflow and of pzflow, on the galaxies that pzflow comes with.

Both fit the joint density of redshift and six magnitudes to the same rows, and give the density of the redshift on the same grid
for other rows. Log-likelihood of the true redshift (nats, more is better), CRPS (less is better), the share of true redshifts in
central 90 % intervals, and the largest distance of the distribution of PIT values from the uniform one; seconds of fit and
posteriors, one after the other on the same machine. Posteriors of nvpflow may be narrower than the grid: "exact" are coverage and
PIT by its distribution functions, and "calibrated" those after half of the test rows have checked them, on the other half.

    python benchmarks/redshift.py [--rows 20000] [--test 4000] [--epochs 30] [--json results.json]   (pip install pzflow)
    python benchmarks/redshift.py --models nvpflow --draws 0 1 2 3 4    (other galaxies to learn from and to judge by)
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import nvpflow

GRID = np.linspace(0, 2.5, 1001)
LEVEL = 0.9


def scores(pdfs, truth):
    """Figures of densities (n, G) on GRID, whose integral is 1, for true values (n,)."""
    step = GRID[1] - GRID[0]
    below = np.concatenate([np.zeros((len(pdfs), 1)), np.cumsum((pdfs[:, 1:] + pdfs[:, :-1]) / 2 * step, axis=1)], axis=1)
    pit = np.array([np.interp(value, GRID, row) for value, row in zip(truth, below)])
    density = np.array([np.interp(value, GRID, row) for value, row in zip(truth, pdfs)])
    crps = ((below - (truth[:, np.newaxis] <= GRID)) ** 2).sum(axis=1) * step
    coverage, distance = of_levels(pit)
    return {
        "log_likelihood": float(np.log(np.maximum(density, 1e-12)).mean()),
        "crps": float(crps.mean()),
        "coverage": coverage,
        "pit_distance": distance,
    }


def of_levels(pit):
    ranks = (np.arange(len(pit)) + 0.5) / len(pit)
    return float((np.abs(pit - 0.5) <= LEVEL / 2).mean()), float(np.abs(np.sort(pit) - ranks).max())


def of_nvpflow(train, test):
    start = time.perf_counter()
    model = nvpflow.FlowDensity(support={"redshift": "positive"}, random_state=0).fit(train)
    fitted = time.perf_counter()
    pdfs = model.posterior(test, "redshift", GRID)
    found = {"fit_seconds": fitted - start, "posterior_seconds": time.perf_counter() - fitted}
    given, truth = model.conditional(test, "redshift"), test["redshift"].to_numpy(np.float64)[:, np.newaxis]
    found |= {"method": given.method}
    found["exact_coverage"], found["exact_pit_distance"] = of_levels(given.cdf(truth)[:, 0])
    half = len(test) // 2
    checked = model.conditional(test[half:], "redshift").calibrated(test[:half]).cdf(truth[half:])[:, 0]
    found["calibrated_coverage"], found["calibrated_pit_distance"] = of_levels(checked)
    return found, pdfs


def of_pzflow(train, test, epochs):
    from pzflow import Flow

    start = time.perf_counter()
    flow = Flow(train.columns)
    flow.train(train, epochs=epochs, seed=0)
    fitted = time.perf_counter()
    pdfs = np.asarray(flow.posterior(test, column="redshift", grid=GRID, batch_size=200), np.float64)
    pdfs /= np.trapezoid(pdfs, GRID, axis=1)[:, np.newaxis]
    return {"epochs": epochs, "fit_seconds": fitted - start, "posterior_seconds": time.perf_counter() - fitted}, pdfs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="galaxies to learn from")
    parser.add_argument("--test", type=int, default=4000, help="other galaxies to judge by")
    parser.add_argument("--draws", type=int, nargs="+", default=[0], help="seeds of the choice of galaxies, one after another")
    parser.add_argument("--models", nargs="+", choices=["nvpflow", "pzflow"], default=["nvpflow", "pzflow"])
    parser.add_argument("--epochs", type=int, default=30, help="of pzflow")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    from pzflow.examples import get_galaxy_data

    galaxies, results = get_galaxy_data(), {}
    for draw in options.draws:
        chosen = galaxies.sample(options.rows + options.test, random_state=draw).reset_index(drop=True)
        train, test = chosen.iloc[: options.rows], chosen.iloc[options.rows :]
        for name in options.models:
            figures, pdfs = of_nvpflow(train, test) if name == "nvpflow" else of_pzflow(train, test, options.epochs)
            found = figures | scores(np.nan_to_num(pdfs), test["redshift"].to_numpy(np.float64))
            results[f"{name}, draw {draw}"] = found
            shown = (f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in found.items())
            print(f"{name}, draw {draw}:", *shown, flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
