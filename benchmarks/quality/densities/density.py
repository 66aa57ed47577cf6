"""What all densities have in common: samples, an exact log-density in float64, an entropy."""

import math

import numpy as np

LOG_2PI = math.log(2 * math.pi)


class Density:
    """A density over `dim` dimensions.

    Some of two dimensions have a `box`, the half-width of a square about the origin that holds all mass but what
    rounding loses, and a `step`, the grid on which the midpoint rule integrates them.
    """

    dim = 2
    box = step = None

    def sample(self, n, rng):
        """`n` points, shape (n, dim), by a numpy Generator."""
        raise NotImplementedError

    def log_prob(self, x):
        """Log-density in nats, shape (n,), of points of shape (n, dim)."""
        raise NotImplementedError

    def entropy(self, n=400_000):
        """Differential entropy in nats, and its standard error: 0 where a formula or quadrature gives it."""
        if self.box:
            log_p = self.log_prob(self.grid())
            p = np.exp(log_p)
            return -(p @ np.where(p > 0, log_p, 0)) * self.step**2, 0.0
        nll = -self.log_prob(self.sample(n, np.random.default_rng(0)))
        return nll.mean(), nll.std() / math.sqrt(n)

    def grid(self):
        """The midpoints of the cells of the box."""
        n = round(2 * self.box / self.step)
        axis = (np.arange(n) + 0.5 - n / 2) * self.step
        return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


def normal_entropy(log_det, dim):
    """Entropy of a normal distribution whose covariance has this log-determinant."""
    return 0.5 * (log_det + dim * (1 + LOG_2PI))
