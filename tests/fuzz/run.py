"""Fuzzes what reads from strangers: files of models in C and Python, tables, and the arguments of the command line.

    python tests/fuzz/run.py                              # each target for 60 seconds
    python tests/fuzz/run.py --seconds 3600 load decode   # those in C for an hour each
    python tests/fuzz/run.py --found inputs --jobs 2      # two at a time; keep inputs that reach new code
    python tests/fuzz/run.py --seed 7 --first 5000 files  # go on at an input of a Python target, or repeat a fault

Prints how many inputs each target ran. Ends with an error at the first fault: of a C target the input stands in the directory of
`--found`, of a Python target its number is told.
"""

import argparse
import functools
import importlib
import itertools
import random
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

import c_targets

IN_PYTHON = ("files", "tables", "arguments")


def fuzz_in_python(name, seconds, seed, first):
    """Run a target. Return how many inputs it ran, and how many of them were accepted."""
    target, end, accepted = importlib.import_module(f"fuzz_{name}"), time.monotonic() + seconds, 0
    warnings.simplefilter("ignore")  # of models that nobody would fit
    for number in itertools.count(first):
        if number > first and time.monotonic() >= end:
            return number - first, accepted
        example = target.EXAMPLES(random.Random(f"{seed} {number}"))
        try:
            accepted += target.check(example)
        except BaseException as error:
            raise AssertionError(f"{name}: --seed {seed} --first {number}: {str(example)[:3000]}") from error


def fuzz(name, seconds, seed, first, found, programs):
    """Run a target, and return what to print."""
    if name in IN_PYTHON:
        n, accepted = fuzz_in_python(name, seconds, seed, first)
        return f"{name}: {n:,} inputs, {accepted:,} accepted, no fault"
    return f"{name}: {c_targets.fuzz(name, programs[name], seconds, seed, found / name):,} inputs, no fault"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=[*c_targets.TARGETS, *IN_PYTHON], help="by default all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (1)")
    parser.add_argument("--seed", type=int, default=1, help="(1)")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of a Python target (0)")
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
        given = {"seconds": options.seconds, "seed": options.seed, "first": options.first}
        run = functools.partial(fuzz, **given, found=found.resolve(), programs=programs)
        with ProcessPoolExecutor(options.jobs) as pool:
            for line in pool.map(run, targets):
                print(line, flush=True)


if __name__ == "__main__":
    main()
