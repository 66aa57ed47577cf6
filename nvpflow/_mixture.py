"""Fitting a mixture of normal distributions by expectation and maximisation: what a flow over a `MixtureBase` starts from."""

import numpy as np

from nvpflow._data import Data, effective_size, moments
from nvpflow.base import MixtureBase, bare_flow, pack_factors

__all__ = ["fit_mixture", "refit_mixture"]

# Numbers of components to try, and how many that are not better end the search.
COMPONENTS, PATIENCE = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64), 2
# Steps at the most, for each number and in the end. More in the search gained nothing: the flow's training takes it from there.
SEARCH_ITER, MAX_ITER = 15, 100
# Each covariance has so many samples more, per dimension, whose covariance is that of all data shrunk to the volume of one of
# K parts: Fraley and Raftery (2007), "Bayesian regularization for normal mixture estimation and model-based clustering". Of
# 0.01, 0.1, 0.3 and 1 the third gave the best mixtures of moons and of tables.
PRIOR_SAMPLES = 0.3
# Of K-means, from which the search starts. Small data are searched several times: 1000 moons had a worst gap of 0.12 by one
# search, which had stopped too early, and of 0.09 by five.
CLUSTERED_SAMPLES, CLUSTER_ITER = 3000, 10
SEARCHED_NUMBERS, MOST_SEARCHES = 10_000, 50


def fit_mixture(x, weight=None, seed=0):
    """The mixture with the least Bayesian information criterion: Schwarz (1978), "Estimating the dimension of a model".

    Parameters
    ----------
    x : ndarray, shape (n, D)
        Finite.
    weight : ndarray, shape (n,), optional
        Of mean 1.
    seed : int

    Returns
    -------
    MixtureBase
        In the dtype of x.
    """
    rng = np.random.default_rng(seed)
    units = _Units(x, weight)
    z, n_searches = units.standardize(x), min(max(1, SEARCHED_NUMBERS // x.size), MOST_SEARCHES)
    searches = [_search(z, weight, _Clusters(z, weight, rng)) for _ in range(n_searches)]
    return units.base(min(searches, key=lambda search: search[0])[1])


def _search(x, weight, clusters):
    """The least criterion, and its mixture."""
    best, best_bic, since = None, np.inf, 0
    for k in COMPONENTS:
        mixture = _Mixture(x, weight, k)
        if best and (since == PATIENCE or 2 * k > mixture.n):
            break
        mixture.start(clusters, k)
        bic = mixture.fit(SEARCH_ITER)
        best, best_bic, since = (mixture, bic, 0) if bic < best_bic else (best, best_bic, since + 1)
    return best_bic, best


def refit_mixture(base, x, weight=None, seed=0):
    """The mixture that fits other samples of a density: that which goes on from one, or one that is searched for anew.

    Parameters
    ----------
    base : MixtureBase
        To go on from.
    x, weight, seed
        As in `fit_mixture`.

    Returns
    -------
    MixtureBase
    """
    units = _Units(x, weight)
    z = units.standardize(x)
    again = _Mixture(z, weight, base.n_components)
    again.weights, again.means = base.weights, units.standardize(base.means, np.float64)
    again.covariances = base.covariances / np.outer(units.deviation, units.deviation)
    _, new = _search(z, weight, _Clusters(z, weight, np.random.default_rng(seed)))
    return units.base(min(again, new, key=lambda mixture: mixture.fit(MAX_ITER)))


class _Units:
    """Mean and deviation of each column: what follows takes columns of about unit deviation, as numbers near zero."""

    def __init__(self, x, weight):
        self.mean, self.deviation = moments(x, weight)
        constant = self.deviation <= np.finfo(x.dtype).eps * np.abs(self.mean)
        self.deviation, self.dtype = np.where(constant, 1, self.deviation), x.dtype

    def standardize(self, x, dtype=None):
        return ((x - self.mean) / self.deviation).astype(dtype or self.dtype)

    def base(self, mixture):
        """A mixture of standardised samples as one of the samples."""
        means = self.mean + mixture.means * self.deviation
        covariances = mixture.covariances * np.outer(self.deviation, self.deviation)
        return MixtureBase(mixture.weights, means, covariances, dtype=self.dtype)


class _Mixture:
    """K components, fitted to x (n, D), of about unit deviation, with weights (n,).

    The sums over the samples that a step needs are those of the gradient of the log-likelihood, which the core computes: Xu
    and Jordan (1996), "On convergence properties of the EM algorithm for Gaussian mixtures".
    """

    def __init__(self, x, weight, k):
        self.x, self.weight, self.k, self.dim = np.ascontiguousarray(x), weight, k, x.shape[1]
        self.lower = np.tril_indices(self.dim)
        self.flow = bare_flow(self.dim, x.dtype, k)
        self.n = effective_size(Data(x, None, weight))
        share = np.full(len(x), 1 / len(x)) if weight is None else weight / weight.sum(dtype=np.float64)
        offsets = x - share @ x
        self.prior = (offsets * share[:, None]).T @ offsets / k ** (2 / self.dim) + 1e-6 * np.eye(self.dim)
        self.prior_share = PRIOR_SAMPLES * self.dim / self.n

    def start(self, clusters, k):
        """From K clusters of some samples."""
        x, (labels, parts) = clusters.x, clusters.assign(k)
        shares = np.maximum(parts.sum(axis=0, dtype=np.float64), 1 / len(x))
        self.weights, self.means = shares / shares.sum(), parts.T @ x / shares[:, None]
        offsets = x - self.means[labels]
        self._set_covariances(np.stack([(offsets * part).T @ offsets for part in parts.T[:, :, None]]), shares)

    def fit(self, max_iter):
        """Steps until one makes the samples less than e times as likely. Returns the Bayesian information criterion."""
        before = np.inf
        for _ in range(max_iter):
            nll = self._step()
            if before - nll < 1 / self.n:
                break
            before = nll
        n_parameters = self.k * (1 + self.dim + len(self.lower[0])) - 1
        return 2 * self.n * nll + n_parameters * np.log(self.n)

    def _set_covariances(self, squares, shares):
        """From mean squares about the means, of which each component, of all samples, has its share (K,)."""
        self.covariances = (squares + self.prior_share * self.prior) / (shares + self.prior_share)[:, None, None]

    def _step(self):
        """One of expectation and maximisation; returns the mean NLL before it."""
        i, root = np.arange(self.dim), np.linalg.cholesky(self.covariances)
        p = np.linalg.inv(root)
        nll, grad_logits, grad_means, grad_factors = self._gradient(p)
        shares = np.maximum(grad_logits + self.weights, np.finfo(self.x.dtype).eps * self.weights)
        # With o = x - mean and u = P o, and means over the samples weighted by responsibility: the gradient of a mean is
        # that of P^T u; that of P is the lower triangle of -u o^T, with shares / P on the diagonal. From there
        # u u^T = (u o^T) P^T has a lower triangle, too, and is symmetric.
        shift = np.einsum("kji,kj->ki", root, grad_means) / shares[:, None]  # the mean of u
        products = np.zeros_like(p)
        products[:, *self.lower] = -grad_factors
        products[:, i, i] = (products[:, i, i] + shares[:, None]) / p[:, i, i]
        white = np.tril(products @ p.transpose(0, 2, 1)) / shares[:, None, None] - shift[:, :, None] * shift[:, None, :]
        # Of u's covariance; by rounding they can be negative, where a component has moved far or has become flat.
        variances, axes = np.linalg.eigh(white)
        half = root @ axes * np.sqrt(np.maximum(variances, 0) * shares[:, None])[:, None]
        self.weights, self.means = shares / shares.sum(), self.means + np.einsum("kij,kj->ki", root, shift)
        self._set_covariances(half @ half.transpose(0, 2, 1), shares)
        return nll

    def _gradient(self, p):
        """The mean NLL, and the gradients of the mean log-likelihood: of logits (K,), means (K, D) and factors (K, .)."""
        parts = np.log(self.weights), self.means.ravel(), pack_factors(p).ravel()
        self.flow.parameters[:] = np.concatenate(parts)
        nll, grad = self.flow.nll_and_grad(self.x, None, self.weight)
        logits, means, factors = np.split(-grad.astype(np.float64), np.cumsum([len(part) for part in parts[:2]]))
        return nll, logits, means.reshape(self.k, -1), factors.reshape(self.k, -1)


class _Clusters:
    """K-means of some of the samples, for growing K: the centres that it starts from are those for fewer, and more.

    Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding", with the best of a few candidates.
    """

    def __init__(self, x, weight, rng):
        some = rng.permutation(len(x))[:CLUSTERED_SAMPLES]
        weight = np.ones(len(some)) if weight is None else weight[some]
        self.x, self.share, self.rng = x[some], (weight / weight.sum()).astype(x.dtype), rng
        self.centers = self.x[:1]
        self.distance = self._distances(self.centers)[:, 0]

    def assign(self, k):
        """The cluster of each sample, of K, and (n, K): its share of all weight, where its cluster is."""
        while len(self.centers) < k:
            self._add_center()
        centers = self.centers
        for _ in range(CLUSTER_ITER):
            labels = self._distances(centers).argmin(axis=1)
            parts = np.eye(k, dtype=self.x.dtype)[labels] * self.share[:, None]
            sums = parts.sum(axis=0)[:, None]
            centers = np.where(sums > 0, parts.T @ self.x / np.maximum(sums, np.finfo(sums.dtype).tiny), centers)
        return labels, parts

    def _add_center(self):
        """A sample, the more likely the farther it is from the others."""
        spread = self.distance * self.share.astype(np.float64)
        candidates = self.x[self.rng.choice(len(self.x), 3, p=spread / spread.sum() if spread.any() else None)]
        distances = np.minimum(self.distance[:, None], self._distances(candidates))
        best = (self.share @ distances).argmin()
        self.centers, self.distance = np.vstack([self.centers, candidates[best]]), distances[:, best]

    def _distances(self, centers):
        """Squared, (n, K)."""
        squares = np.einsum("nd,nd->n", self.x, self.x)[:, None] - 2 * self.x @ centers.T
        return np.maximum(squares + np.einsum("kd,kd->k", centers, centers), 0)
