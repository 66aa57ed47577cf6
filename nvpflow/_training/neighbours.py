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
    some = x.take(rows[:: -(-len(rows) // MOST_FOR_AXIS)], axis=0).astype(np.float64)
    mean = np.full(len(some), 1 / len(some)) @ some
    some -= mean
    axis = np.linalg.eigh(some.T @ some)[1][:, -1]
    if len(some) == len(rows):
        return np.asarray(some @ axis)
    places = np.empty(len(rows), x.dtype)
    for part in blocks(len(rows)):
        places[part] = (x.take(rows[part], axis=0) - mean) @ axis
    return places
