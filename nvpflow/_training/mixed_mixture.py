"""Expectation-maximisation for mixtures of real columns and categories, which come as blocks of indicators.

Within a component the categories are independent of each other and of the real columns: Hunt and Jorgensen (1999), "Mixture
model clustering using the MULTIMIX program".
"""

from __future__ import annotations

import numpy as np

from nvpflow._base import bare_flow
from nvpflow._training.covariances import PRIOR_SAMPLES
from nvpflow._training.em import Mixture, Samples
from nvpflow._training.kmeans import Clusters
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
        Rows that differ, and `share` (m,), their shares of the samples.
    marginal : ndarray, shape (I,)
        The share of each category in its block. Positive.
    """

    def __init__(self, rows: Floats, sizes: tuple[int, ...], weight: Floats | None) -> None:
        self.rows, self.sizes = np.ascontiguousarray(rows), sizes
        weight = np.ones(len(rows)) if weight is None else weight
        total = weight.sum(dtype=np.float64)
        # Equal rows are found by their categories: a number for each, of mixed radix.
        ends = np.cumsum(sizes)
        codes = np.stack([rows[:, end - size : end].argmax(axis=1) for size, end in zip(sizes, ends)], axis=1)
        _, first, inverse = np.unique(codes, axis=0, return_index=True, return_inverse=True)
        self.distinct = self.rows[first].astype(np.float64)
        self.share = np.bincount(inverse.ravel(), weight) / total
        counts = weight @ rows.astype(np.float64) + LEAST_SHARE
        self.marginal = counts / block_sums(counts[np.newaxis], sizes)[0]


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
        n_indicators = samples.indicators.rows.shape[1]
        fields = {"type": ConditionalMixtureBase._kind, "n_components": k, "n_indicators": n_indicators}
        self.flow = bare_flow(self.dim, samples.x.dtype, fields, context_dim=n_indicators)
        self.tables = np.tile(samples.indicators.marginal, (k, 1))
        self._counts: Floats | None = None

    def start(self, clusters: Clusters) -> None:
        super().start(clusters)
        self.tables = np.tile(self.samples.indicators.marginal, (self.k, 1))

    def log_prob(self, x: Floats, indicators: Floats | None = None) -> Floats:
        """Log-density of real columns x (n, D) given the indicators (n, I)."""
        self._set_parameters(np.linalg.inv(np.linalg.cholesky(self.covariances)))
        with np.errstate(invalid="ignore", over="ignore"):
            log_prob = self.flow.log_prob(x.astype(self.samples.x.dtype, copy=False), indicators).astype(np.float64)
        return np.where(np.isfinite(log_prob), log_prob, -np.inf)

    def _step(self) -> float:
        nll = super()._step()
        assert self._counts is not None
        strength = min(max(self.prior_samples, LEAST_SAMPLES), MOST_SAMPLES) / self.samples.n
        known = self.samples.indicators
        counts = np.maximum(self._counts, 0) + strength * known.marginal
        self.tables = counts / block_sums(counts, known.sizes)
        return nll

    def _gradient(self, p: Floats) -> tuple[float, Floats, Floats, Floats]:
        """As of a mixture, with the sums of responsibilities: the gradient of the density given the categories lacks what they
        say about the components, the shares given them alone."""
        known = self.samples.indicators
        self._set_parameters(p)
        nll, grad = self.flow.nll_and_grad(self.samples.x, known.rows, self.samples.weight)
        ends = np.cumsum([self.k, self.k * self.dim, self.k * len(self.lower[0])])
        logits, means, factors, tables = np.split(-grad.astype(np.float64), ends)
        log_shares = np.log(self.weights) + known.distinct @ np.log(self.tables).T
        largest = log_shares.max(axis=1, keepdims=True)
        shares = np.exp(log_shares - largest)
        totals = shares.sum(axis=1, keepdims=True)
        shares *= known.share[:, np.newaxis] / totals
        self._counts = tables.reshape(self.k, -1) + shares.T @ known.distinct
        nll -= float(known.share @ (largest + np.log(totals))[:, 0])  # of the categories
        return nll, logits + shares.sum(axis=0) - self.weights, means.reshape(self.k, -1), factors.reshape(self.k, -1)

    def _set_parameters(self, p: Floats) -> None:
        parts = np.log(self.weights), self.means, pack_factors(p), np.log(self.tables)
        self.flow.parameters[:] = np.concatenate([part.ravel() for part in parts])
