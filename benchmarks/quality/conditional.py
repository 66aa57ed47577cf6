"""Conditional tasks: samples x given a context c, whose conditional log-density is known exactly, or two real tables.

A row of DESIGN says which kind a task is of, in which half, and with how many samples it is run.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from quality import tables
from quality.densities.bent import log_normal
from quality.densities.toys import Moons, log_circle


class LinearNormal:
    """x = A c + b + L z: four columns, three contexts."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.slope, self.origin = rng.normal(size=(3, 4)), rng.normal(size=4)
        self.factor = np.tril(rng.normal(size=(4, 4)), -1) * 0.5 + np.diag(rng.uniform(0.3, 1, size=4))

    def sample(self, n, rng):
        c = rng.normal(size=(n, 3))
        return self._mean(c) + rng.normal(size=(n, 4)) @ self.factor.T, c

    def log_prob(self, x, c):
        z = np.linalg.solve(self.factor, (x - self._mean(c)).T).T
        return log_normal(z, 1.0).sum(axis=1) - np.log(np.diag(self.factor)).sum()

    def _mean(self, c):
        return c @ self.slope + self.origin


class CurvedNormal:
    """x = m(c) + L(c) z: the means of three columns are curves in two contexts, and so are scales and correlations."""

    def sample(self, n, rng):
        c = rng.uniform(-2, 2, size=(n, 2))
        z = rng.normal(size=(n, 3))
        scale, slope = self._scale(c), self._slope(c)
        z[:, 1] += slope * z[:, 0]
        return self._mean(c) + scale * z, c

    def log_prob(self, x, c):
        scale, slope = self._scale(c), self._slope(c)
        z = (x - self._mean(c)) / scale
        z[:, 1] -= slope * z[:, 0]
        return (log_normal(z, 1.0) - np.log(scale)).sum(axis=1)

    @staticmethod
    def _mean(c):
        a, b = c.T
        return np.stack([np.sin(2 * a) + b, a * b, a**2 - b**2], axis=1)

    @staticmethod
    def _scale(c):
        a, b = c.T
        return np.stack([np.exp(a / 2), 0.2 + 0.3 * b**2, np.full(len(c), 0.5)], axis=1)

    @staticmethod
    def _slope(c):
        return 2 * np.sin(c[:, 0] + c[:, 1])


class Heteroscedastic:
    """One column about sin 2c, normal, with a standard deviation that grows with the distance of c from 0."""

    def sample(self, n, rng):
        c = rng.uniform(-2, 2, size=(n, 1))
        return np.sin(2 * c) + self._deviation(c) * rng.normal(size=(n, 1)), c

    def log_prob(self, x, c):
        return log_normal(x - np.sin(2 * c), self._deviation(c))[:, 0]

    @staticmethod
    def _deviation(c):
        return 0.05 + 0.4 * c**2


class Bimodal:
    """One column of two branches, +sqrt(1 + c) and -sqrt(1 + c), the upper one the likelier the larger c is."""

    noise = 0.15

    def sample(self, n, rng):
        c = rng.uniform(-1, 3, size=(n, 1))
        sign = np.where(rng.random((n, 1)) < self._share(c), 1, -1)
        return sign * np.sqrt(1 + c) + self.noise * rng.normal(size=(n, 1)), c

    def log_prob(self, x, c):
        upper, lower = (log_normal(x - sign * np.sqrt(1 + c), self.noise) for sign in (1, -1))
        share = self._share(c)
        return np.logaddexp(np.log(share) + upper, np.log1p(-share) + lower)[:, 0]

    @staticmethod
    def _share(c):
        return 1 / (1 + np.exp(1 - c))


class TurnedMoons:
    """Two moons of noise 0.1, turned about their centre by the context, an angle in [-pi/2, pi/2]."""

    centre = np.array([0.5, 0.25])

    def __init__(self):
        self.moons = Moons(0.1)

    def sample(self, n, rng):
        c = rng.uniform(-math.pi / 2, math.pi / 2, size=(n, 1))
        return self._turn(self.moons.sample(n, rng) - self.centre, c), c

    def log_prob(self, x, c):
        return self.moons.log_prob(self._turn(x, -c) + self.centre)

    @staticmethod
    def _turn(x, angle):
        cos, sin = np.cos(angle[:, 0]), np.sin(angle[:, 0])
        return np.stack([cos * x[:, 0] - sin * x[:, 1], sin * x[:, 0] + cos * x[:, 1]], axis=1)


class RingOfRadius:
    """A ring whose radius is the context, from 0.5 to 2, with normal noise of deviation 0.1."""

    noise = 0.1

    def sample(self, n, rng):
        c, angle = rng.uniform(0.5, 2, size=(n, 1)), rng.uniform(0, 2 * math.pi, size=n)
        return c * np.stack([np.cos(angle), np.sin(angle)], axis=1) + self.noise * rng.normal(size=(n, 2)), c

    def log_prob(self, x, c):
        return log_circle(np.hypot(*x.T), c[:, 0], self.noise**2) - math.log(2 * math.pi * self.noise**2)


class TableColumns:
    """Some columns of a real table given the others, split as the table is. There is no exact density."""

    def __init__(self, table, *columns):
        self.table, self.columns = table, columns

    def split(self, rng):
        """Training and held-out samples, each a pair of x and c."""
        names = tables.load(self.table)[1]
        x = [names.index(name) for name in self.columns]
        c = [d for d in range(len(names)) if d not in x]
        return [(part[:, x], part[:, c]) for part in tables.split(self.table, rng)]


class Row(NamedTuple):
    """What is declared of a task; the sizes of a table are what its split leaves."""

    kind: str
    half: str
    sizes: tuple[int, ...]
    task: Any


SIZES = (200, 1000, 10_000)


def _table_row(half, table, *columns):
    return Row("table", half, (tables.n_training(table),), TableColumns(table, *columns))


DESIGN = {
    "linear-normal|c": Row("normal", "choose", SIZES, LinearNormal()),
    "curved-normal|c": Row("normal", "report", SIZES, CurvedNormal()),
    "heteroscedastic|c": Row("one column", "choose", SIZES, Heteroscedastic()),
    "bimodal|c": Row("one column", "report", SIZES, Bimodal()),
    "turned-moons|c": Row("shape", "choose", SIZES, TurnedMoons()),
    "ring|c": Row("shape", "report", SIZES, RingOfRadius()),
    "strength|concrete": _table_row("choose", "concrete", "compressive_strength"),
    "concentration|nox": _table_row("report", "nox", "LNOx"),
}
