"""Expectation-maximisation: fits a mixture of normal distributions with a given number of components."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from nvpflow import _core
from nvpflow._training.covariances import PRIOR_SAMPLES, CovariancePrior
from nvpflow._training.dataset import Data
from nvpflow._training.kmeans import Clusters
from nvpflow._training.neighbours import order_of_neighbours
from nvpflow._training.statistics import as_columns, blocks, effective_size, location_and_scale
from nvpflow._training.tails import Tails
from nvpflow._typing import Floats
from nvpflow.mixture_base import MixtureBase

__all__ = ["ColumnUnits", "Mixture", "Samples", "standardized"]

# Squares and sums of numbers up to this fit into float32.
LARGEST_SINGLE = 1e6
NOT_DEFINITE = (
    "X holds values too far apart for a mixture: covariances are not positive definite in float64. Leave out rows that are "
    "far from all others, or take logarithms of columns that span many orders of magnitude"
)


class ColumnUnits:
    """Mean and deviation of each column. The fit needs columns near zero with about unit deviation."""

    def __init__(self, x: Floats, weight: Floats | None) -> None:
        self.mean, self.deviation, _ = location_and_scale(x, weight)
        constant = self.deviation <= np.finfo(x.dtype).eps * np.abs(self.mean)
        self.deviation, self.dtype = np.where(constant, 1, self.deviation), x.dtype

    def standardize(self, x: Floats, *, in_place: bool = False) -> Floats:
        """In the dtype of the samples, or in float64 where float32 is too small. `in_place`: x may be overwritten."""
        columns = as_columns(x)
        ends = np.array([columns.min(axis=1), columns.max(axis=1)]) if len(x) else x
        if np.abs((ends - self.mean) / self.deviation).max(initial=0) > LARGEST_SINGLE:
            return np.asarray((x - self.mean) / self.deviation)
        z = x if in_place and x.dtype == self.dtype else np.empty(x.shape, self.dtype)
        for rows in blocks(len(x)):
            z[rows] = (x[rows] - self.mean) / self.deviation
        return z

    @property
    def log_det(self) -> float:
        """log|det dx/dz|, in nats."""
        return float(np.log(self.deviation).sum())

    def base(self, weights: Floats, means: Floats, covariances: Floats) -> MixtureBase:
        """Convert a mixture of standardised samples to the units of the samples."""
        means = self.mean + means * self.deviation
        covariances = covariances * np.outer(self.deviation, self.deviation)
        return MixtureBase(weights, means, covariances, dtype=self.dtype)


class Samples:
    """Samples x (n, D) of about unit deviation, with weights (n,) or None. The attribute n is their effective number."""

    def __init__(self, x: Floats, weight: Floats | None) -> None:
        self.x = np.ascontiguousarray(x)
        self.weight = None if weight is None else np.asarray(weight, np.float64) / np.mean(weight, dtype=np.float64)
        self.n = effective_size(Data(x, None, weight))
        self.prior = CovariancePrior(self.x, weight, self.n)

    @cached_property
    def by_neighbours(self) -> tuple[Floats, Floats | None]:
        """Samples and weights in an order in which the core's steps leave out most components of most rows."""
        order = order_of_neighbours(self.x)
        return self.x.take(order, axis=0), None if self.weight is None else self.weight[order]


def standardized(x: Floats, weight: Floats | None) -> tuple[Samples, ColumnUnits]:
    """Standardise samples. Also return the units."""
    units = ColumnUnits(x, weight)
    return Samples(units.standardize(x), weight), units


class Mixture:
    """K components, fitted to samples. The core takes the steps."""

    tables: Floats | None = None  # of categories, which it has none of

    def __init__(self, samples: Samples, k: int, prior_samples: float = PRIOR_SAMPLES) -> None:
        self.samples, self.k, self.dim, self.prior_samples = samples, k, samples.x.shape[1], prior_samples
        self.weights: Floats = np.empty(0)
        self.means: Floats = np.empty((0, self.dim))
        self.covariances: Floats = np.empty((0, self.dim, self.dim))

    def start(self, clusters: Clusters) -> None:
        """Initialise the mixture from K clusters of a part of the samples."""
        self.start_from(*clusters.moments(self.k))

    def start_from(self, shares: Floats, means: Floats, squares: Floats) -> None:
        """Initialise the mixture from the moments of K clusters, as `Clusters.moments` returns them."""
        self.weights, self.means = shares / shares.sum(), means
        self.covariances = self.samples.prior.covariances(squares, shares, self.prior_samples)

    def fit(self, max_iter: int, least_gain: float = 0.0, n_first: int = 0) -> float:
        """Take steps until one raises the likelihood by less than a factor of e. Return the Bayesian information criterion.

        `least_gain`: end also if a step raises the mean log-likelihood by less than this, in nats. `n_first`: before these
        steps take up to so many, without that end.
        """
        nll = self._steps(max_iter, least_gain, n_first)
        n_parameters = self.k * (1 + self.dim + self.dim * (self.dim + 1) // 2) - 1
        criterion: float = 2 * self.samples.n * nll + n_parameters * np.log(self.samples.n)
        return criterion

    def narrow(self, tails: Tails) -> None:
        """Let no component expect samples far beyond the largest one, where that has a limit."""
        samples = self.samples
        self.covariances = tails.narrowed(samples.x, samples.n, self.weights, self.means, self.covariances)

    def log_prob(self, x: Floats) -> Floats:
        """Log-density of points x (n, D), in nats, in float64. Minus infinity where it is not finite."""
        x = np.ascontiguousarray(x, self.samples.x.dtype)
        try:
            return _core.em_log_prob(x, *self._contiguous())
        except ValueError as error:
            raise ValueError(NOT_DEFINITE) from error

    def _steps(self, max_iter: int, least_gain: float = 0.0, n_first: int = 0) -> float:
        """Take steps of expectation and maximisation, as `fit`. Return the mean NLL before the last one."""
        samples = self.samples
        mixture, prior = self._copies(), samples.prior.for_core(self.prior_samples)
        least_gain = max(least_gain, 1 / samples.n)
        try:
            nll = _core.em(*samples.by_neighbours, None, None, None, *mixture, prior, max_iter, least_gain, n_first)
        except ValueError as error:
            raise ValueError(NOT_DEFINITE) from error
        self.weights, self.means, self.covariances = mixture
        return nll

    def _contiguous(self) -> tuple[Floats, Floats, Floats]:
        weights, means, covariances = (np.ascontiguousarray(a, float) for a in (self.weights, self.means, self.covariances))
        return weights, means, covariances

    def _copies(self) -> tuple[Floats, Floats, Floats]:
        """What the core changes in place; others may hold the arrays."""
        return np.array(self.weights, float), np.array(self.means, float), np.array(self.covariances, float)
