"""Expectation-maximisation for mixtures of real columns and categories, which come as blocks of indicators.

Within a component the categories are independent of each other and of the real columns: Hunt and Jorgensen (1999), "Mixture
model clustering using the MULTIMIX program".
"""

from __future__ import annotations

import numpy as np

from nvpflow import _core
from nvpflow._base import bare_flow
from nvpflow._training.covariances import PRIOR_SAMPLES
from nvpflow._training.em import Mixture, Samples
from nvpflow._typing import Floats
from nvpflow.conditional_mixture_base import ConditionalMixtureBase
from nvpflow.mixture_base import pack_factors

__all__ = ["Indicators", "MixedMixture", "MixedSamples", "block_sums"]

# The prior of a component's table of probabilities has the shares of all samples, and the weight of as many samples as the
# prior of its covariance has per dimension, within these limits. Gaps of 0.19 and 0.044 with three classes of different
# shapes, and of 0.27 with an irrelevant block, were 0.22, 0.053 and 0.26 with 1 sample, and 0.28, 0.075 and 0.25 with 3.
LEAST_SAMPLES, MOST_SAMPLES = 0.1, 3.0
LEAST_SHARE = 1e-4  # samples of a category in the shares of all, so that one without samples has a probability


class Indicators:
    """Blocks of indicators of samples, (n, I). In each block one of the columns is 1.

    Attributes
    ----------
    rows : ndarray, shape (n, I)
    sizes : tuple of int
        The columns of each block.
    distinct : ndarray, shape (m, I)
        Rows that differ.
    classes : ndarray of int, shape (n,)
        Which of these the rows are.
    marginal : ndarray, shape (I,)
        The share of each category in its block. Positive.
    """

    def __init__(self, rows: Floats, sizes: tuple[int, ...], weight: Floats | None) -> None:
        self.rows, self.sizes = np.ascontiguousarray(rows), sizes
        weight = np.ones(len(rows)) if weight is None else weight
        # Equal rows are found by their categories: a number for each, of mixed radix.
        ends = np.cumsum(sizes)
        codes = np.stack([rows[:, end - size : end].argmax(axis=1) for size, end in zip(sizes, ends)], axis=1)
        _, first, inverse = np.unique(codes, axis=0, return_index=True, return_inverse=True)
        self.distinct = self.rows[first].astype(np.float64)
        self.classes = inverse.ravel().astype(np.int64, copy=False)
        counts = weight @ rows.astype(np.float64) + LEAST_SHARE
        self.marginal = counts / block_sums(counts[np.newaxis], sizes)[0]

    def columns(self, i: int) -> slice:
        """The columns of a block."""
        end = sum(self.sizes[: i + 1])
        return slice(end - self.sizes[i], end)

    def block(self, i: int) -> Floats:
        """The indicators of a block, (n, size)."""
        found: Floats = self.rows[:, self.columns(i)]
        return found


def block_sums(values: Floats, sizes: tuple[int, ...]) -> Floats:
    """For each column of values (k, I) the sum over its block."""
    starts = np.cumsum((0, *sizes[:-1]))
    return np.repeat(np.add.reduceat(values, starts, axis=1), sizes, axis=1)


class MixedSamples(Samples):
    """Samples with `indicators`."""

    def __init__(self, x: Floats, weight: Floats | None, indicators: Indicators) -> None:
        super().__init__(x, weight)
        self.indicators = indicators


class MixedMixture(Mixture):
    """K components of real columns and categories, fitted to samples. `tables` (K, I) are the probabilities of the
    categories."""

    samples: MixedSamples
    tables: Floats

    def __init__(self, samples: MixedSamples, k: int, prior_samples: float = PRIOR_SAMPLES) -> None:
        super().__init__(samples, k, prior_samples)
        self.tables = np.tile(samples.indicators.marginal, (k, 1))

    def start_from(self, shares: Floats, means: Floats, squares: Floats) -> None:
        super().start_from(shares, means, squares)
        self.tables = np.tile(self.samples.indicators.marginal, (self.k, 1))

    def start_by_category(self, i: int, shares: Floats, means: Floats, squares: Floats) -> None:
        """As `start_from`, with category k of block i in component k, but for one sample."""
        self.start_from(shares, means, squares)
        columns = self.samples.indicators.columns(i)
        counts = np.eye(self.k) * (self.weights * self.samples.n)[:, np.newaxis] + self.tables[:, columns]
        self.tables[:, columns] = counts / counts.sum(axis=1, keepdims=True)

    def log_prob(self, x: Floats, indicators: Floats | None = None) -> Floats:
        """Log-density of real columns x (n, D) given the indicators (n, I)."""
        n_indicators = self.tables.shape[1]
        fields = {"type": ConditionalMixtureBase._kind, "n_components": self.k, "n_indicators": n_indicators}
        flow = bare_flow(self.dim, self.samples.x.dtype, fields, context_dim=n_indicators)
        factors = pack_factors(np.linalg.inv(np.linalg.cholesky(self.covariances)))
        parts = np.log(self.weights), self.means, factors, np.log(self.tables)
        flow.parameters[:] = np.concatenate([part.ravel() for part in parts])
        with np.errstate(invalid="ignore", over="ignore"):
            log_prob = flow.log_prob(x.astype(self.samples.x.dtype, copy=False), indicators).astype(np.float64)
        return np.where(np.isfinite(log_prob), log_prob, -np.inf)

    def _steps(self, max_iter: int, least_gain: float = 0.0, n_first: int = 0) -> float:
        if n_first:
            self._steps(n_first)
        before = np.inf
        for _ in range(max_iter):
            nll = self._step()
            if before - nll < max(least_gain, 1 / self.samples.n):
                break
            before = nll
        return nll

    def _step(self) -> float:
        """Take one step, in which the categories of a sample change the weights of its components."""
        samples, known = self.samples, self.samples.indicators
        log_weights = np.log(self.weights) + known.distinct @ np.log(self.tables).T
        class_shares = np.zeros(log_weights.shape)
        mixture, prior = self._copies(), samples.prior.for_core(self.prior_samples)
        nll = _core.em(samples.x, samples.weight, known.classes, log_weights, class_shares, *mixture, prior, 1, 0.0)
        self.weights, self.means, self.covariances = mixture
        strength = min(max(self.prior_samples, LEAST_SAMPLES), MOST_SAMPLES) / samples.n
        counts = class_shares.T @ known.distinct + strength * known.marginal
        self.tables = counts / block_sums(counts, known.sizes)
        return nll
