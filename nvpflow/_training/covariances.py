"""Covariances of a mixture's components: a prior that shrinks them to the pooled one, and floors where values repeat."""

from __future__ import annotations

import numpy as np

from nvpflow._training.statistics import LARGE_SHARE, MANY_ROWS, SPREAD_OF_NORMAL, quantiles
from nvpflow._typing import Floats

__all__ = ["CovariancePrior"]

# Each covariance has so many samples more, per dimension, with the pooled covariance of all components about their means:
# Fraley and Raftery (2007), "Bayesian regularization for normal mixture estimation and model-based clustering". Of 0.15,
# 0.3, 0.6 and 1 the last had the best worst cases on 1000 moons and on tables. The covariance of all data in its place blurs
# compact clusters that are far apart.
PRIOR_SAMPLES = 1.0
# It is no wider than so many times a component that has so many rows for each dimension, and nothing to one that has so
# many and holds one value. With fewer in the last case, tables of numbers that repeat were overfitted by a thousand nats.
WIDEST_PRIOR, ENOUGH_ROWS, ENOUGH_FOR_VALUES = 10, 10, 100
# What that covariance is shrunk by towards its diagonal, of which the best by cross-validation of one normal distribution.
SHRINKAGES, FOLDS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0), 5
# Where more than a tenth of a column's values repeat others, the deviations of components have a floor. If one value alone
# has a large share, it is a thousandth of the spread of the values, as in scikit-learn's mixtures, or a tenth of the usual
# gap between two of them; otherwise the values are rounded, and it is the deviation of rounding to that gap. Elsewhere it is
# so many times what the dtype resolves.
REPEATED = 0.1
LEAST_OF_SPREAD, LEAST_OF_GAP, OF_ROUNDING, LEAST_RESOLVED = 1e-3, 0.1, 12**-0.5, 8
# A component whose variance in such a column is not more than so many times the least holds one value.
ONE_VALUE = 4
# What keeps a covariance, whatever its size, positive definite in spite of rounding.
LEAST_RELATIVE = 1e-12


class CovariancePrior:
    """What all mixtures of the same samples x (n, D), of about unit deviation, know of covariances.

    Parameters
    ----------
    x : ndarray, shape (n, D)
    weight : ndarray, shape (n,), or None
    n : float
        How many samples of equal weight they stand for.

    Attributes
    ----------
    share : float
        Of the prior, in units of all samples.
    shrinkage : float
        The share of the diagonal in a pooled covariance.
    repeated : ndarray of bool, shape (D,)
        Columns of which many values are equal.
    floor : ndarray, shape (D,)
        The least variances.
    """

    def __init__(self, x: Floats, weight: Floats | None, n: float) -> None:
        self.n, self.share = n, PRIOR_SAMPLES * x.shape[1] / n
        some = slice(None, None, max(1, len(x) // MANY_ROWS))
        self.shrinkage = _choose_shrinkage(x[some].astype(np.float64), None if weight is None else weight[some])
        resolution = LEAST_RESOLVED * np.finfo(x.dtype).eps
        least = np.array([_least_deviation(column) for column in x[some].T])
        self.repeated, self.floor = least > resolution, np.maximum(least, resolution) ** 2

    def covariances(self, squares: Floats, shares: Floats) -> Floats:
        """The covariances (K, D, D) of components.

        Parameters
        ----------
        squares : ndarray, shape (K, D, D)
            Mean squares about the components' means, times the components' shares.
        shares : ndarray, shape (K,)
            Of all samples.
        """
        k, dim = squares.shape[:2]
        rows, i = shares * self.n / dim, np.arange(dim)
        # A component of rows enough that holds one value that repeats has the least deviation, however many there are.
        variances = squares[:, i, i] / shares[:, None]
        broad = (variances > ONE_VALUE * self.floor) | ~self.repeated | (rows <= ENOUGH_FOR_VALUES)[:, None]
        prior = self._prior(squares, shares, broad)
        priors = prior * (broad[:, :, None] & broad[:, None, :])
        covariances: Floats = priors
        if k > 1:
            limit = self._limit(prior, squares, shares, rows)[:, None, None]
            covariances = (squares + self.share * limit * priors) / (shares + self.share)[:, None, None]
        covariances[:, i, i] = covariances[:, i, i] * (1 + LEAST_RELATIVE) + self.floor
        return covariances

    def _prior(self, squares: Floats, shares: Floats, broad: Floats) -> Floats:
        """The pooled covariance (D, D) of components that do not hold one value, shrunk to its diagonal."""
        root = np.sqrt(shares.sum() / np.maximum(shares @ broad, np.finfo(float).tiny))
        pooled = squares.sum(axis=0) / shares.sum() * np.outer(root, root)
        prior: Floats = (1 - self.shrinkage) * pooled + self.shrinkage * np.diag(np.diag(pooled))
        return prior

    def _limit(self, prior: Floats, squares: Floats, shares: Floats, rows: Floats) -> Floats:
        """What each component multiplies its prior by, (K,): with rows enough it is no wider than so many times the component,
        so that a large component does not blur a small one."""
        own = np.einsum("ij,kji->k", np.linalg.pinv(prior, hermitian=True), squares) / (shares * len(prior))
        limit: Floats = np.where((rows > ENOUGH_ROWS) & ~self.repeated.any(), np.minimum(1, WIDEST_PRIOR * own), 1)
        return limit


def _least_deviation(column: Floats) -> float:
    """Of a component, where values repeat; else 0."""
    values, times = np.unique(column, return_counts=True)
    if len(values) < 2 or len(values) > (1 - REPEATED) * len(column):
        return 0.0
    gap = np.median(np.diff(values))
    if times.max() < LARGE_SHARE * len(column):
        return float(OF_ROUNDING * gap)
    low, high = quantiles(values[:, None], (0.05, 0.95))[:, 0]
    least: float = min(LEAST_OF_SPREAD * (high - low) / SPREAD_OF_NORMAL, LEAST_OF_GAP * gap)
    return least


def _choose_shrinkage(x: Floats, weight: Floats | None) -> float:
    """The least shrinkage whose cross-validated likelihood of a normal distribution is within a standard error of the best."""
    distinct, row = np.unique(x, axis=0, return_inverse=True)
    if x.shape[1] == 1 or len(distinct) < 3:
        return SHRINKAGES[0] if x.shape[1] == 1 else SHRINKAGES[-1]
    weight, fold = np.ones(len(x)) if weight is None else weight, row.ravel() % FOLDS  # equal rows in one
    shrinkages, nll = np.array(SHRINKAGES)[:, None], np.empty((len(SHRINKAGES), len(x)))
    for k in range(min(len(distinct), FOLDS)):
        rows, share = x[fold != k], weight[fold != k] / weight[fold != k].sum()
        mean = share @ rows
        offsets = (rows - mean) * np.sqrt(share)[:, None]
        covariance = offsets.T @ offsets
        diagonal = np.sqrt(np.maximum(np.diag(covariance), np.finfo(float).eps))
        variances, axes = np.linalg.eigh(covariance / np.outer(diagonal, diagonal))
        shrunk = (1 - shrinkages) * np.maximum(variances, 0) + shrinkages  # (S, D)
        squares = ((x[fold == k] - mean) / diagonal @ axes) ** 2
        nll[:, fold == k] = 0.5 * ((1 / shrunk) @ squares.T + np.log(shrunk).sum(axis=1, keepdims=True))
    share = weight / weight.sum()
    loss = nll - nll[np.argmin(nll @ share)]
    error = np.sqrt(loss**2 @ share / len(distinct))
    return SHRINKAGES[int(np.argmax(loss @ share <= error))]
