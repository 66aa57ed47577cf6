"""How well nvpflow models densities, measured beside what a user would pick instead, over many random states.

    pip install ".[peers]"
    python benchmarks/quality [--data claw ring ...] [--sort density] [--half choose] [--n 200 1000]
                              [--models "nvpflow FlowDensity" GaussianMixture ...] [--states 5] [--json quality.json]

On densities and conditional tasks whose logarithm is known exactly (densities/, conditional.py, supports.py) a model's figure is its gap,
the mean over 10,000 held-out points of log p_true - log p_model: an estimate of the Kullback-Leibler divergence, 0 for a
perfect model. On tables (tables.py) it is the mean negative log-likelihood of the held-out fifth. All figures are in nats;
one is inf if that of any point is not finite, or if the fit fails. A random state stands for the samples, the held-out points
and the model's own choices. The time is the processor's, of the fit alone, on one thread.

Everything is in one of two halves, of the same kinds: "choose", by which defaults may be chosen, and "report", on which
nobody tunes. They are printed apart.

Without --models nvpflow is run, and figures of the others are taken from figures.json, which holds the commands that made
them. With --json every figure is written as soon as it is known, and one that is already there is not measured again,
nvpflow's only if its code is the same.
"""

import argparse
import shlex
import sys
from pathlib import Path

from quality.data import DATA, HALVES, SORTS, cells, is_installed
from quality.models import CONDITIONAL_MODELS, MODELS, OURS, SUPPORT_MODELS
from quality.report import collect, print_details, print_report
from quality.results import Results
from quality.run import run

STORED = Path(__file__).parent / "figures.json"


def main():
    models = MODELS | CONDITIONAL_MODELS | SUPPORT_MODELS
    parser = argparse.ArgumentParser(
        prog="python benchmarks/quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA), metavar="NAME", help=", ".join(DATA))
    parser.add_argument(
        "--sort", nargs="+", choices=SORTS, default=SORTS, help="densities, tables, conditional tasks, columns with a support"
    )
    parser.add_argument("--half", nargs="+", choices=HALVES, default=HALVES)
    parser.add_argument("--n", nargs="+", type=int, metavar="N", help="of the declared sizes of densities and tasks")
    parser.add_argument("--models", nargs="*", choices=list(models), default=[OURS], metavar="MODEL",
                        help=f"those to run: {', '.join(models)}; none prints what is known")  # fmt: skip
    parser.add_argument("--states", type=int, default=5, help="random states, or splits of tables, counted from 0")
    parser.add_argument("--json", metavar="FILE", help="keep all figures there")
    parser.add_argument(
        "--details",
        action="store_true",
        help="print worst states, seconds, shares of samples outside the support, and software as well",
    )
    options = parser.parse_args()

    names = [name for name in options.data if DATA[name].sort in options.sort and DATA[name].half in options.half]
    for missing in [name for name in options.models if not models[name].is_installed]:
        print(f"{missing} is left out, as a package is missing: {', '.join(models[missing].packages)}", file=sys.stderr)
    if missing := [name for name in names if not is_installed(name)]:
        print(f"tables whose package is missing are left out: {', '.join(missing)}", file=sys.stderr)
    found = cells([name for name in names if is_installed(name)], options.n)
    results, stored = Results(options.json), Results(STORED)
    run(found, options.models, options.states, results, shlex.join(["python", "benchmarks/quality", *sys.argv[1:]]))
    figures = collect(found, results, stored)
    print_report(figures)
    if options.details:
        print_details(figures)
