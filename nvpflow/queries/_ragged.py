"""Arrays whose rows have different numbers of entries, one after another."""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Floats, Ints

__all__ = ["find", "gather", "starts_of"]


def starts_of(row: Ints, n: int) -> Ints:
    """Where the entries of each of n rows begin, from the rows of the entries in increasing order."""
    return np.searchsorted(row, np.arange(n))


def gather(starts: Ints, total: int, rows: Ints) -> tuple[Ints, Ints]:
    """The places of all entries of some rows, and the number in `rows` that each belongs to."""
    counts = np.diff(starts, append=total)[rows]
    ends = np.cumsum(counts)
    owner = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
    return starts[rows][owner] + within, owner


def find(row: Ints, keys: Floats, starts: Ints, total: int, rows: Ints, values: Floats) -> Ints:
    """For each value the last entry of its row whose key is at most the value, or the first entry of the row.

    Keys are in [0, 1], and increase within a row.
    """
    place = np.searchsorted(row + keys, rows + values, side="right") - 1
    ends = np.append(starts[1:], total)
    found: Ints = np.clip(place, starts[rows], ends[rows] - 1)
    return found
