"""How well nvpflow models densities, measured beside what a user would pick instead, over many random states.

    pip install ".[peers]"
    python benchmarks/quality.py [--data moons-0.1 ...] [--models "nvpflow FlowDensity" ...] [--states 20] [--n 10000]
                                 [--json quality.json] [--chart quality.png]

On densities whose logarithm is known exactly (densities.py) a model's figure is its gap, the mean over 10,000 held-out
points of log p_true - log p_model: an estimate of the Kullback-Leibler divergence, 0 for a perfect model. On tables
(real_tables.py) it is the mean negative log-likelihood of the held-out fifth. All figures are in nats; one is inf if
that of any point is not finite. A random state stands for the samples, the held-out points and the model's own choices.
The time is the processor's, of the fit alone, on one thread.

Without --models nvpflow is run, and figures of the others are taken from quality_peers.json, marked with *. With --json
every figure is written as soon as it is known, and a figure that is already there is not measured again, nvpflow's only
if its code is the same.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from densities import DENSITIES
from moons import processor
from quality_models import MISSING, MODELS, OURS, software
from real_tables import TABLES, split

STORED = Path(__file__).parent / "quality_peers.json"
N_HELD_OUT = 10_000


class Results:
    """Figures by (data, n, model, state), kept in a JSON file if there is a path."""

    def __init__(self, path=None):
        self.path, self.figures = path and Path(path), {}
        if self.path and self.path.exists():
            for figure in json.loads(self.path.read_text()):
                self._put(figure)

    def _put(self, figure):
        self.figures[figure["data"], figure["n"], figure["model"], figure["state"]] = figure

    def add(self, figure):
        self._put(figure)
        if self.path:
            lines = ",\n".join(json.dumps(figure) for figure in self.figures.values())
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text(f"[\n{lines}\n]\n")
            temporary.replace(self.path)

    def of(self, data, n, model):
        return [figure for key, figure in self.figures.items() if key[:3] == (data, n, model)]


def runs(data, n):
    """(data, n) of every run; moons with 1000 samples, too, and tables with what their split leaves."""
    for name in data:
        if name in TABLES:
            yield name, len(split(name, np.random.default_rng(0))[0])
        else:
            for size in sorted({1000, n} if name.startswith("moons") else {n}):
                yield name, size


def draw(name, n, state):
    """Training samples, held-out samples, and the exact log-density of these, for tables 0."""
    rng = np.random.default_rng(state)
    if name in TABLES:
        return *split(name, rng), 0.0
    density = DENSITIES[name]
    train, held_out = density.sample(n, rng), density.sample(N_HELD_OUT, rng)
    return train, held_out, density.log_prob(held_out)


def measure(model, samples, state):
    """The figure of one model, or None (JSON knows no inf) if it is not finite, and the seconds of its fit."""
    train, held_out, log_true = samples
    start = time.process_time()
    log_prob = MODELS[model](train, state)
    seconds = time.process_time() - start
    figure = float(np.mean(log_true - np.asarray(log_prob(held_out), np.float64)))
    return figure if math.isfinite(figure) else None, seconds


def run(data, n, models, states, results):
    """Everything that `results` do not hold yet, all of one state before the next."""
    where = processor()
    for state in range(states):
        for name, size in runs(data, n):
            samples = None
            for model in models:
                known, code = results.figures.get((name, size, model, state)), software(model)
                if known and (model not in OURS or known["software"] == code):
                    continue
                samples = samples or draw(name, size, state)
                value, seconds = measure(model, samples, state)
                figure = {"data": name, "n": size, "model": model, "state": state, "nats": value}
                results.add(figure | {"cpu_seconds": seconds, "software": code, "processor": where})
                print(f"{name}, n = {size}, state {state}, {model}: {value} nats, {seconds:.3g} s", file=sys.stderr)


def values(figures):
    return [math.inf if figure["nats"] is None else figure["nats"] for figure in figures]


def rows(name, n, results, stored):
    """(model, mark, figures) of a run, those measured here before stored ones, the best median first."""
    found = []
    for model in {figure["model"]: None for source in (results, stored) for figure in source.figures.values()}:
        figures, mark = results.of(name, n, model), ""
        if not figures:
            figures, mark = stored.of(name, n, model), "*"
        if figures:
            found.append((model, mark, figures))
    return sorted(found, key=lambda row: statistics.median(values(row[2])))


def report(data, n, results, stored):
    """Print the table of every run."""
    marked = []
    for name, size in runs(data, n):
        if name in TABLES:
            print(f"\n{name}, {size} samples; held-out NLL in nats")
        else:
            entropy, error = DENSITIES[name].entropy()
            uncertain = f" +- {error:.4f}" if error else ""
            print(f"\n{name}, {size} samples; gap to the entropy, {entropy:.4f}{uncertain} nats")
        print(f"  {'':20s} {'median':>9s} {'worst':>9s} {'CPU s':>9s} {'states':>7s}")
        for model, mark, figures in rows(name, size, results, stored):
            nats, seconds = values(figures), statistics.median(figure["cpu_seconds"] for figure in figures)
            print(f"  {model + mark:20s} {statistics.median(nats):9.4g} {max(nats):9.4g} {seconds:9.3g} {len(nats):7d}")
            marked += figures if mark else []
    if marked:
        where = {figure["processor"] for figure in marked} | {figure["software"] for figure in marked}
        print(f"\n* from {STORED.name}: {'; '.join(sorted(where))}")


def chart(path, data, n, results, stored):
    """A panel for every run: the median of each model, and a line from the best state to the worst.

    What is far behind the best model is drawn as an arrow at the edge, so that the others can be told apart.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    panels = list(runs(data, n))
    n_rows = -(-len(panels) // 2)
    figure = Figure(figsize=(12, 2.6 * n_rows), layout="constrained")
    for i, (name, size) in enumerate(panels):
        axes = figure.add_subplot(n_rows, 2, i + 1)
        found = rows(name, size, results, stored)
        edge = min((statistics.median(values(figures)) for _, _, figures in found), default=0)
        edge += 30 if name in TABLES else 2
        for model, mark, figures in found:
            nats, color, label = values(figures), "#2066ad" if model in OURS else "0.5", model + mark
            ends = [min(value, edge) for value in (min(nats), statistics.median(nats), max(nats))]
            axes.plot(ends, [label] * 3, color=color)
            axes.plot(ends[1], label, "o" if ends[1] < edge else ">", color=color)
            if ends[2] == edge:
                axes.plot(edge, label, ">", color=color)
        axes.invert_yaxis()
        axes.set_xscale("linear" if name in TABLES else "log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(f"{name}, {size} samples", loc="left")
        axes.set_xlabel("held-out NLL, nats" if name in TABLES else "gap to the entropy, nats")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)


def main():
    known = [*DENSITIES, *TABLES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", "--densities", nargs="+", choices=known, default=known, metavar="NAME",
                        help=", ".join(known))  # fmt: skip
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(OURS), metavar="MODEL",
                        help=f"those to run: {', '.join(MODELS)}; none prints what is known")  # fmt: skip
    parser.add_argument("--states", type=int, default=20, help="random states, counted from 0")
    parser.add_argument("--n", type=int, default=10_000, help="samples of the densities")
    parser.add_argument("--json", metavar="FILE", help="keep all figures there")
    parser.add_argument("--chart", metavar="FILE", help="draw them there")
    options = parser.parse_args()
    if MISSING:
        print(f"the peers of PyTorch cannot be run, {MISSING} is missing", file=sys.stderr)
    results, stored = Results(options.json), Results(STORED)
    run(options.data, options.n, options.models, options.states, results)
    report(options.data, options.n, results, stored)
    if options.chart:
        chart(options.chart, options.data, options.n, results, stored)


if __name__ == "__main__":
    main()
