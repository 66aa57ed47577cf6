"""What the scripts of this folder share: three seeds, seconds, the processor, and a table of medians and ranges."""

import argparse
import platform
import sys
import time
from pathlib import Path

import numpy as np


def processor():
    """The name of the processor, as Linux gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def options(description, problems=None, **defaults):
    """The command line: --seeds, --problems if there are some, and an option for each of `defaults`, which are whole numbers."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, default=3)
    if problems is not None:
        parser.add_argument("--problems", nargs="+", choices=list(problems), default=list(problems))
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    return parser.parse_args()


class Clock:
    """Adds up the processor's seconds: `with clock:` around what counts."""

    def __init__(self):
        self.seconds = 0.0

    def __enter__(self):
        self._start = time.process_time()
        return self

    def __exit__(self, *error):
        self.seconds += time.process_time() - self._start

    def around(self, function):
        """The function, counted."""

        def counted(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return counted


def spread(values):
    """The median, and the range in brackets."""
    values = np.asarray(values, dtype=float)
    return f"{np.median(values):.4g} [{values.min():.4g}, {values.max():.4g}]"


def say(*words):
    """Tell how far it is, beside the tables."""
    print(*words, file=sys.stderr, flush=True)


def table(title, rows):
    """Print {model: {figure: values of all seeds}} as a Markdown table."""
    columns = list(next(iter(rows.values())))
    print(f"\n{title}, {processor()}\n")
    print("| | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for model, figures in rows.items():
        print(f"| {model} | " + " | ".join(spread(figures[name]) for name in columns) + " |", flush=True)
