"""Bent densities in ten dimensions: normal distributions that a triangular map deforms, and moons in a larger space."""

import math

import numpy as np
from scipy.special import logsumexp

from quality.densities.density import LOG_2PI, Density, normal_entropy
from quality.densities.toys import Moons


def log_normal(x, deviation):
    """Log-density of N(0, deviation^2)."""
    return -0.5 * (x / deviation) ** 2 - np.log(deviation) - 0.5 * LOG_2PI


def rotation(dim, seed):
    """A random orthogonal matrix."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))
    return q * np.sign(np.diag(r))


class Funnel(Density):
    """The funnel of Neal (2003), Slice sampling, section 8: v of N(0, 3^2), and the other columns of N(0, exp v)."""

    dim, deviation = 10, 3.0

    def sample(self, n, rng):
        z = rng.normal(size=(n, self.dim))
        v = self.deviation * z[:, :1]
        return np.hstack([v, np.exp(v / 2) * z[:, 1:]])

    def log_prob(self, x):
        rest = log_normal(x[:, 1:], np.exp(x[:, :1] / 2)).sum(axis=1)
        return log_normal(x[:, 0], self.deviation) + rest

    def entropy(self):
        return normal_entropy(2 * math.log(self.deviation), self.dim), 0.0  # the mean of v is 0


class BananaChains(Density):
    """Three chains of bananas from one start: the hybrid Rosenbrock of Pagani, Wiegand and Nadarajah (2022).

    The start is of N(1, 0.2^2); each further column is the square of the one before it in its chain, plus N(0, 0.1^2).
    """

    dim, start, spread, noise = 10, 1.0, 0.2, 0.1
    before = (0, 1, 2, 0, 4, 5, 0, 7, 8)  # the columns that columns 1 to 9 depend on

    def sample(self, n, rng):
        x = rng.normal(size=(n, self.dim)) * self._deviations()
        x[:, 0] += self.start
        for column, before in enumerate(self.before, 1):
            x[:, column] += x[:, before] ** 2
        return x

    def log_prob(self, x):
        means = np.hstack([np.full((len(x), 1), self.start), x[:, self.before] ** 2])
        return log_normal(x - means, self._deviations()).sum(axis=1)

    def entropy(self):
        return normal_entropy(2 * np.log(self._deviations()).sum(), self.dim), 0.0  # the map keeps volumes

    def _deviations(self):
        return np.array([self.spread] + [self.noise] * (self.dim - 1))


class FiveBananas(Density):
    """Five bananas, each turned and moved at random, of equal weights.

    Straight, a banana is normal: standard deviation 1.5 along it, 0.2 across, 0.5 in the other eight columns.
    """

    dim, bend, k = 10, 0.6, 5
    deviations = np.array([1.5, 0.2] + [0.5] * 8)

    def __init__(self):
        self.turns = [rotation(self.dim, seed) for seed in range(self.k)]
        self.centres = 2 * np.random.default_rng(3).normal(size=(self.k, self.dim))

    def sample(self, n, rng):
        which = rng.integers(self.k, size=n)
        x = rng.normal(size=(n, self.dim)) * self.deviations
        x[:, 1] += self._bent(x)
        for k, (turn, centre) in enumerate(zip(self.turns, self.centres)):
            x[which == k] = x[which == k] @ turn.T + centre
        return x

    def log_prob(self, x):
        logs = []
        for turn, centre in zip(self.turns, self.centres):
            straight = (x - centre) @ turn
            straight[:, 1] -= self._bent(straight)
            logs.append(log_normal(straight, self.deviations).sum(axis=1))
        return logsumexp(logs, axis=0) - math.log(self.k)

    def _bent(self, x):
        return self.bend * (x[:, 0] ** 2 - self.deviations[0] ** 2)


class HiddenMoons(Density):
    """Two moons of noise 0.1 beside eight normal columns, turned so that no column shows them alone."""

    dim = 10

    def __init__(self):
        self.moons, self.turn = Moons(0.1), rotation(self.dim, 4)

    def sample(self, n, rng):
        moons = self.moons.sample(n, rng)
        return np.hstack([moons, rng.normal(size=(n, self.dim - 2))]) @ self.turn.T

    def log_prob(self, x):
        straight = x @ self.turn
        return self.moons.log_prob(straight[:, :2]) + log_normal(straight[:, 2:], 1.0).sum(axis=1)

    def entropy(self):
        return self.moons.entropy()[0] + normal_entropy(0, self.dim - 2), 0.0
