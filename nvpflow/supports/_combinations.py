"""The distinct rows of codes of categories, and how often each occurs."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from nvpflow._typing import Floats, Ints

__all__ = ["Combinations"]


class Combinations(NamedTuple):
    """Distinct rows of codes.

    Attributes
    ----------
    codes : ndarray of int, shape (M, K)
        In the order of `numpy.unique`. Code v of a column stands for its value v, counted from 0.
    counts : ndarray of float64, shape (M,)
        The weight of each.
    own : ndarray of float64, shape (M,)
        The mean weight of one of its rows, which leaving out a row takes away.
    sizes : tuple of int, length K
        The number of values of each column.
    """

    codes: Ints
    counts: Floats
    own: Floats
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, codes: Ints, weight: Floats | None, sizes: tuple[int, ...]) -> Self:
        """Count rows of codes (n, K), by their weights."""
        weight = np.ones(len(codes)) if weight is None else weight.astype(np.float64)
        unique, inverse, rows = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
        counts = np.bincount(inverse.ravel(), weight, len(unique)).astype(np.float64)
        return cls(unique.astype(np.intp), counts, counts / rows, sizes)

    def and_those(self, other: Self) -> Self:
        """Add the counts of other rows."""
        codes, weight = np.concatenate([self.codes, other.codes]), np.concatenate([self.counts, other.counts])
        together = self.of(codes, weight, self.sizes)
        rows = np.concatenate([self.counts / self.own, other.counts / other.own])
        return together._replace(own=together.counts / self.of(codes, rows, self.sizes).counts)

    @property
    def total(self) -> float:
        """The weight of all rows."""
        return float(self.counts.sum())

    def margin(self, column: int) -> Floats:
        """The weight of each value of a column."""
        return np.bincount(self.codes[:, column], self.counts, self.sizes[column]).astype(np.float64)

    def find(self, codes: Ints) -> Ints:
        """The number of the combination that equals each row of codes (n, K); -1 for a new one."""
        both = np.concatenate([self.codes, codes])
        first, inverse = np.unique(both, axis=0, return_index=True, return_inverse=True)[1:]
        place: Ints = first[inverse.ravel()[len(self.codes) :]]
        return np.where(place < len(self.codes), place, -1)
