"""Toys of the literature in two dimensions: curves with noise, and sharp edges.

Pinwheel, checkerboard and spirals have the shapes and scales of FFJORD (Grathwohl et al., 2019), moons and circles those
of scikit-learn.
"""

import math

import numpy as np
from scipy.special import i0e, logsumexp
from sklearn.datasets import make_circles, make_moons

from nvpflow import datasets
from quality.densities.density import LOG_2PI, Density

CHUNK = 256


class Moons(Density):
    """`make_moons`, which spreads its points evenly over two half-circles and adds normal noise."""

    box = 3.0

    def __init__(self, noise):
        self.noise, self.step = noise, noise / 3

    def sample(self, n, rng):
        return make_moons(n, noise=self.noise, random_state=int(rng.integers(2**32)))[0]

    def log_prob(self, x):
        return datasets.moons_log_density(x, self.noise)


def log_circle(r, radius, variance):
    """Log-density, but for a constant, log(2 pi variance), at distance r from the centre of a circle with normal noise.

    The mean over a circle of the normal density at a distance is a Bessel function, as in the von Mises distribution.
    """
    return np.log(i0e(r * radius / variance)) - (r - radius) ** 2 / (2 * variance)


class Circles(Density):
    """`make_circles`: circles of radius 1 and `factor`, half of the mass each, with normal noise."""

    box = 2.0

    def __init__(self, noise=0.05, factor=0.5):
        self.noise, self.factor, self.step = noise, factor, noise / 3

    def sample(self, n, rng):
        seed = int(rng.integers(2**32))
        return make_circles(n, noise=self.noise, factor=self.factor, random_state=seed)[0]

    def log_prob(self, x):
        r, variance = np.hypot(*x.T), self.noise**2
        circles = [log_circle(r, radius, variance) for radius in (1, self.factor)]
        return np.logaddexp(*circles) - math.log(4 * math.pi * variance)


class Ring(Density):
    """A circle of radius 1, evenly covered, with normal noise."""

    box = 1.3

    def __init__(self, noise=0.02):
        self.noise, self.step = noise, noise / 3

    def sample(self, n, rng):
        angle = rng.uniform(0, 2 * math.pi, size=n)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1) + self.noise * rng.normal(size=(n, 2))

    def log_prob(self, x):
        return log_circle(np.hypot(*x.T), 1, self.noise**2) - math.log(2 * math.pi * self.noise**2)


class FigureEight(Density):
    """A curve that crosses itself, (2 cos t, sin 2t) with t uniform, and normal noise of deviation 0.1.

    The integral over t is that of a periodic function, for which the trapezoidal rule converges exponentially.
    """

    box, step, noise = 3.0, 0.03, 0.1

    def __init__(self, nodes=600):
        self._curve = self._positions(2 * math.pi * np.arange(nodes) / nodes)

    def sample(self, n, rng):
        return self._positions(rng.uniform(0, 2 * math.pi, size=n)) + self.noise * rng.normal(size=(n, 2))

    def log_prob(self, x):
        result = np.empty(len(x))
        for start in range(0, len(x), CHUNK):
            part = x[start : start + CHUNK]
            squares = sum(np.subtract.outer(part[:, d], self._curve[:, d]) ** 2 for d in range(2))
            result[start : start + CHUNK] = logsumexp(-squares / (2 * self.noise**2), axis=1)
        return result - math.log(len(self._curve) * 2 * math.pi * self.noise**2)

    @staticmethod
    def _positions(t):
        return np.stack([2 * np.cos(t), np.sin(2 * t)], axis=1)


class Pinwheel(Density):
    """Five blades: long normal distributions, each turned by an angle that grows with the radius, exp(r) / 4.

    As this turn keeps areas, the density is that of the straight blades at the point turned back. (FFJORD's angle
    depends on the coordinate along the blade, almost the same, but its map folds over itself far out.)
    """

    box, step = 6.5, 0.025
    scale, deviations = 2.0, np.array([0.3, 0.1])  # along a blade, about radius 1, and across
    blades = 2 * math.pi / 5 * np.arange(5)

    def sample(self, n, rng):
        straight = rng.normal(size=(n, 2)) * self.deviations + [1, 0]
        return self.scale * self._turn(straight, rng.choice(self.blades, size=n), 1)

    def log_prob(self, x):
        logs = []
        for blade in self.blades:
            z = (self._turn(x / self.scale, blade, -1) - [1, 0]) / self.deviations
            logs.append(-0.5 * (z**2).sum(axis=1))
        area = 5 * self.scale**2 * self.deviations.prod()
        return logsumexp(logs, axis=0) - math.log(area) - LOG_2PI

    @staticmethod
    def _turn(x, blade, sign):
        angle = sign * (blade + 0.25 * np.exp(np.hypot(*x.T)))
        cos, sin = np.cos(angle), np.sin(angle)
        return np.stack([cos * x[:, 0] - sin * x[:, 1], sin * x[:, 0] + cos * x[:, 1]], axis=1)


class Checkerboard(Density):
    """Uniform on the dark squares, of side 2, of a 4 x 4 board over [-4, 4]^2."""

    box, step = 5.0, 0.5

    def sample(self, n, rng):
        column = rng.integers(4, size=n)
        row = 2 * rng.integers(2, size=n) + column % 2
        return 2 * (np.stack([column, row], axis=1) + rng.random((n, 2))) - 4

    def log_prob(self, x):
        squares = np.floor((x + 4) / 2)
        dark = ((squares >= 0) & (squares < 4)).all(axis=1) & (squares.sum(axis=1) % 2 == 0)
        return np.where(dark, -math.log(32), -np.inf)


class Staircase(Density):
    """Uniform on four steps, [-4, -2] x [-4, -3], [-2, 0] x [-3, -1], [0, 2] x [-1, 1], [2, 4] x [1, 4], a quarter each."""

    box, step = 5.0, 0.5
    low = np.array([[-4, -4], [-2, -3], [0, -1], [2, 1]])
    high = np.array([[-2, -3], [0, -1], [2, 1], [4, 4]])

    def sample(self, n, rng):
        step = rng.integers(4, size=n)
        return self.low[step] + (self.high - self.low)[step] * rng.random((n, 2))

    def log_prob(self, x):
        inside = ((x[:, None] >= self.low) & (x[:, None] < self.high)).all(axis=2)
        areas = (self.high - self.low).prod(axis=1)
        return np.where(inside.any(axis=1), -np.log(4 * areas[inside.argmax(axis=1)]), -np.inf)


class Spirals(Density):
    """Two arms, (-t cos t, t sin t) / 3 and its opposite, t = 3 pi sqrt(uniform), with normal noise of deviation 0.1.

    The density is an integral over t, done panel by panel with Gauss-Legendre rules. Its logarithm is accurate to 1e-9
    where the samples are and to 1e-6 up to ten standard deviations away.
    """

    box, step, noise, end = 4.2, 0.06, 0.1, 3 * math.pi

    def __init__(self, panels=200, order=8):
        nodes, weights = np.polynomial.legendre.leggauss(order)
        # Panels of equal length in t^2 are about equally long on the arm, but those near the centre, which are cut up.
        ends = self.end * np.sqrt(np.linspace(0, 1, panels + 1))
        ends = np.concatenate([np.linspace(0, ends[1], 16, endpoint=False), ends[1:]])
        half = np.diff(ends)[:, None] / 2
        t = (ends[:-1, None] + half * (nodes + 1)).ravel()
        self._arm = self._positions(t)
        self._weights = 2 * t / self.end**2 * (half * weights).ravel()

    def sample(self, n, rng):
        t = self.end * np.sqrt(rng.random(n))
        sign = rng.choice([-1.0, 1.0], size=n)
        return sign[:, None] * self._positions(t) + self.noise * rng.normal(size=(n, 2))

    def log_prob(self, x):
        result = np.empty(len(x))
        for start in range(0, len(x), CHUNK):
            part = x[start : start + CHUNK]
            result[start : start + CHUNK] = np.logaddexp(self._log_arm(part), self._log_arm(-part))
        return result - math.log(4 * math.pi * self.noise**2)

    @staticmethod
    def _positions(t):
        return np.stack([-t * np.cos(t), t * np.sin(t)], axis=1) / 3

    def _log_arm(self, x):
        squares = sum(np.subtract.outer(x[:, d], self._arm[:, d]) ** 2 for d in range(2))
        least = squares.min(axis=1, keepdims=True)
        integral = np.exp((least - squares) / (2 * self.noise**2)) @ self._weights
        return np.log(integral) - least[:, 0] / (2 * self.noise**2)
