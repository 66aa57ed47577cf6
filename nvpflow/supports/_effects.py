"""What many rare values of a category say of the columns of numbers: their shrunken means."""

from __future__ import annotations

from typing import Self

import numpy as np

from nvpflow._training.statistics import location_and_scale
from nvpflow._typing import Bools, Floats, Ints

__all__ = ["Effects"]

LEAST_VALUES = 10  # that share an indicator
# The ratio of variances between and within values has to be so many of its standard deviations above 1.
LEAST_RATIO = 3.0
# The share of rows whose value has rows in other folds: training sees the means of these alone, and would guess at the others.
LEAST_SEEN = 0.5
FOLDS = 5


class Effects:
    """Means of numbers for each value of a category, shrunken by the number of its rows.

    Values with too few rows for an indicator of their own would otherwise all look the same to the flow. The mean m of N rows
    is taken for N m / (N + k), where k is the ratio of the variances within values and between them: Efron and Morris (1975),
    "Data analysis using Stein's estimator and its generalizations".

    Parameters
    ----------
    tables : list of ndarray of float64, shapes (V_j, F_j)
        For each value of a column the means of F_j numbers in units of standard deviations; most columns have none.
    """

    def __init__(self, tables: list[Floats]) -> None:
        self.tables = tables
        self.width = sum(int(table.shape[1]) for table in tables)

    @classmethod
    def fit(cls, codes: Ints, groups: list[Ints], x: Floats, weight: Floats | None) -> tuple[Self, Floats]:
        """Find the means for rows of codes (n, K) and numbers (n, R).

        Returns
        -------
        effects : Effects
        left_out : ndarray, shape (n, width)
            The means that each row gets in training: of the rows of other folds. Without its own numbers alone, a mean would
            give these away to whoever knows the sum of all, as a mixture with many components does: Prokhorenkova et al.
            (2018), "CatBoost: unbiased boosting with categorical features", section 3.2.
        """
        weight = np.ones(len(codes)) if weight is None else weight.astype(np.float64)
        mean = np.average(x, axis=0, weights=weight) if x.size else np.zeros(x.shape[1])
        z = x - mean
        z = z / np.maximum(np.sqrt(np.average(z**2, axis=0, weights=weight)), np.finfo(np.float64).tiny) if x.size else z
        fold = np.empty(len(x), np.intp)
        order = np.lexsort(x.T) if x.size else np.arange(len(x))
        fold[order] = np.random.default_rng(0).permutation(len(x)) % FOLDS  # whatever the order of rows
        found = [_of_column(column, group, z, weight, fold) for column, group in zip(codes.T, groups)]
        return cls([table for table, _ in found]), np.concatenate(
            [np.empty((len(codes), 0)), *(rows for _, rows in found)], axis=1
        )

    def of_codes(self, codes: Ints) -> Floats:
        """The means (n, width) of codes (n, K)."""
        parts = [table[column] for table, column in zip(self.tables, codes.T)]
        return np.concatenate([np.empty((len(codes), 0)), *parts], axis=1)


def _of_column(codes: Ints, group: Ints, z: Floats, weight: Floats, fold: Ints) -> tuple[Floats, Floats]:
    """The means of each value of one column, and those that each row gets in training."""
    size = len(group)
    nothing = np.empty((size, 0)), np.empty((len(codes), 0))
    if not z.shape[1] or np.bincount(group).max() < LEAST_VALUES:
        return nothing
    counts = np.bincount(codes, weight, size)
    n, n_values = counts.sum(), np.count_nonzero(counts)
    if n - n_values < 1:
        return nothing
    sums = np.stack([np.bincount(codes, weight * column, size) for column in z.T], axis=1)
    between = (sums**2 / np.maximum(counts, np.finfo(np.float64).tiny)[:, np.newaxis]).sum(axis=0)
    within = (weight @ z**2 - between) / (n - n_values)
    ratio = between / (n_values - 1) / np.maximum(within, np.finfo(np.float64).tiny)
    kept = ratio > 1 + LEAST_RATIO * np.sqrt(2 / (n_values - 1) + 2 / (n - n_values))  # the deviation of an F ratio near 1
    if not kept.any():
        return nothing
    typical = (n - (counts**2).sum() / n) / (n_values - 1)  # rows of a value
    shrinkage = (typical / (ratio - 1))[kept]
    sums = sums[:, kept]
    table: Floats = sums / (counts[:, np.newaxis] + shrinkage)
    left_out, has_others = _of_others(codes, z[:, kept], weight, fold, size, shrinkage)
    if weight @ has_others < LEAST_SEEN * n:
        return nothing
    inside = ~location_and_scale(left_out, weight)[2]
    return table[:, inside], left_out[:, inside]


def _of_others(codes: Ints, z: Floats, weight: Floats, fold: Ints, size: int, shrinkage: Floats) -> tuple[Floats, Bools]:
    """The mean for each row from the rows of its value in other folds, and whether there are any.

    They are added up, since differences of sums would be rounding errors instead of zeros where there are no others.
    """
    found, has_others = np.empty(z.shape), np.empty(len(z), bool)
    for held_out in range(FOLDS):
        rows, others = fold == held_out, fold != held_out
        counts = np.bincount(codes[others], weight[others], size)
        sums = np.stack([np.bincount(codes[others], weight[others] * column, size) for column in z[others].T], axis=1)
        found[rows] = (sums / (counts[:, np.newaxis] + shrinkage))[codes[rows]]
        has_others[rows] = counts[codes[rows]] > 0
    return found, has_others
