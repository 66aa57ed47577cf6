"""Densities of tables with categories, whose logarithm is known exactly. The values of a category are numbers from 0."""

import numpy as np
from scipy import stats
from scipy.special import log_softmax, logsumexp

TURN = 2 * np.pi


def draw_codes(p, rng):
    """A code for each row of probabilities."""
    return np.minimum((np.cumsum(p, axis=1) < rng.random((len(p), 1))).sum(axis=1), p.shape[1] - 1)


class CategoriesGivenReals:
    """Three categories, by a logistic regression on two columns that are a mixture of two normal distributions."""

    means, slopes = np.array([[-1.5, 0], [1.5, 1]]), np.array([[2.0, -1, 0], [0, 1.5, -1.5]])

    def sample(self, n, rng):
        x = self.means[rng.integers(2, size=n)] + rng.normal(size=(n, 2))
        return np.column_stack([x, draw_codes(np.exp(log_softmax(x @ self.slopes, axis=1)), rng)])

    def log_prob(self, rows):
        x, codes = rows[:, :2], rows[:, 2].astype(int)
        parts = stats.norm.logpdf(x[:, None], self.means).sum(axis=-1)
        return logsumexp(parts, axis=1) - np.log(2) + log_softmax(x @ self.slopes, axis=1)[np.arange(len(rows)), codes]


class CoupledCategories:
    """Two dependent categories, and a normal column whose mean and deviation depend on both."""

    first = np.array([0.4, 0.3, 0.2, 0.1])
    given = np.array([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.05, 0.15, 0.8], [0.4, 0.3, 0.3]])

    def sample(self, n, rng):
        a = draw_codes(np.tile(self.first, (n, 1)), rng)
        b = draw_codes(self.given[a], rng)
        return np.column_stack([a, b, rng.normal(*self._normal(a, b))])

    def log_prob(self, rows):
        a, b = rows[:, 0].astype(int), rows[:, 1].astype(int)
        return np.log(self.first[a] * self.given[a, b]) + stats.norm.logpdf(rows[:, 2], *self._normal(a, b))

    @staticmethod
    def _normal(a, b):
        return 2.0 * a - 1.5 * b, 0.5 + 0.25 * b


class EachKind:
    """A category, and given it an angle, a share, and a real column; whole numbers given the angle and the category."""

    shares = np.array([0.5, 0.3, 0.2])

    def sample(self, n, rng):
        c = draw_codes(np.tile(self.shares, (n, 1)), rng)
        angle = rng.vonmises(2.0 * c, 3, n) % TURN
        share = rng.beta(1.0 + c, 2)
        count = rng.poisson(self._mean(c, angle))
        return np.column_stack([c, angle, share, count, rng.normal(share - c, 0.5)])

    def log_prob(self, rows):
        _, angle, share, count, x = rows.T
        c = rows[:, 0].astype(int)
        log_p = np.log(self.shares[c]) + stats.vonmises(3).logpdf(angle - 2.0 * c) + stats.beta(1.0 + c, 2).logpdf(share)
        return log_p + stats.poisson(self._mean(c, angle)).logpmf(count) + stats.norm.logpdf(x, share - c, 0.5)

    @staticmethod
    def _mean(c, angle):
        return np.exp(1 + 0.4 * c + 0.5 * np.cos(angle))
