"""Densities and probabilities of columns with bounds and of whole numbers, whose logarithm is known exactly.

A row of DESIGN says which kind it is of, in which half, with how many samples it is run, and the support of each column: a
pair (low, high), None for all reals, "angle" for angles in [0, 2 pi), or "whole" for whole numbers from 0, ("whole", high) with
a largest one; ("category", V) for categories whose V values are numbers from 0.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from quality.categories import CategoriesGivenReals, CoupledCategories, EachKind
from quality.densities.columns import GaussianCopula, Independent, equal_correlation

UNIT, POSITIVE, COUNT, ANGLE, CATEGORY = (0, 1), (0, None), "whole", "angle", "category"
TURN = 2 * np.pi


class CoupledCounts:
    """Whole numbers with the dependence of a normal distribution in the plane: a Poisson and a binomial column."""

    correlation, margins, most = 0.6, (stats.poisson(3), stats.binom(10, 0.3)), (40, 10)

    def __init__(self):
        self.factor = np.linalg.cholesky(equal_correlation(2, self.correlation))
        first, second = (
            stats.norm.ppf(margin.cdf(np.arange(-1, top + 1))).clip(-9, 9) for margin, top in zip(self.margins, self.most)
        )
        nodes, weights = np.polynomial.legendre.leggauss(64)
        half = np.diff(first)[:, None] / 2
        z = first[:-1, None] + half * (nodes + 1)
        given = stats.norm.cdf((second - self.correlation * z[..., None]) / self.factor[1, 1])
        self.masses = np.einsum("ij,ijk->ik", half * weights * stats.norm.pdf(z), np.diff(given, axis=-1))

    def sample(self, n, rng):
        shares = stats.norm.cdf(rng.normal(size=(n, 2)) @ self.factor.T)
        return np.stack([margin.ppf(column) for margin, column in zip(self.margins, shares.T)], axis=1)

    def log_prob(self, x):
        first, second = x.astype(int).T
        return np.log(self.masses[first, second])


class IndependentCounts(Independent):
    """Independent columns of whole numbers."""

    def log_prob(self, x):
        return sum(margin.logpmf(column) for margin, column in zip(self.margins, x.T))


class CountsGivenNormal:
    """k is Poisson, with a mean that depends on a normal column."""

    def sample(self, n, rng):
        x = rng.normal(size=n)
        return np.stack([rng.poisson(self._mean(x)), x], axis=1)

    def log_prob(self, x):
        k, y = x.T
        return stats.poisson(self._mean(y)).logpmf(k) + stats.norm.logpdf(y)

    @staticmethod
    def _mean(x):
        return np.exp(1 + 0.5 * x)


class VonMises:
    """An angle with its mode at the seam, and a normal column."""

    def sample(self, n, rng):
        return np.stack([rng.vonmises(0, 2, n) % TURN, rng.normal(size=n)], axis=1)

    def log_prob(self, x):
        return stats.vonmises(2).logpdf(x[:, 0]) + stats.norm.logpdf(x[:, 1])


class CoupledAngles:
    """Two angles whose difference has a von Mises distribution, and so has the first if `concentration` is not 0."""

    def __init__(self, concentration, coupling):
        self.concentration, self.coupling = concentration, coupling

    def sample(self, n, rng):
        first = rng.vonmises(0, self.concentration, n)
        return np.stack([first, first + rng.vonmises(0, self.coupling, n)], axis=1) % TURN

    def log_prob(self, x):
        first, second = x.T
        own = stats.vonmises(self.concentration).logpdf(first) if self.concentration else -np.log(TURN)
        return own + stats.vonmises(self.coupling).logpdf(second - first)


class Mixed:
    """A real, a positive, a bounded column and whole numbers, each given the ones before it."""

    def sample(self, n, rng):
        x = rng.normal(size=n)
        price = np.exp(0.5 * x + 0.8 * rng.normal(size=n))
        share = rng.beta(*self._shape(price))
        return np.stack([x, price, share, rng.binomial(12, 0.2 + 0.6 * share)], axis=1)

    def log_prob(self, rows):
        x, price, share, k = rows.T
        log_p = stats.norm.logpdf(x) + stats.norm.logpdf(np.log(price), 0.5 * x, 0.8) - np.log(price)
        return log_p + stats.beta(*self._shape(price)).logpdf(share) + stats.binom(12, 0.2 + 0.6 * share).logpmf(k)

    @staticmethod
    def _shape(price):
        return 1 + price / (1 + price), 1.5


class Row(NamedTuple):
    """What is declared of a density."""

    kind: str
    half: str
    sizes: tuple[int, ...]
    support: tuple[Any, ...]
    density: Any


SIZES = (1000, 10_000)
GAMMAS = GaussianCopula(equal_correlation(2, 0.6), [stats.gamma(0.7), stats.gamma(3, scale=5)])
DESIGN = {
    "uniform-2d": Row("interval", "choose", SIZES, (UNIT,) * 2, Independent([stats.uniform()] * 2)),
    "beta-2d": Row("interval", "choose", SIZES, (UNIT,) * 2, Independent([stats.beta(0.6, 0.6)] * 2)),
    "unit-5d": Row("interval", "report", SIZES, (UNIT,) * 5, Independent([stats.uniform()] * 5)),
    "dirichlet-margins-3d": Row(
        "interval", "report", SIZES, (UNIT,) * 3, Independent([stats.beta(1, 5), stats.beta(2, 4), stats.beta(3, 3)])
    ),
    "exponential-2d": Row("half-line", "choose", SIZES, (POSITIVE,) * 2, Independent([stats.expon()] * 2)),
    "log-normal-2d": Row("half-line", "choose", SIZES, (POSITIVE,) * 2, Independent([stats.lognorm(1.5)] * 2)),
    "half-normal-2d": Row("half-line", "report", SIZES, (POSITIVE,) * 2, Independent([stats.halfnorm()] * 2)),
    "gamma-copula-2d": Row("half-line", "report", SIZES, (POSITIVE,) * 2, GAMMAS),
    "poisson": Row("whole", "choose", SIZES, (COUNT,), IndependentCounts([stats.poisson(3)])),
    "counts-given-normal": Row("whole", "choose", SIZES, (COUNT, None), CountsGivenNormal()),
    "binomial": Row("whole", "report", SIZES, ((COUNT, 10),), IndependentCounts([stats.binom(10, 0.3)])),
    "coupled-counts": Row("whole", "report", SIZES, (COUNT, (COUNT, 10)), CoupledCounts()),
    "von-mises-and-normal": Row("angle", "choose", SIZES, (ANGLE, None), VonMises()),
    "coupled-angles": Row("angle", "choose", SIZES, (ANGLE,) * 2, CoupledAngles(1, 3)),
    "turning-angles": Row("angle", "report", SIZES, (ANGLE,) * 2, CoupledAngles(0, 4)),
    "mixed-3d": Row(
        "mixed",
        "choose",
        SIZES,
        (None, POSITIVE, UNIT),
        GaussianCopula(equal_correlation(3, 0.5), [stats.norm(), stats.gamma(2), stats.beta(2, 1)]),
    ),
    "mixed-4d": Row("mixed", "report", SIZES, (None, POSITIVE, UNIT, (COUNT, 12)), Mixed()),
    "categories-given-reals": Row("category", "choose", SIZES, (None, None, (CATEGORY, 3)), CategoriesGivenReals()),
    "coupled-categories": Row("category", "report", SIZES, ((CATEGORY, 4), (CATEGORY, 3), None), CoupledCategories()),
    "each-kind": Row("category", "report", SIZES, ((CATEGORY, 3), ANGLE, UNIT, COUNT, None), EachKind()),
}


def is_whole(kind):
    return kind == COUNT or (isinstance(kind, tuple) and kind[0] == COUNT)


def is_category(kind):
    return isinstance(kind, tuple) and kind[0] == CATEGORY


def share_outside(x, support):
    """The share of rows of `x`, shape (n, D), with a value that is not in the support of its column; bounds are inside."""
    inside = np.isfinite(x).all(axis=1)
    for column, kind in zip(x.T, support):
        if is_whole(kind):
            inside &= (column == np.floor(column)) & (column >= 0) & (isinstance(kind, str) or column <= kind[1])
        elif is_category(kind):
            inside &= np.isin(column, np.arange(kind[1]))
        elif kind == ANGLE:
            inside &= (column >= 0) & (column <= TURN)
        elif kind is not None:
            inside &= (column >= kind[0]) & (kind[1] is None or column <= kind[1])
    return 1 - inside.mean()
