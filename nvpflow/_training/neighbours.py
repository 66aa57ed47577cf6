"""An order of rows in which those near each other in space follow one another: the leaves of a tree that halves them."""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Floats, Ints

__all__ = ["order_of_neighbours"]

LEAF = 128  # rows, as in a group of the core's expectation steps


def order_of_neighbours(x: Floats) -> Ints:
    """The rows (n,) of samples x (n, D) in this order. Leaves have LEAF rows, except the last one.

    Each part is halved across its principal axis: Verma, Kpotufe and Dasgupta (2009), "Which spatial partition trees are
    adaptive to intrinsic dimension?".
    """
    return np.concatenate(_leaves(x.astype(np.float64), np.arange(len(x))))


def _leaves(x: Floats, rows: Ints) -> list[Ints]:
    n_leaves = -(-len(rows) // LEAF)
    if n_leaves <= 1:
        return [rows]
    offsets = x[rows] - x[rows].mean(axis=0)
    place, n_first = offsets @ np.linalg.eigh(offsets.T @ offsets)[1][:, -1], n_leaves // 2 * LEAF
    order = np.argpartition(place, n_first)
    return _leaves(x, rows[order[:n_first]]) + _leaves(x, rows[order[n_first:]])
