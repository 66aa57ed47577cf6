"""Mixtures of normal distributions: few and many, narrow and wide, in 1 to 50 dimensions."""

import math

import numpy as np
from scipy.special import logsumexp

from quality.densities.density import LOG_2PI, Density, normal_entropy


class GaussianMixture(Density):
    """Normal distributions of the given weights, shape (k,), means, (k, dim), and covariances, (k, dim, dim)."""

    def __init__(self, weights, means, covariances):
        self.weights, self.means = np.asarray(weights), np.asarray(means)
        self.factors = np.linalg.cholesky(covariances)
        self.dim = self.means.shape[1]

    def sample(self, n, rng):
        k = rng.choice(len(self.weights), size=n, p=self.weights)
        return self.means[k] + np.einsum("nij,nj->ni", self.factors[k], rng.normal(size=(n, self.dim)))

    def log_prob(self, x):
        logs = []
        for weight, mean, factor in zip(self.weights, self.means, self.factors):
            z = np.linalg.solve(factor, (x - mean).T)
            log_det = np.log(np.diag(factor)).sum()
            logs.append(math.log(weight) - log_det - 0.5 * (z**2).sum(axis=0) - 0.5 * self.dim * LOG_2PI)
        return logsumexp(logs, axis=0)


class EightGaussians(GaussianMixture):
    """Round ones of standard deviation 0.5 / sqrt 2 on a circle of radius 4 / sqrt 2."""

    box, step = 6.0, 0.1

    def __init__(self):
        angle = np.arange(8) * math.pi / 4
        means = 4 / math.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        super().__init__(np.full(8, 1 / 8), means, np.broadcast_to(np.eye(2) / 8, (8, 2, 2)))


class GridOfGaussians(GaussianMixture):
    """25 round ones of standard deviation 0.05 on a 5 x 5 grid of spacing 1, as in the literature on GANs."""

    box, step = 3.0, 0.02

    def __init__(self):
        axis = np.arange(-2.0, 3.0)
        means = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        super().__init__(np.full(25, 1 / 25), means, np.broadcast_to(0.05**2 * np.eye(2), (25, 2, 2)))


class CorrelatedGaussians(GaussianMixture):
    """Overlapping normal distributions, unequal weights, full covariances."""

    def __init__(self, dim=10, k=5):
        rng = np.random.default_rng(0)
        roots = rng.normal(size=(k, dim, dim)) / math.sqrt(dim)
        covariances = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(dim)
        super().__init__(np.arange(1, k + 1) / (k * (k + 1) / 2), 1.5 * rng.normal(size=(k, dim)), covariances)


class TwoScales(GaussianMixture):
    """Two round clusters in the plane, of very different standard deviations, half of the mass each."""

    def __init__(self, narrow, wide):
        variances = np.array([narrow, wide]) ** 2
        means = wide * np.array([[-1.5, 0], [1.5, 1.0]])
        super().__init__([0.5, 0.5], means, variances[:, None, None] * np.eye(2))


class Normal(GaussianMixture):
    """One normal distribution of mean 0."""

    def __init__(self, covariance):
        super().__init__([1.0], np.zeros((1, len(covariance))), [covariance])

    def entropy(self):
        return normal_entropy(2 * np.log(np.diag(self.factors[0])).sum(), self.dim), 0.0


def correlated(dim):
    """A covariance whose eigenvalues range from about 0.05 to 4."""
    root = np.random.default_rng(1).normal(size=(dim, dim)) / math.sqrt(dim)
    return root @ root.T + 0.05 * np.eye(dim)


def loadings_and_noise(dim, n_factors):
    """Loadings, shape (dim, n_factors), and the noise variances of a factor model, from 0.1 to 1."""
    rng = np.random.default_rng(2)
    return rng.normal(size=(dim, n_factors)), rng.uniform(0.1, 1, size=dim)


class FactorModel(Normal):
    """x = W f + noise: three normal factors, noise of another variance in each column."""

    def __init__(self, dim=30):
        loadings, noise = loadings_and_noise(dim, 3)
        super().__init__(loadings @ loadings.T + np.diag(noise))


class BimodalFactors(GaussianMixture):
    """x = W f + noise: two independent factors, each half N(-2, 0.3^2), half N(2, 0.3^2)."""

    def __init__(self, dim=30):
        loadings, noise = loadings_and_noise(dim, 2)
        signs = np.array([[a, b] for a in (-2, 2) for b in (-2, 2)])
        covariance = 0.3**2 * loadings @ loadings.T + np.diag(noise)
        super().__init__(np.full(4, 1 / 4), signs @ loadings.T, np.broadcast_to(covariance, (4, dim, dim)))
