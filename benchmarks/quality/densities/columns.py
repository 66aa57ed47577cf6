"""Densities that columns with margins of their own make: skewed, bounded and heavy-tailed, dependent or not."""

import numpy as np
from scipy import stats
from scipy.special import ndtr, ndtri

from quality.densities.density import Density


class Independent(Density):
    """Independent columns, each with its frozen distribution of scipy."""

    def __init__(self, margins):
        self.margins, self.dim = margins, len(margins)

    def sample(self, n, rng):
        return np.stack([margin.rvs(n, random_state=rng) for margin in self.margins], axis=1)

    def log_prob(self, x):
        return sum(margin.logpdf(column) for margin, column in zip(self.margins, x.T))

    def entropy(self):
        return float(sum(margin.entropy() for margin in self.margins)), 0.0


class GaussianCopula(Independent):
    """Columns with the given margins and the dependence of a normal distribution of this correlation matrix."""

    def __init__(self, correlation, margins):
        super().__init__(margins)
        self.factor = np.linalg.cholesky(correlation)

    def sample(self, n, rng):
        scores = rng.normal(size=(n, self.dim)) @ self.factor.T
        # The upper half by the survival function, whose values near 0 keep their digits.
        columns = [
            np.where(z < 0, margin.ppf(ndtr(np.minimum(z, 0))), margin.isf(ndtr(-np.maximum(z, 0))))
            for margin, z in zip(self.margins, scores.T)
        ]
        return np.stack(columns, axis=1)

    def log_prob(self, x):
        scores = np.empty(x.shape)
        for d, margin in enumerate(self.margins):
            lower, upper = margin.cdf(x[:, d]), margin.sf(x[:, d])
            scores[:, d] = np.where(lower < 0.5, ndtri(np.minimum(lower, 0.5)), -ndtri(np.minimum(upper, 0.5)))
        whitened = np.linalg.solve(self.factor, scores.T)
        copula = 0.5 * (scores**2).sum(axis=1) - 0.5 * (whitened**2).sum(axis=0) - self._log_det()
        return super().log_prob(x) + copula

    def entropy(self):
        return super().entropy()[0] + self._log_det(), 0.0

    def _log_det(self):
        return np.log(np.diag(self.factor)).sum()


class StudentT(Density):
    """A multivariate t distribution: `shape` is its scale matrix, `df` its degrees of freedom."""

    def __init__(self, shape, df):
        self.distribution = stats.multivariate_t(np.zeros(len(shape)), shape, df)
        self.dim, self._factor, self._df = len(shape), np.linalg.cholesky(shape), df

    def sample(self, n, rng):
        normal = rng.normal(size=(n, self.dim)) @ self._factor.T
        return normal / np.sqrt(rng.chisquare(self._df, size=(n, 1)) / self._df)

    def log_prob(self, x):
        return self.distribution.logpdf(x)

    def entropy(self):
        return float(self.distribution.entropy()), 0.0


def equal_correlation(dim, correlation):
    return correlation + (1 - correlation) * np.eye(dim)


def autoregressive(dim, correlation):
    """Correlations of an AR(1) process."""
    steps = np.arange(dim)
    return correlation ** np.abs(np.subtract.outer(steps, steps))


AR1_MARGINS = [stats.gamma(2), stats.t(3), stats.beta(2, 5), stats.norm(), stats.beta(0.7, 0.7)] * 4
GAMMA_MARGINS = [stats.gamma(shape) for shape in (0.8, 1, 1.5, 2, 3, 5)]
