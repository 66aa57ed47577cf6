"""Thin surfaces in space, with normal noise: their densities are integrals over the surface."""

import math

import numpy as np
from scipy.special import i0e, log_ndtr
from sklearn.datasets import make_swiss_roll

from quality.densities.density import LOG_2PI, Density

CHUNK = 256


def log_mean(squares, weights, variance):
    """log of the sum of weights exp(-squares / (2 variance)) over the last axis, without underflow."""
    least = squares.min(axis=1, keepdims=True)
    return np.log(np.exp((least - squares) / (2 * variance)) @ weights) - least[:, 0] / (2 * variance)


def in_chunks(function, x):
    """`function` of the rows of x, some at a time, as it needs a row of nodes for each."""
    return np.concatenate([function(x[start : start + CHUNK]) for start in range(0, len(x), CHUNK)])


class SwissRoll(Density):
    """`make_swiss_roll`: (t cos t, h, t sin t) with t uniform over [1.5 pi, 4.5 pi] and h over [0, 21], and normal noise.

    The integral over h is a difference of normal distribution functions; that over t is done with Gauss-Legendre rules.
    """

    dim, height = 3, 21.0

    def __init__(self, noise=0.5, panels=150, order=8):
        self.noise = noise
        nodes, weights = np.polynomial.legendre.leggauss(order)
        ends = np.linspace(1.5 * math.pi, 4.5 * math.pi, panels + 1)
        t = (ends[:-1, None] + np.diff(ends)[:, None] / 2 * (nodes + 1)).ravel()
        self._spiral = np.stack([t * np.cos(t), t * np.sin(t)])
        self._weights = np.tile(weights / (2 * panels), panels)

    def sample(self, n, rng):
        return make_swiss_roll(n, noise=self.noise, random_state=int(rng.integers(2**32)))[0]

    def log_prob(self, x):
        spiral = in_chunks(self._log_spiral, x[:, [0, 2]]) - LOG_2PI - 2 * math.log(self.noise)
        # From the nearer end of the interval, where the difference of the two keeps its digits.
        h = np.abs(x[:, 1] - self.height / 2)
        near, far = (self.height / 2 - h) / self.noise, (-self.height / 2 - h) / self.noise
        return spiral + log_ndtr(near) + np.log1p(-np.exp(log_ndtr(far) - log_ndtr(near))) - math.log(self.height)

    def _log_spiral(self, x):
        squares = sum(np.subtract.outer(x[:, d], self._spiral[d]) ** 2 for d in range(2))
        return log_mean(squares, self._weights, self.noise**2)


class Torus(Density):
    """A tube of radius 0.6 about a circle of radius 2, both angles uniform, with normal noise of deviation 0.05.

    The integral over the angle about the axis is a Bessel function; that over the angle about the tube is a periodic one,
    for which the trapezoidal rule converges exponentially.
    """

    dim, radius, tube, noise = 3, 2.0, 0.6, 0.05

    def __init__(self, nodes=600):
        angle = 2 * math.pi * np.arange(nodes) / nodes
        self._from_axis, self._height = self.radius + self.tube * np.cos(angle), self.tube * np.sin(angle)

    def sample(self, n, rng):
        around, about = rng.uniform(0, 2 * math.pi, size=(2, n))
        from_axis = self.radius + self.tube * np.cos(about)
        x = np.stack([from_axis * np.cos(around), from_axis * np.sin(around), self.tube * np.sin(about)], axis=1)
        return x + self.noise * rng.normal(size=(n, 3))

    def log_prob(self, x):
        return in_chunks(self._log_prob, x)

    def _log_prob(self, x):
        variance, r = self.noise**2, np.hypot(x[:, 0], x[:, 1])
        squares = np.subtract.outer(r, self._from_axis) ** 2 + np.subtract.outer(x[:, 2], self._height) ** 2
        bessel = i0e(np.multiply.outer(r, self._from_axis) / variance)
        least = squares.min(axis=1, keepdims=True)
        mean = (np.exp((least - squares) / (2 * variance)) * bessel).mean(axis=1)
        return np.log(mean) - least[:, 0] / (2 * variance) - 1.5 * math.log(2 * math.pi * variance)
