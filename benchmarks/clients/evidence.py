"""Posteriors with a known evidence, which samplers are measured on: uniform priors, and likelihoods that integrate to 1."""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

WIDTH = 10.0  # the prior is uniform on [-WIDTH, WIDTH] in each dimension


class Mixture:
    """Two normal distributions of such a width and 1, at -3 and at 3 in all dimensions, with shares of one and two thirds."""

    def __init__(self, dim, width=0.5):
        self.dim, self.width, self.log_evidence = dim, width, -dim * np.log(2 * WIDTH)

    def sample(self, n, rng):
        """Draws from the posterior."""
        first = rng.random((n, 1)) < 1 / 3
        return np.where(first, -3, 3) + np.where(first, self.width, 1) * rng.normal(size=(n, self.dim))

    def log_likelihood(self, x):
        clusters = (1 / 3, -3, self.width), (2 / 3, 3, 1)
        parts = [np.log(share) + norm.logpdf(x, at, width).sum(axis=-1) for share, at, width in clusters]
        return logsumexp(parts, axis=0)


class Rosenbrock:
    """Two independent banana-shaped pairs of dimensions: x ~ N(1, 1), y ~ N(x^2, 0.3^2), cut off by the prior a little."""

    dim = 4

    def __init__(self):
        grid = np.linspace(-WIDTH, WIDTH, 200_001)
        inside = norm.cdf((WIDTH - grid**2) / 0.3) - norm.cdf((-WIDTH - grid**2) / 0.3)
        share = np.sum(norm.pdf(grid, 1, 1) * inside) * (grid[1] - grid[0])
        self.log_evidence = 2 * np.log(share) - 4 * np.log(2 * WIDTH)

    def sample(self, n, rng):
        """Draws from the posterior."""
        first = rng.normal(1, 1, size=(2 * n, 2))
        x = np.stack([first, first**2 + 0.3 * rng.normal(size=first.shape)], axis=2).reshape(2 * n, 4)
        return x[(np.abs(x) < WIDTH).all(axis=1)][:n]

    def log_likelihood(self, x):
        first, second = x[..., ::2], x[..., 1::2]
        return (norm.logpdf(first, 1, 1) + norm.logpdf(second, first**2, 0.3)).sum(axis=-1)


PROBLEMS = {
    "4-d mixture": Mixture(4),
    "Rosenbrock, 4-d": Rosenbrock(),
    "8-d mixture": Mixture(8),
    "8-d mixture, one width": Mixture(8, width=1),
}
