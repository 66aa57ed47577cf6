"""Covariances of a mixture's components: a prior shrinks them to the pooled covariance; repeated values get floors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nvpflow import _core
from nvpflow._training.copies import distinct_rows
from nvpflow._training.statistics import (
    LARGE_SHARE,
    MANY_ROWS,
    SPREAD_OF_NORMAL,
    blocks,
    places_of_rows,
    quantiles,
    values_stand_out,
)
from nvpflow._typing import Floats, Ints

__all__ = ["PRIOR_SAMPLES", "CovariancePrior", "may_have_peaks", "mean_and_covariance", "shrunk_to_identity"]

# The prior adds this many samples per dimension to each covariance, with the pooled covariance of all components about their
# means: Fraley and Raftery (2007), "Bayesian regularization for normal mixture estimation and model-based clustering". Of
# 0.15, 0.3, 0.6 and 1 the last had the best worst cases on 1000 moons and on tables. The covariance of all data instead would
# blur compact clusters that are far apart.
PRIOR_SAMPLES = 1.0
# For a component with more than ENOUGH_ROWS rows per dimension, the prior is at most WIDEST_PRIOR times as wide as the
# component. A component that holds one value has no prior with more than ENOUGH_FOR_VALUES rows per dimension. With a smaller
# number there, tables of repeated numbers were overfitted by a thousand nats.
WIDEST_PRIOR, ENOUGH_ROWS, ENOUGH_FOR_VALUES = 10, 10, 100
# Shrinkages of the pooled covariance to its diagonal. Cross-validation of one normal distribution chooses among them.
SHRINKAGES, FOLDS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0), 5
# If more than a tenth of a column's values repeat others, the deviations of components have a floor. If one value has a large
# share, or values stand out from their neighbours, the floor is a thousandth of the column's deviation, as in scikit-learn's
# mixtures, or of the spread of the values, or a tenth of the median gap between neighbouring values, whichever is the
# smallest. Otherwise the values are rounded, and it is the deviation of rounding to that gap. In other columns the floor is
# LEAST_RESOLVED times the resolution of the dtype. A floor that was wider than scikit-learn's cost 0.5 nats on a table with
# years of schooling.
REPEATED = 0.1
LEAST_OF_SPREAD, LEAST_OF_GAP, OF_ROUNDING, LEAST_RESOLVED = 1e-3, 0.1, 3**-0.5, 8
# Where values are rounded, the floor holds for each column alone, and variances grow by this share of it, so that components
# stay thin across what ties rounded columns to each other. In other columns they grow by all of it. With all of it everywhere
# the default lost 2.3 nats on concrete, 1.1 on weather reports and 0.15 on diabetes.
ADDED_TO_ROUNDED = 0.01
# A component holds one value in such a column if its variance there is at most this many times the floor.
ONE_VALUE = 4
# Keeps covariances of any size positive definite in spite of rounding.
LEAST_RELATIVE = 1e-12
# In the order of the core.
LIMITS = np.array([LEAST_RELATIVE, WIDEST_PRIOR, ENOUGH_ROWS, ONE_VALUE, ENOUGH_FOR_VALUES], float)


class CovariancePrior:
    """The prior of covariances for all mixtures of the same samples.

    Parameters
    ----------
    x : ndarray, shape (n, D)
        Samples of about unit deviation.
    weight : ndarray, shape (n,), or None
    n : float
        The effective number of samples.

    Attributes
    ----------
    shrinkage : float
        The share of the diagonal in a pooled covariance.
    n_factors : int
        If positive, the prior is a factor model with so many factors instead.
    repeated : ndarray of bool, shape (D,)
        Columns with many equal values.
    floor : ndarray, shape (D,)
        The minimum variances.
    added : ndarray, shape (D,)
        What variances grow by.
    """

    def __init__(self, x: Floats, weight: Floats | None, n: float) -> None:
        self.n, self.n_factors = n, 0
        some = slice(None, None, max(1, len(x) // MANY_ROWS))
        x, weight = x[some], None if weight is None else weight[some]
        row, n_distinct = places_of_rows(x)
        self.shrinkage = _choose_shrinkage(x.astype(np.float64), weight, row, n_distinct)
        resolution = LEAST_RESOLVED * np.finfo(x.dtype).eps
        columns = distinct_rows(x, row, n_distinct).T
        least, is_rounded = np.array([_least_deviation(column) for column in columns], np.float64).T
        self.repeated, self.floor = least > resolution, np.maximum(least, resolution) ** 2
        self.added = np.maximum(np.where(is_rounded > 0, ADDED_TO_ROUNDED, 1) * self.floor, resolution**2)
        self.any_repeated = bool(self.repeated.any())

    def covariances(self, squares: Floats, shares: Floats, prior_samples: float = PRIOR_SAMPLES) -> Floats:
        """Compute the covariances (K, D, D) of the components.

        Parameters
        ----------
        squares : ndarray, shape (K, D, D)
            Mean squares about the components' means, times the components' shares.
        shares : ndarray, shape (K,)
            The components' shares of all samples.
        prior_samples : float
            Weight of the prior, in samples per dimension. Infinite: all components have the same covariance, unless the prior
            is limited.
        """
        covariances = np.array(squares, np.float64)
        _core.covariances(covariances, np.asarray(shares, np.float64), self.for_core(prior_samples))
        return covariances

    def for_core(self, prior_samples: float) -> tuple[object, ...]:
        """The prior as `_core.em` and `_core.covariances` read it."""
        repeated = self.repeated.astype(np.float64) if self.any_repeated else None
        return self.n, prior_samples, self.shrinkage, LIMITS, self.floor, self.added, repeated, self.n_factors

    def regular(self, covariances: Floats) -> Floats:
        """Covariances (K, D, D) with the floors, and positive definite."""
        i = np.arange(covariances.shape[1])
        covariances[:, i, i] = np.maximum(covariances[:, i, i] * (1 + LEAST_RELATIVE) + self.added, self.floor)
        return covariances


def mean_and_covariance(x: Floats, weight: Floats | None) -> tuple[Floats, Floats]:
    """Mean (D,) and covariance (D, D) of samples x (n, D), in float64."""
    share = _shares(x, weight)
    mean = sum((share[rows] @ x[rows] for rows in blocks(len(x))), np.zeros(x.shape[1]))
    offsets = ((x[rows] - mean, share[rows, np.newaxis]) for rows in blocks(len(x)))
    return mean, sum(((part * of_each).T @ part for part, of_each in offsets), np.zeros((len(mean), len(mean))))


def shrunk_to_identity(x: Floats, weight: Floats | None, n: float, scale: Floats | float = 1.0) -> Floats:
    """The covariance (D, D) of samples x (n, D), shrunk to what is a multiple of the identity once columns are times `scale`.

    Source: Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance matrices", lemma 3.3.
    """
    share, dim = _shares(x, weight), x.shape[1]
    mean, covariance = mean_and_covariance(x, weight)
    covariance *= np.outer(scale, scale)
    lengths = (np.sum(((x[rows] - mean) * scale) ** 2, axis=1) for rows in blocks(len(x)))
    squares = sum(share[rows] @ length**2 for rows, length in zip(blocks(len(x)), lengths))
    variance = np.trace(covariance) / dim
    distance = np.sum(covariance**2) - dim * variance**2
    error = (squares - np.sum(covariance**2)) / n
    shrinkage = min(1.0, error / distance) if distance > 0 else 1.0
    shrunk: Floats = (1 - shrinkage) * covariance + shrinkage * variance * np.eye(dim)
    return shrunk / np.outer(scale, scale)


def _shares(x: Floats, weight: Floats | None) -> Floats:
    return np.full(len(x), 1 / len(x)) if weight is None else weight / weight.sum(dtype=np.float64)


def may_have_peaks(column: Floats) -> bool:
    """Whether components may be as narrow as a single value of a column (n,): values repeat, and are not only rounded."""
    least, is_rounded = _least_deviation(column)
    return least > 0 and not is_rounded


def _least_deviation(column: Floats) -> tuple[float, bool]:
    """The floor of a component's deviation if values repeat, otherwise 0, and whether they are rounded."""
    values, times = np.unique(column, return_counts=True)
    if len(values) < 2 or len(values) > (1 - REPEATED) * len(column):
        return 0.0, False
    gap = float(np.median(np.diff(values)))
    if times.max() < LARGE_SHARE * len(column) and not values_stand_out(column, gap):
        return float(OF_ROUNDING * gap), True
    low, high = quantiles(values[:, None], (0.05, 0.95))[:, 0]
    spread = min((high - low) / SPREAD_OF_NORMAL, float(column.std(dtype=np.float64)))
    return min(LEAST_OF_SPREAD * spread, LEAST_OF_GAP * gap), False


def _choose_shrinkage(x: Floats, weight: Floats | None, row: Ints, n_distinct: int) -> float:
    """The smallest shrinkage with a cross-validated likelihood of one normal distribution within a standard error of the
    best. `row`, `n_distinct`: see `places_of_rows`."""
    if x.shape[1] == 1 or n_distinct < 3:
        return SHRINKAGES[0] if x.shape[1] == 1 else SHRINKAGES[-1]
    weight = np.ones(len(x)) if weight is None else weight
    fold = (row % FOLDS).astype(np.uint8)  # equal rows in one fold; NumPy sorts small numbers five times as fast
    order = np.argsort(fold, kind="stable")
    x, share = x.take(order, axis=0), weight[order] / weight.sum()
    ends = np.searchsorted(fold[order], np.arange(min(n_distinct, FOLDS) + 1))
    folds = [slice(first, last) for first, last in pairwise(ends)]
    means, deviations, variances, axes = _normals_without(x, share, folds)
    shrinkages, nll = np.array(SHRINKAGES)[:, None], np.empty((len(SHRINKAGES), len(x)))
    for k, rows in enumerate(folds):
        shrunk = (1 - shrinkages) * variances[k] + shrinkages  # (S, D)
        squares = ((x[rows] - means[k]) @ (axes[k] / deviations[k][:, np.newaxis])) ** 2
        nll[:, rows] = 0.5 * ((1 / shrunk) @ squares.T + np.log(shrunk).sum(axis=1, keepdims=True))
    loss = nll - nll[np.argmin(nll @ share)]
    error = np.sqrt(loss**2 @ share / n_distinct)
    return SHRINKAGES[int(np.argmax(loss @ share <= error))]


def _normals_without(x: Floats, share: Floats, folds: list[slice]) -> tuple[Floats, Floats, Floats, Floats]:
    """Means (F, D) and deviations (F, D) of x (n, D) without each of the folds, eigenvalues (F, D) and eigenvectors
    (F, D, D) of the correlations."""
    augmented = np.hstack([np.ones((len(x), 1)), x]) * np.sqrt(share)[:, np.newaxis]
    sums = np.array([augmented[rows].T @ augmented[rows] for rows in folds])
    # Sums over the others: what is left of all less one would hold the rounding errors of values far out.
    sums = np.tensordot(1 - np.eye(len(folds)), sums, 1)
    moments = sums / sums[:, :1, :1]
    means = moments[:, 0, 1:]
    covariances = moments[:, 1:, 1:] - means[:, :, np.newaxis] * means[:, np.newaxis]
    deviations = np.sqrt(np.maximum(np.diagonal(covariances, axis1=1, axis2=2), np.finfo(float).eps))
    variances, axes = np.linalg.eigh(covariances / (deviations[:, :, np.newaxis] * deviations[:, np.newaxis]))
    return means, deviations, np.maximum(variances, 0), axes
