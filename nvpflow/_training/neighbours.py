"""An order of rows in which those near each other in space follow one another: the leaves of a tree that halves them."""

from __future__ import annotations

import numpy as np

from nvpflow._training.statistics import blocks
from nvpflow._typing import Floats, Ints

__all__ = ["order_of_neighbours"]

LEAF = 128  # rows, as in a group of the core's expectation steps
MOST_FOR_AXIS = 16_384  # rows that tell the axis of a part


def order_of_neighbours(x: Floats) -> Ints:
    """The rows (n,) of samples x (n, D) in this order. Leaves have LEAF rows, except the last one.

    Each part is halved across its principal axis: Verma, Kpotufe and Dasgupta (2009), "Which spatial partition trees are
    adaptive to intrinsic dimension?".
    """
    rows: Ints = np.arange(len(x)).astype(np.int32 if len(x) <= np.iinfo(np.int32).max else np.intp)
    _sort_by_leaves(x, rows)
    return rows


def _sort_by_leaves(x: Floats, rows: Ints) -> None:
    """In place, which takes less memory."""
    n_leaves = -(-len(rows) // LEAF)
    if n_leaves <= 1:
        return
    n_first = n_leaves // 2 * LEAF
    rows[:] = rows[np.argpartition(_places(x, rows), n_first)]
    _sort_by_leaves(x, rows[:n_first])
    _sort_by_leaves(x, rows[n_first:])


def _places(x: Floats, rows: Ints) -> Floats:
    """Where rows lie along the principal axis of some of them."""
    some = x[rows[:: -(-len(rows) // MOST_FOR_AXIS)]].astype(np.float64)
    mean = some.mean(axis=0)
    offsets, places = some - mean, np.empty(len(rows), x.dtype)
    axis = np.linalg.eigh(offsets.T @ offsets)[1][:, -1]
    for part in blocks(len(rows)):
        places[part] = (x[rows[part]] - mean) @ axis
    return places
