"""A default fit beside the article's training in PyTorch: seconds of one core, turn by turn.

    pip install ".[peers]"
    python benchmarks/article.py [--data moons-0.1 quakes] [--sizes 1000 10000] [--repeats 5] [--json article.json]

The article's training is 1000 full-batch steps of Adam on 8 affine coupling layers of hidden size 64, in the data's own number of
columns. All its steps take the same time, so a part of them is run, STEPS, and the seconds are those times 1000 / STEPS. A turn is
one default fit of FlowDensity, to other samples and with another random state than in the turns before, and that part of the
article's training, to the same samples. Seconds are CPU time of this process with one thread, user and system. Figures are medians
over the turns, with the least and the greatest. "held out" is what the default fit reaches: of densities the gap to the true one,
of tables the negative log-likelihood, in nats.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

# Before NumPy is imported.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402

import nvpflow  # noqa: E402
import peers  # noqa: E402
from moons import processor  # noqa: E402
from quality.data import DATA, cells, draw  # noqa: E402

STEPS_OF_ARTICLE = 1000
STEPS = {1000: 1000, 3000: 100, 50_000: 20}  # that are run, of at least so many samples
CASES = (
    *((name, 1000) for name in ("moons-0.1", "swiss-roll", "gaussians-10d", "banana-chains-10d")),
    *((name, 10_000) for name in ("moons-0.1", "checkerboard", "gaussians-10d", "banana-chains-10d")),
    *((name, DATA[name].sizes[0]) for name in ("quakes", "housing")),
    *((name, 100_000) for name in ("checkerboard", "banana-chains-10d")),
    ("diamonds", DATA["diamonds"].sizes[0]),
)


def seconds_of(function):
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def article_training(x, steps):
    """Seconds of the article's training."""
    peers.torch.manual_seed(0)
    dim, x = x.shape[1], peers.torch.from_numpy((x - x.mean(axis=0)) / x.std(axis=0)).float()
    masks = [[float((d + layer + 1) % 2) for d in range(dim)] for layer in range(8)]
    flow = peers.Flow(peers.CouplingLayer(dim, 64, mask) for mask in masks)
    seconds, _ = seconds_of(lambda: peers.train(flow, x, steps))
    return seconds * STEPS_OF_ARTICLE / steps


def turn(name, n, state):
    """Seconds of both, and what the fit is worth."""
    (x, *_), (held_out, *_), log_true = draw(name, n, state)
    seconds, model = seconds_of(lambda: nvpflow.FlowDensity(random_state=state).fit(x))
    steps = next(steps for least, steps in reversed(STEPS.items()) if len(x) >= least or least == min(STEPS))
    return seconds, article_training(x, steps), float(np.mean(log_true - model.score_samples(held_out)))


def spread(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [name for name, row in DATA.items() if row.sort in ("density", "table")]
    parser.add_argument("--data", nargs="+", choices=known, metavar="NAME", help="instead of those of CASES")
    parser.add_argument("--sizes", nargs="+", type=int, help="of densities")
    parser.add_argument("--repeats", type=int, default=5, metavar="TURNS")
    parser.add_argument("--json", metavar="FILE", help="keep the figures of each turn there")
    options = parser.parse_args()
    chosen = cells(options.data, options.sizes) if options.data else CASES
    peers.torch.set_num_threads(1)
    turn("moons-0.1", 200, 0)  # warm up
    print(f"{processor()}; Python {platform.python_version()}, NumPy {np.__version__}, PyTorch {peers.torch.__version__}")
    print(f"nvpflow {nvpflow.__version__} beside the article's training, {options.repeats} turns, median (least to greatest)")
    print("| data | n | `FlowDensity()`, s | article in PyTorch, s | share | held out, nats |\n" + "| --- " * 6 + "|")
    results = []
    for name, n in chosen:
        if options.sizes and n not in options.sizes and DATA[name].sort == "density":
            continue
        turns = [turn(name, n, state) for state in range(options.repeats)]
        ours, theirs, nats = zip(*turns)
        shares = [a / b for a, b in zip(ours, theirs)]
        print(
            f"| `{name}` | {n:,} | {spread(ours)} | {spread(theirs)} | {spread(shares)} | {statistics.median(nats):.3f} |",
            flush=True,
        )
        results.append({"data": name, "n": n, "nvpflow_seconds": ours, "article_seconds": theirs, "held_out": nats})
    if options.json:
        Path(options.json).write_text(json.dumps({"processor": processor(), "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
