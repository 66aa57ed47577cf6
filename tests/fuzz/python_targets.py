"""The fuzz targets in Python: modules with `EXAMPLES`, which draws an input, and `check`, which says whether it was accepted.

Each input has a number, and is a literal that can be written to a file and read again.
"""

import ast
import contextlib
import importlib
import itertools
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from fault import Fault

TARGETS = ("files", "tables", "arguments")
CORPUS = Path(__file__).resolve().parent / "corpus"
MOST_SECONDS = 60  # for an input
MOST_MEMORY = 4 << 30  # bytes


def prepare(directory):
    """Let this process write into a directory."""
    tempfile.tempdir = directory
    warnings.simplefilter("ignore")  # of models that nobody would fit


@contextlib.contextmanager
def limited_memory():
    """An input that takes too much memory ends in a MemoryError. Programs that are started meanwhile have the same limit."""
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY if hard == resource.RLIM_INFINITY else min(MOST_MEMORY, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


class TooSlow(BaseException):
    """An input takes too long. The code under test must not take this for an error of its own."""


@contextlib.contextmanager
def limited_time():
    def stop(*_):
        raise TooSlow(f"more than {MOST_SECONDS} seconds")

    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, stop)
        signal.alarm(MOST_SECONDS)
    yield
    if hasattr(signal, "SIGALRM"):
        signal.alarm(0)


def inputs(name, seed, first):
    """(name, input) of those in the corpus and of as many random ones as are wanted."""
    for path in sorted((CORPUS / name).glob("*")):
        yield path.name, ast.literal_eval(path.read_text())
    examples = importlib.import_module(f"fuzz_{name}").EXAMPLES
    for number in itertools.count(first):
        yield f"{seed}-{number}", examples(random.Random(f"{seed} {number}"))


def replay(name, path):
    check(name, ast.literal_eval(Path(path).read_text()))


def check(name, example):
    """Return whether a target accepted an input."""
    with limited_time():
        return importlib.import_module(f"fuzz_{name}").check(example)


def fuzz(name, seconds, seed, first, faults):
    """Run a target. Return how many inputs it ran, and how many of them were accepted; a Fault has the one that failed."""
    n, accepted, end = 0, 0, time.monotonic() + seconds
    for of, example in inputs(name, seed, first):
        if n > 0 and time.monotonic() >= end:
            break
        try:
            with limited_memory():
                accepted += check(name, example)
        except BaseException as error:
            faults.mkdir(parents=True, exist_ok=True)
            path = faults / f"{name}-{of}"
            path.write_text(repr(example))
            raise Fault(path, traceback.format_exc()) from error
        n += 1
    return n, accepted
