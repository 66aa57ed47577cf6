"""Held-out likelihood against seconds of one core, on densities and tables of benchmarks/quality.

    pip install ".[peers]" normflows
    python benchmarks/time_to_quality.py [--models GaussianMixture "zuko NSF"] [--data moons-0.1 quakes --sizes 1000] [--states 1]
                                         [--limit 120] [--json curves.json] [--chart curves.png]

A curve is what a user would have after so many seconds:

- nvpflow FlowDensity: a default fit, one point.
- nvpflow time_limit: default fits whose `time_limit` is 1/4, 1/2, 1, 2, ... seconds, up to one that ends before its limit. Each
  point is a fit of its own, since a fit ends with choices among what it has tried; its seconds are those that it took.
- flows of zuko, nflows and normflows: Adam with early stopping on a tenth that is held back. After every check that finds better
  parameters, these are scored, with the clock stopped.
- GaussianMixture, with the number of components of the least BIC: a point for each number with a lesser one. The search ends
  later, when three more numbers have been in vain.
- KernelDensity, with a cross-validated bandwidth: one point.

Seconds are CPU time of this process with one thread, user and system, whatever else the machine does. Packages are imported, and
warmed up by a second of a fit to 100 samples, before the clock starts. A fit of more than --limit seconds is cut; without
--limit these are 120, from 100,000 samples on 240. The models of a data set run one after the other.

The target of a data set and random state is --within nats above the least held-out figure of any point of any curve. The first
table says after how many seconds a curve gets there for good. "> 80": not in the 80 seconds that it ran, and would have run on.
"never, 80": not in the 80 seconds after which it stopped by itself. The second table has the seconds of whole fits and the nats
in the end: of densities the gap to the true one, of tables the negative log-likelihood. Medians over those states in which all
models of the data set were run.

Without --data the data sets are those of CASES. A curve that is in the file of --json is not measured again.
Models whose package is missing are left out, with a message. The chart needs matplotlib, limits on seconds a POSIX system.
"""

import argparse
import os
import shlex
import sys
import time

# Before NumPy is imported.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

import nvpflow  # noqa: E402
from quality.data import DATA, cells, draw, is_installed  # noqa: E402
from quality.models import MODELS, OURS, Model  # noqa: E402
from quality.models.units import standardized  # noqa: E402
from quality.models.watching import watched  # noqa: E402
from time_to_quality_curves import FINISHED, Curve, Curves, trace  # noqa: E402
from time_to_quality_report import draw_chart, print_report  # noqa: E402

LIMITED = "nvpflow time_limit"
COMPETITORS = {
    OURS: MODELS[OURS],
    LIMITED: MODELS[OURS],
    **{name: MODELS[name] for name in ("GaussianMixture", "KernelDensity", "zuko NSF", "nflows spline")},
    "normflows spline": Model("normflows_flows", "spline", ("normflows", "torch")),
}
# Fixed before anything was measured: of every kind of density that is there, in the plane and above, about as many of each half.
CASES = (
    *((name, 1000) for name in ("moons-0.1", "staircase", "gaussians-10d", "hidden-moons-10d")),
    *((name, DATA[name].sizes[0]) for name in ("quakes", "concrete", "stocks", "saratoga")),
    *((name, 10_000) for name in ("moons-0.1", "gaussians-10d", "gamma-copula-6d", "hidden-moons-10d")),
    *((name, 100_000) for name in ("figure-eight", "five-bananas-10d")),
)
SIZES = (1000, 10_000, 100_000)
MANY, LIMIT, LIMIT_OF_MANY = 100_000, 120.0, 240.0  # samples; seconds of a fit to less, and of one to at least so many


def scorer(held_out, log_true):
    """How many nats a model's held-out log-density is below the true one, or of a table the mean negative log-density."""

    def score(log_prob):
        with np.errstate(all="ignore"):
            return float(np.mean(log_true - np.asarray(log_prob(held_out), np.float64)))

    return score


def measure(name, x, score, state, limit):
    """The curve of a model."""
    if name == LIMITED:
        return limited_curve(x, score, state, limit)
    model = COMPETITORS[name]

    def fit(watch):
        def in_own_units(log_prob):
            watch(standardized(lambda *_: log_prob)(x, state))

        with watched(in_own_units):
            return model.fit(x, seed=state)

    return trace(fit, score, limit)


def limited_curve(x, score, state, limit):
    """Of fits with a time limit, which doubles until a fit ends before it."""
    points, seconds, is_limited = [], 0.25, True

    def fit(_):
        nonlocal is_limited
        begin = time.monotonic()  # as the limit has it
        model = nvpflow.FlowDensity(random_state=state, time_limit=seconds).fit(x)
        is_limited = time.monotonic() - begin >= seconds
        return model.score_samples

    while is_limited:
        one = trace(fit, score, limit)
        points += one.points
        if one.end != FINISHED:
            break
        seconds *= 2
    return Curve(sorted(points), one.seconds, one.end)


def warm_up(name, x):
    """Imports and whatever else happens once in a process."""
    COMPETITORS[name].load()
    trace(lambda _: COMPETITORS[name].fit(x[:100], seed=0), lambda _: 0.0, None if "nvpflow" in name else 1.0)


def measure_missing(chosen, names, states, limit, curves):
    """Add the curves that are missing."""
    command = shlex.join(["python", "benchmarks/time_to_quality.py", *sys.argv[1:]])
    for state in range(states):
        for data, n in chosen:
            (x, *_), (held_out, *_), log_true = draw(data, n, state)
            for name in names:
                key = data, n, name, state
                if n > COMPETITORS[name].largest or not COMPETITORS[name].is_installed or key in curves.curves:
                    continue
                warm_up(name, x)
                seconds = limit or (LIMIT_OF_MANY if n >= MANY else LIMIT)
                curve = measure(name, x, scorer(held_out, log_true), state, seconds)
                curves.add(key, curve, COMPETITORS[name].software(), command)
                said = f"{curve.nats:.3f} after {curve.seconds:.3g} s, {curve.end}"
                print(f"{data}, n = {n}, state {state}, {name}: {said}", file=sys.stderr, flush=True)


def selected(data, sizes):
    """The cells that are asked for: without names those of CASES."""
    chosen = cells(data, sizes) if data else [case for case in CASES if case[1] in sizes or DATA[case[0]].sort == "table"]
    for name in {name for name, _ in chosen if not is_installed(name)}:
        print(f'without {name}: its package is missing; pip install "nvpflow[tables]"', file=sys.stderr)
    return [cell for cell in chosen if is_installed(cell[0])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [name for name, row in DATA.items() if row.sort in ("density", "table")]
    parser.add_argument("--data", nargs="+", choices=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--sizes", nargs="+", type=int, choices=SIZES, default=SIZES, help="of densities")
    parser.add_argument("--models", nargs="+", choices=COMPETITORS, default=tuple(COMPETITORS), metavar="NAME",
                        help=f"those to run: {', '.join(COMPETITORS)}; the tables have all that the file has")  # fmt: skip
    parser.add_argument("--states", type=int, default=1, help="random states, counted from 0")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="of a fit")
    parser.add_argument("--within", type=float, default=0.02, help="nats")
    parser.add_argument("--chart", metavar="FILE", help="a picture of the curves")
    parser.add_argument("--json", metavar="FILE", help="keep the curves there; those that it has are not measured again")
    options = parser.parse_args()
    for name in [name for name in options.models if not COMPETITORS[name].is_installed]:
        print(f"without {name}: install {' and '.join(COMPETITORS[name].packages)}", file=sys.stderr)
    chosen, known = selected(options.data, options.sizes), Curves(options.json)
    measure_missing(chosen, options.models, options.states, options.limit, known)
    curves = known.of(chosen, COMPETITORS)
    if not curves:
        sys.exit("nothing to measure: none of the data has one of these sizes, or no model is installed")
    print_report(curves, list(COMPETITORS), options.within)
    if options.chart:
        draw_chart(curves, list(COMPETITORS), options.chart)


if __name__ == "__main__":
    main()
