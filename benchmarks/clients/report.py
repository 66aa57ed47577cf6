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
    """Adds up seconds: `with clock:` around what counts. `now` tells the time, by default that of the wall."""

    def __init__(self, now=time.perf_counter):
        self.seconds, self._now = 0.0, now

    def __enter__(self):
        self._start = self._now()
        return self

    def __exit__(self, *error):
        self.seconds += self._now() - self._start

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


def compare(title, sides, run, seeds):
    """Print the table of `run(side, seed)`, a dict of figures, for {label: side}.

    The sides take turns, so that a busy machine slows down all of them.
    """
    rows = {label: [] for label in sides}
    for seed in range(seeds):
        for label, side in sides.items():
            rows[label].append(run(side, seed))
            say(title, seed, label, rows[label][-1])
    table(title, {label: {name: [figures[name] for figures in of] for name in of[0]} for label, of in rows.items()})
