"""Expectation-maximisation: fits a mixture of normal distributions with a given number of components."""

from __future__ import annotations

import numpy as np

from nvpflow._base import bare_flow
from nvpflow._training.covariances import PRIOR_SAMPLES, CovariancePrior
from nvpflow._training.dataset import Data
from nvpflow._training.kmeans import Clusters
from nvpflow._training.statistics import effective_size, location_and_scale
from nvpflow._typing import Floats
from nvpflow.mixture_base import MixtureBase

__all__ = ["ColumnUnits", "Mixture", "Samples", "standardized"]

# Squares and sums of numbers up to this fit into float32.
LARGEST_SINGLE = 1e6


class ColumnUnits:
    """Mean and deviation of each column. The fit needs columns near zero with about unit deviation."""

    def __init__(self, x: Floats, weight: Floats | None) -> None:
        self.mean, self.deviation, _ = location_and_scale(x, weight)
        constant = self.deviation <= np.finfo(x.dtype).eps * np.abs(self.mean)
        self.deviation, self.dtype = np.where(constant, 1, self.deviation), x.dtype

    def standardize(self, x: Floats) -> Floats:
        """In the dtype of the samples, or in float64 where float32 is too small."""
        z: Floats = (x - self.mean) / self.deviation
        return z if np.abs(z).max() > LARGEST_SINGLE else z.astype(self.dtype)

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
        self.x, self.weight = np.ascontiguousarray(x), weight
        self.n = effective_size(Data(x, None, weight))
        self.prior = CovariancePrior(self.x, weight, self.n)


def standardized(x: Floats, weight: Floats | None) -> tuple[Samples, ColumnUnits]:
    """Standardise samples. Also return the units."""
    units = ColumnUnits(x, weight)
    return Samples(units.standardize(x), weight), units


class Mixture:
    """K components, fitted to samples.

    A step needs the sums over the samples that also occur in the gradient of the log-likelihood, so it takes them from the
    gradient, which the core computes: Xu and Jordan (1996), "On convergence properties of the EM algorithm for Gaussian
    mixtures".
    """

    tables: Floats | None = None  # of categories, which it has none of

    def __init__(self, samples: Samples, k: int, prior_samples: float = PRIOR_SAMPLES) -> None:
        self.samples, self.k, self.dim, self.prior_samples = samples, k, samples.x.shape[1], prior_samples
        self.lower = np.tril_indices(self.dim)
        self.diagonal = np.flatnonzero(self.lower[0] == self.lower[1])
        self.triangle = np.tril(np.ones((self.dim, self.dim)))
        self.flow = bare_flow(self.dim, samples.x.dtype, {"type": MixtureBase._kind, "n_components": k})

    def start(self, clusters: Clusters) -> None:
        """Initialise the mixture from K clusters of a part of the samples."""
        x, (labels, parts) = clusters.x, clusters.assign(self.k)
        shares = np.maximum(parts.sum(axis=0, dtype=np.float64), 1 / len(x))
        self.weights, self.means = shares / shares.sum(), parts.T @ x / shares[:, None]
        offsets = x - self.means[labels]
        squares = np.stack([(offsets * part).T @ offsets for part in parts.T[:, :, None]])
        self.covariances = self.samples.prior.covariances(squares, shares, self.prior_samples)

    def fit(self, max_iter: int) -> float:
        """Take steps until one raises the likelihood by less than a factor of e. Return the Bayesian information criterion."""
        before = np.inf
        for _ in range(max_iter):
            nll = self._step()
            if before - nll < 1 / self.samples.n:
                break
            before = nll
        n_parameters = self.k * (1 + self.dim + len(self.lower[0])) - 1
        criterion: float = 2 * self.samples.n * nll + n_parameters * np.log(self.samples.n)
        return criterion

    def log_prob(self, x: Floats) -> Floats:
        """Log-density of points x (n, D), in nats, in float64. Minus infinity where it is not finite."""
        self._set_parameters(np.linalg.inv(np.linalg.cholesky(self.covariances)))
        with np.errstate(invalid="ignore", over="ignore"):
            log_prob = self.flow.log_prob(x.astype(self.samples.x.dtype, copy=False)).astype(np.float64)
        return np.where(np.isfinite(log_prob), log_prob, -np.inf)

    def _step(self) -> float:
        """Take one step of expectation and maximisation. Return the mean NLL before it."""
        i, root = np.arange(self.dim), np.linalg.cholesky(self.covariances)
        p = np.linalg.inv(root)
        nll, grad_logits, grad_means, grad_factors = self._gradient(p)
        shares = np.maximum(grad_logits + self.weights, np.finfo(self.samples.x.dtype).eps * self.weights)
        # With o = x - mean and u = P o, and means over the samples weighted by responsibility: the gradient of a mean is
        # that of P^T u; that of P is the lower triangle of -u o^T, with shares / P on the diagonal. It determines the lower
        # triangle of u u^T = (u o^T) P^T, which is symmetric.
        shift = np.einsum("kji,kj->ki", root, grad_means) / shares[:, None]  # the mean of u
        products = np.zeros_like(p)
        products[:, *self.lower] = -grad_factors
        products[:, i, i] = (products[:, i, i] + shares[:, None]) / p[:, i, i]
        white = products @ p.transpose(0, 2, 1) * (self.triangle / shares[:, None, None])
        white -= shift[:, :, None] * shift[:, None, :]
        # Variances of u. Rounding can make them negative if a component has moved far or has become flat.
        variances, axes = np.linalg.eigh(white)
        half = root @ axes * np.sqrt(np.maximum(variances, 0) * shares[:, None])[:, None]
        self.weights, self.means = shares / shares.sum(), self.means + np.einsum("kij,kj->ki", root, shift)
        self.covariances = self.samples.prior.covariances(half @ half.transpose(0, 2, 1), shares, self.prior_samples)
        return nll

    def _gradient(self, p: Floats) -> tuple[float, Floats, Floats, Floats]:
        """The mean NLL, and the gradients of the mean log-likelihood by logits (K,), means (K, D) and factors (K, .)."""
        self._set_parameters(p)
        nll, grad = self.flow.nll_and_grad(self.samples.x, None, self.samples.weight)
        ascent, first = -grad.astype(np.float64), self.k * (1 + self.dim)
        logits, means, factors = ascent[: self.k], ascent[self.k : first], ascent[first:]
        return nll, logits, means.reshape(self.k, -1), factors.reshape(self.k, -1)

    def _set_parameters(self, p: Floats) -> None:
        """Set the parameters of the flow. `p` (K, D, D): the Cholesky factors of the precisions."""
        parameters, i, first = self.flow.parameters, np.arange(self.dim), self.k * (1 + self.dim)
        parameters[: self.k], parameters[self.k : first] = np.log(self.weights), self.means.ravel()
        packed = p[:, *self.lower]
        packed[:, self.diagonal] = np.log(p[:, i, i])
        parameters[first:] = packed.ravel()
