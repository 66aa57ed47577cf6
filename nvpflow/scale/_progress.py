"""Progress of passes over rows: a bar in a terminal or a notebook, lines elsewhere, with the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nvpflow.progress import progress_bar

__all__ = ["watched_rows"]


@contextmanager
def watched_rows(what: str, n_rows: int | None, verbose: int) -> Iterator[Callable[[int], None]]:
    """A function that is told of the rows that were read, in a pass over `n_rows`; None: over an unknown number."""
    if not verbose:
        yield lambda n: None
        return
    bar = progress_bar(n_rows, sys.stderr, " rows", desc=what, unit_scale=True)
    start, seen, parts = time.monotonic(), 0, 5 * verbose

    def show(n: int) -> None:
        nonlocal seen
        before, seen = seen, seen + n
        if bar is not None:
            bar.update(n)
        elif n_rows and seen * parts // n_rows != before * parts // n_rows:
            left = (time.monotonic() - start) * (n_rows - seen) / seen
            print(f"{what}: {seen / n_rows:.0%} of {n_rows:,} rows, {left:.0f} s left", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()
