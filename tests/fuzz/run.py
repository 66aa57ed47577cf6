"""Fuzzes what reads from strangers: files of models in C and Python, tables, and the arguments of the command line.

    python tests/fuzz/run.py                              # each target for 60 seconds
    python tests/fuzz/run.py --jobs 2 --seconds 3600 --seed random load decode
    python tests/fuzz/run.py --found inputs load          # keep inputs that reach new code
    python tests/fuzz/run.py --replay PATH files          # repeat a fault

Prints how many inputs each target ran. A fault ends its target and the exit status is 1; the input is kept, and the command that
repeats it is printed. The same seed gives a Python target the same inputs on every machine, as many as there is time for, so that a
fault that shows is one of the change that was made. `--seed random` looks for new ones.
"""

import argparse
import functools
import random
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

import c_targets
import python_targets
from fault import Fault
from workplace import temporary_directory

TARGETS = (*c_targets.TARGETS, *python_targets.TARGETS)


def fuzz(name, options, programs):
    """Run a target. Return whether all is well, and what to print."""
    try:
        if name in python_targets.TARGETS:
            n, accepted = python_targets.fuzz(name, options.seconds, options.seed, options.first, options.faults)
            return True, f"{name}: {n:,} inputs, {accepted:,} accepted, no fault"
        found = (options.found or Path(tempfile.mkdtemp())) / name
        n = c_targets.fuzz(name, programs[name], options.seconds, options.seed, found, options.faults)
        return True, f"{name}: {n:,} inputs, no fault"
    except Fault as fault:
        again = f"; the input is {fault.path}\nrepeat it: python tests/fuzz/run.py --replay {fault.path} {name}"
        return False, f"{fault.said}\n{name}: a fault{again if fault.path else ''}"


def replay(name, path, programs):
    """Repeat a fault: end with an error if it is still there."""
    if name in programs:
        c_targets.replay(programs[name], path)
    else:
        python_targets.replay(name, path)
    print(f"{name}: no fault")
    return 0


def fuzz_all(options, programs, directory):
    targets = [name for name in options.targets if name in python_targets.TARGETS or name in programs]
    print(f"seed {options.seed}", flush=True)
    with ProcessPoolExecutor(options.jobs, initializer=python_targets.prepare, initargs=(directory,)) as pool:
        well = [
            print(line, flush=True) or is_well
            for is_well, line in pool.map(functools.partial(fuzz, options=options, programs=programs), targets)
        ]
    return 0 if all(well) else 1


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="target", help=f"{', '.join(TARGETS)} (all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (1)")
    parser.add_argument("--seed", default="1", help='a number, or "random" (1)')
    parser.add_argument("--first", type=int, default=0, help="number of the first input of a Python target (0)")
    parser.add_argument("--found", type=Path, help="directory for inputs of targets in C that reach new code (none)")
    parser.add_argument(
        "--faults", type=Path, default=Path("build/fuzz"), help="directory for inputs with faults (build/fuzz)"
    )
    parser.add_argument("--replay", type=Path, metavar="PATH", help="run one target on this input alone")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    if options.replay and len(options.targets) != 1:
        parser.error("--replay needs the target of its input")
    options.seed = random.randrange(1, 2**31) if options.seed == "random" else int(options.seed)
    return options


def main():
    options, programs = parse(), {}
    with temporary_directory() as directory, tempfile.TemporaryDirectory() as on_disk:  # where programs may run
        in_c = [name for name in options.targets if name in c_targets.TARGETS]
        if in_c and (reason := c_targets.why_not(Path(on_disk))):
            print(f"{', '.join(in_c)}: skipped, {reason}")
        elif in_c:
            programs = c_targets.build(Path(on_disk))
        if options.replay:
            return replay(*options.targets, options.replay, programs)
        return fuzz_all(options, programs, directory)


if __name__ == "__main__":
    sys.exit(main())
