"""What the flow reads of categories: numbers that are 1 for one value, or for some rare ones, and else 0."""

from __future__ import annotations

from typing import Self

import numpy as np

from nvpflow._typing import Bools, Floats, Ints

__all__ = ["LEAST_ROWS", "Indicators", "is_shared"]

# Values with fewer rows share an indicator.
LEAST_ROWS = 8.0
MOST_INDICATORS = 32  # of a column; 16 and 64 were as good on 300 values, beside the means of `Effects`


class Indicators:
    """Indicators of categories, a block for each column: those of one block sum to 1.

    Parameters
    ----------
    groups : list of ndarray of int, shapes (V_j,)
        The indicator of each value of a column, counted from 0 in its block. Values may share one.
    """

    def __init__(self, groups: list[Ints]) -> None:
        self.groups = groups
        counts = [int(group.max(initial=-1)) + 1 for group in groups]
        # One indicator alone is 1 everywhere and says nothing.
        self.blocks = tuple(count if count > 1 else 0 for count in counts)
        self.width = sum(self.blocks)

    @classmethod
    def of(cls, counts: list[Floats], most: int = MOST_INDICATORS) -> Self:
        """Choose at most so many indicators for each column, whose values have these counts of rows."""
        return cls([_grouped(count, most) for count in counts])

    def are_outgrown(self, counts: list[Floats], most: int = MOST_INDICATORS) -> bool:
        """Whether a value that shares an indicator would have its own with these counts of rows."""
        new = type(self).of(counts, most)
        return any(bool((is_shared(old) & ~is_shared(own)).any()) for old, own in zip(self.groups, new.groups))

    def of_codes(self, codes: Ints) -> Floats:
        """The indicators (n, B) of codes (n, K)."""
        parts = [
            (group[column][:, np.newaxis] == np.arange(block)).astype(np.float64)
            for group, column, block in zip(self.groups, codes.T, self.blocks)
        ]
        return np.concatenate([np.empty((len(codes), 0)), *parts], axis=1)


def is_shared(group: Ints) -> Bools:
    """Which values (V,) have an indicator in common with others."""
    shared: Bools = np.bincount(group)[group] > 1
    return shared


def _grouped(counts: Floats, most: int) -> Ints:
    """The indicator of each value. The last one is that of all rare values, if there are any; it has enough rows as well."""
    order = np.argsort(-counts, kind="stable")
    n_own = min(int((counts >= LEAST_ROWS).sum()), most)
    rare = order[n_own:]
    while n_own > 0 and len(rare) and counts[rare].sum() < LEAST_ROWS:
        n_own -= 1
        rare = order[n_own:]
    groups = np.empty(len(counts), dtype=np.intp)
    groups[order] = np.minimum(np.arange(len(counts)), n_own)
    return groups
