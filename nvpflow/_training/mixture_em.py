"""Fit a mixture of normal distributions by expectation-maximisation, to initialise a flow over a `MixtureBase`."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

from nvpflow._base import bare_flow
from nvpflow._training.covariances import CovariancePrior
from nvpflow._training.dataset import Data
from nvpflow._training.kmeans import Clusters
from nvpflow._training.statistics import effective_size, location_and_scale
from nvpflow._typing import Floats
from nvpflow.mixture_base import MixtureBase, pack_factors

__all__ = ["COMPONENTS", "MixtureSearch", "fit_mixture", "refit_mixture"]

# Numbers of components to try. The search ends after PATIENCE of them in a row without improvement.
COMPONENTS, PATIENCE = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64), 3
# Maximum number of steps, in the search and in a refit. More in the search gained nothing, as the flow is trained afterwards.
SEARCH_ITER, MAX_ITER = 15, 100
# Squares and sums of numbers up to this fit into float32.
LARGEST_SINGLE = 1e6
# Small data get several searches: 1000 moons had a worst gap of 0.12 with one search, which had stopped too early, and of
# 0.09 with five.
SEARCHED_NUMBERS, MOST_SEARCHES = 10_000, 50


def fit_mixture(x: Floats, weight: Floats | None = None, seed: int = 0) -> MixtureBase:
    """Fit a mixture. The number of components minimises the Bayesian information criterion.

    Source: Schwarz (1978), "Estimating the dimension of a model".

    Parameters
    ----------
    x : ndarray, shape (n, D)
        Finite.
    weight : ndarray, shape (n,), optional
        With a mean of 1.
    seed : int

    Returns
    -------
    MixtureBase
        In the dtype of x.
    """
    samples, units = _standardized(x, weight)
    rng, n_searches = np.random.default_rng(seed), min(max(1, SEARCHED_NUMBERS // x.size), MOST_SEARCHES)
    return units.base(_best_search(samples, rng, n_searches))


def _standardized(x: Floats, weight: Floats | None) -> tuple[_Samples, _Units]:
    """Standardise the samples. Also return the units."""
    units = _Units(x, weight)
    z = units.standardize(x, np.float64)
    dtype = np.float64 if np.abs(z).max() > LARGEST_SINGLE else x.dtype
    return _Samples(z.astype(dtype), weight), units


def _best_search(samples: _Samples, rng: np.random.Generator, n: int) -> _Mixture:
    """The mixture with the lowest criterion of n searches. If values repeat, n more searches start with them separated."""
    ways = (False, True) if samples.prior.repeated.any() else (False,)
    searches = [_search(samples, rng, marked) for _ in range(n) for marked in ways]
    return min(searches, key=lambda search: search[0])[1]


def _search(samples: _Samples, rng: np.random.Generator, marked: bool) -> tuple[float, _Mixture]:
    """Search for the mixture with the lowest criterion. Return both."""
    clusters = Clusters(samples.x, samples.weight, rng, marked)
    best, best_bic, since = None, np.inf, 0
    for k in COMPONENTS:
        if best and (
            since == PATIENCE or k * (samples.x.shape[1] + 2) > samples.n
        ):  # too few rows per component for a covariance
            break
        mixture = _Mixture(samples, k)
        mixture.start(clusters)
        bic = mixture.fit(SEARCH_ITER)
        best, best_bic, since = (mixture, bic, 0) if bic < best_bic else (best, best_bic, since + 1)
    return best_bic, cast(_Mixture, best)


class MixtureSearch:
    """Mixtures of growing numbers of components, fitted to the same samples.

    Parameters
    ----------
    x, weight, seed
        As in `fit_mixture`.

    Attributes
    ----------
    n : float
        The effective number of samples.
    """

    def __init__(self, x: Floats, weight: Floats | None, seed: int) -> None:
        self._samples, self._units = _standardized(x, weight)
        self._clusters, self.n = Clusters(self._samples.x, weight, np.random.default_rng(seed)), self._samples.n

    def fit(self, k: int) -> MixtureBase:
        """Fit k components, at least as many as in the call before."""
        mixture = _Mixture(self._samples, k)
        mixture.start(self._clusters)
        mixture.fit(SEARCH_ITER)
        return self._units.base(mixture)


def refit_mixture(
    base: MixtureBase, x: Floats, weight: Floats | None = None, seed: int = 0, search: bool = True
) -> MixtureBase:
    """Fit a mixture to other samples of a density: the better of a fit that starts from `base` and a new search.

    Parameters
    ----------
    base : MixtureBase
        The mixture to start from.
    x, weight, seed
        As in `fit_mixture`.
    search : bool
        False: no new search. The number of components stays.

    Returns
    -------
    MixtureBase
    """
    samples, units = _standardized(x, weight)
    again = _Mixture(samples, base.n_components)
    again.weights, again.means = base.weights, units.standardize(base.means, np.float64)
    again.covariances = base.covariances / np.outer(units.deviation, units.deviation)
    candidates = [again, *([_best_search(samples, np.random.default_rng(seed), 1)] if search else [])]
    return units.base(min(candidates, key=lambda mixture: mixture.fit(MAX_ITER)))


class _Units:
    """Mean and deviation of each column. The fit needs columns near zero with about unit deviation."""

    def __init__(self, x: Floats, weight: Floats | None) -> None:
        self.mean, self.deviation, _ = location_and_scale(x, weight)
        constant = self.deviation <= np.finfo(x.dtype).eps * np.abs(self.mean)
        self.deviation, self.dtype = np.where(constant, 1, self.deviation), x.dtype

    def standardize(self, x: Floats, dtype: npt.DTypeLike | None = None) -> Floats:
        return ((x - self.mean) / self.deviation).astype(dtype or self.dtype)

    def base(self, mixture: _Mixture) -> MixtureBase:
        """Convert a mixture of standardised samples to the units of the samples."""
        means = self.mean + mixture.means * self.deviation
        covariances = mixture.covariances * np.outer(self.deviation, self.deviation)
        return MixtureBase(mixture.weights, means, covariances, dtype=self.dtype)


class _Samples:
    """Samples x (n, D) of about unit deviation, with weights (n,) or None. The attribute n is their effective number."""

    def __init__(self, x: Floats, weight: Floats | None) -> None:
        self.x, self.weight = np.ascontiguousarray(x), weight
        self.n = effective_size(Data(x, None, weight))
        self.prior = CovariancePrior(self.x, weight, self.n)


class _Mixture:
    """K components, fitted to samples.

    A step needs the sums over the samples that also occur in the gradient of the log-likelihood, so it takes them from the
    gradient, which the core computes: Xu and Jordan (1996), "On convergence properties of the EM algorithm for Gaussian
    mixtures".
    """

    def __init__(self, samples: _Samples, k: int) -> None:
        self.samples, self.k, self.dim = samples, k, samples.x.shape[1]
        self.lower = np.tril_indices(self.dim)
        self.flow = bare_flow(self.dim, samples.x.dtype, {"type": MixtureBase._kind, "n_components": k})

    def start(self, clusters: Clusters) -> None:
        """Initialise the mixture from K clusters of a part of the samples."""
        x, (labels, parts) = clusters.x, clusters.assign(self.k)
        shares = np.maximum(parts.sum(axis=0, dtype=np.float64), 1 / len(x))
        self.weights, self.means = shares / shares.sum(), parts.T @ x / shares[:, None]
        offsets = x - self.means[labels]
        squares = np.stack([(offsets * part).T @ offsets for part in parts.T[:, :, None]])
        self.covariances = self.samples.prior.covariances(squares, shares)

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
        white = np.tril(products @ p.transpose(0, 2, 1)) / shares[:, None, None] - shift[:, :, None] * shift[:, None, :]
        # Variances of u. Rounding can make them negative if a component has moved far or has become flat.
        variances, axes = np.linalg.eigh(white)
        half = root @ axes * np.sqrt(np.maximum(variances, 0) * shares[:, None])[:, None]
        self.weights, self.means = shares / shares.sum(), self.means + np.einsum("kij,kj->ki", root, shift)
        self.covariances = self.samples.prior.covariances(half @ half.transpose(0, 2, 1), shares)
        return nll

    def _gradient(self, p: Floats) -> tuple[float, Floats, Floats, Floats]:
        """The mean NLL, and the gradients of the mean log-likelihood by logits (K,), means (K, D) and factors (K, .)."""
        parts = np.log(self.weights), self.means.ravel(), pack_factors(p).ravel()
        self.flow.parameters[:] = np.concatenate(parts)
        nll, grad = self.flow.nll_and_grad(self.samples.x, None, self.samples.weight)
        logits, means, factors = np.split(-grad.astype(np.float64), np.cumsum([len(part) for part in parts[:2]]))
        return nll, logits, means.reshape(self.k, -1), factors.reshape(self.k, -1)
