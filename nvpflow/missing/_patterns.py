"""Rows with the same missing cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Ints

__all__ = ["Mask", "patterns"]

Mask = npt.NDArray[np.bool_]


def patterns(missing: Mask) -> Iterator[tuple[Mask, Ints]]:
    """Group the rows of a mask (n, D). Yield the pattern (D,) and the numbers of its rows, in order."""
    packed = np.packbits(missing, axis=1)
    _, first, group = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(group.ravel()))
    for row, rows in zip(first, np.split(order, ends[:-1])):
        yield missing[row], rows
