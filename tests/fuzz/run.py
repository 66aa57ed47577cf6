"""Fuzzes what reads from strangers: files of models in C and Python, tables, and the arguments of the command line.

    python tests/fuzz/run.py                              # each target for 60 seconds
    python tests/fuzz/run.py --seconds 3600 load decode   # those in C for an hour each
    python tests/fuzz/run.py --found inputs --jobs 2      # two at a time; keep inputs that reach new code

Prints how many inputs each target ran. Ends with an error at the first fault: of a C target the input stands in the directory of
`--found`, of a Python target Hypothesis prints the smallest input that it finds, and --seed repeats the run.
"""

import argparse
import functools
import importlib
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

import c_targets

IN_PYTHON = ("files", "tables", "arguments")
ROUND = 300  # inputs of one seed


def fuzz_in_python(name, seconds, first_seed):
    """Run a target, a new seed for each round. Return how many inputs it ran, and how many of them were accepted."""
    target, counts, end = importlib.import_module(f"fuzz_{name}"), [0, 0], time.monotonic() + seconds

    def one(example):
        if time.monotonic() < end or counts[0] == 0:
            counts[1] += target.check(example)
            counts[0] += 1

    rounds = settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    warnings.simplefilter("ignore")  # of models that nobody would fit
    while time.monotonic() < end:
        seed(first_seed)(rounds(given(target.EXAMPLES)(one)))()
        first_seed += 1
    return counts


def fuzz(name, seconds, first_seed, found, programs):
    """Run a target, and return what to print."""
    if name in IN_PYTHON:
        n, accepted = fuzz_in_python(name, seconds, first_seed)
        return f"{name}: {n:,} inputs, {accepted:,} accepted, no fault"
    return f"{name}: {c_targets.fuzz(name, programs[name], seconds, first_seed, found / name):,} inputs, no fault"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=[*c_targets.TARGETS, *IN_PYTHON], help="by default all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (1)")
    parser.add_argument("--seed", type=int, default=1, help="(1)")
    parser.add_argument("--found", type=Path, help="directory for inputs that reach new code (none)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        targets, programs, reason = options.targets, {}, c_targets.why_not(Path(folder))
        in_c = [name for name in targets if name not in IN_PYTHON]
        if reason and in_c:
            print(f"{', '.join(in_c)}: skipped, {reason}")
            targets = [name for name in targets if name in IN_PYTHON]
        elif in_c:
            programs = c_targets.build(Path(folder))
        found = options.found or Path(folder) / "found"
        run = functools.partial(
            fuzz, seconds=options.seconds, first_seed=options.seed, found=found.resolve(), programs=programs
        )
        with ProcessPoolExecutor(options.jobs) as pool:
            for line in pool.map(run, targets):
                print(line, flush=True)


if __name__ == "__main__":
    main()
