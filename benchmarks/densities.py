"""Densities that can be sampled and whose logarithm is known exactly, in float64, to judge models of densities by.

Those of two dimensions are the toys of the literature on normalizing flows: pinwheel, checkerboard, eight Gaussians and
spirals have the shapes and scales of FFJORD (Grathwohl et al., 2019), moons and circles those of scikit-learn.
"""

import math

import numpy as np
from scipy.special import i0e, logsumexp
from sklearn.datasets import make_circles, make_moons

from nvpflow import datasets

LOG_2PI = math.log(2 * math.pi)
CHUNK = 256


class Density:
    """A density over `dim` dimensions.

    Those of two dimensions have a `box`, the half-width of a square about the origin that holds all mass but what
    rounding loses, and a `step`, the grid on which the midpoint rule integrates them.
    """

    dim = 2

    def sample(self, n, rng):
        """`n` points, shape (n, dim), by a numpy Generator."""
        raise NotImplementedError

    def log_prob(self, x):
        """Log-density in nats, shape (n,), of points of shape (n, dim)."""
        raise NotImplementedError

    def entropy(self):
        """Differential entropy in nats, and its standard error: 0 where quadrature gives it."""
        log_p = self.log_prob(self.grid())
        p = np.exp(log_p)
        return -(p @ np.where(p > 0, log_p, 0)) * self.step**2, 0.0

    def grid(self):
        """The midpoints of the cells of the box."""
        n = round(2 * self.box / self.step)
        axis = (np.arange(n) + 0.5 - n / 2) * self.step
        return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


class Moons(Density):
    """`make_moons`, which spreads its points evenly over two half-circles and adds normal noise."""

    box = 3.0

    def __init__(self, noise):
        self.noise, self.step = noise, noise / 3

    def sample(self, n, rng):
        return make_moons(n, noise=self.noise, random_state=int(rng.integers(2**32)))[0]

    def log_prob(self, x):
        return datasets.moons_log_density(x, self.noise)


class Circles(Density):
    """`make_circles`: circles of radius 1 and `factor`, half of the mass each, with normal noise.

    The mean over a circle of the normal density at a distance is a Bessel function, as in the von Mises distribution.
    """

    box = 2.0

    def __init__(self, noise=0.05, factor=0.5):
        self.noise, self.factor, self.step = noise, factor, noise / 3

    def sample(self, n, rng):
        seed = int(rng.integers(2**32))
        return make_circles(n, noise=self.noise, factor=self.factor, random_state=seed)[0]

    def log_prob(self, x):
        r, variance = np.hypot(*x.T), self.noise**2
        radii = (1, self.factor)
        circles = [np.log(i0e(r * radius / variance)) - (r - radius) ** 2 / (2 * variance) for radius in radii]
        return np.logaddexp(*circles) - math.log(4 * math.pi * variance)


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


class CorrelatedGaussians(GaussianMixture):
    """Five overlapping normal distributions of ten dimensions, unequal weights, full covariances."""

    def __init__(self, dim=10, k=5):
        rng = np.random.default_rng(0)
        roots = rng.normal(size=(k, dim, dim)) / math.sqrt(dim)
        covariances = roots @ roots.transpose(0, 2, 1) + 0.05 * np.eye(dim)
        super().__init__(np.arange(1, k + 1) / (k * (k + 1) / 2), 1.5 * rng.normal(size=(k, dim)), covariances)

    def entropy(self, n=400_000):
        nll = -self.log_prob(self.sample(n, np.random.default_rng(0)))
        return nll.mean(), nll.std() / math.sqrt(n)


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


DENSITIES = {
    "moons-0.05": Moons(0.05),
    "moons-0.1": Moons(0.1),
    "circles": Circles(),
    "8gaussians": EightGaussians(),
    "pinwheel": Pinwheel(),
    "checkerboard": Checkerboard(),
    "2spirals": Spirals(),
    "gaussians-10d": CorrelatedGaussians(),
}
