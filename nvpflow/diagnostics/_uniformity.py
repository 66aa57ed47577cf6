"""Ranks of held-out values among samples of the model, and tests that they are uniform."""

from __future__ import annotations

import math

import numpy as np

from nvpflow._typing import Floats

__all__ = ["binomial_p_value", "expected_distance", "kolmogorov_distance", "kolmogorov_p_value", "pit"]

MEAN_OF_LIMIT = math.sqrt(math.pi / 2) * math.log(2)  # of Kolmogorov's distribution
TERMS = 100


def pit(values: Floats, draws: Floats, rng: np.random.Generator) -> Floats:
    """The probability integral transform of values (n,) by draws, (N,) for all or (n, m) for each; ties at random.

    Uniform for values from the same distribution, whatever it is.
    """
    if draws.ndim == 1:
        ordered = np.sort(draws)
        below, upto = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    else:
        below, upto = (draws < values[:, None]).sum(axis=1), (draws <= values[:, None]).sum(axis=1)
    found: Floats = (below + rng.random(len(values)) * (upto - below + 1)) / (draws.shape[-1] + 1)
    return found


def kolmogorov_distance(u: Floats) -> float:
    """The largest distance of the empirical distribution function from that of the uniform distribution."""
    ordered, n = np.sort(u), len(u)
    return float(max((np.arange(1, n + 1) / n - ordered).max(), (ordered - np.arange(n) / n).max()))


def expected_distance(size: float) -> float:
    """Its mean for a uniform distribution, from the limit for large samples."""
    return MEAN_OF_LIMIT / _scale(size)


def kolmogorov_p_value(distance: float, size: float) -> float:
    """The probability of a distance that is as large: Stephens (1970), "Use of the Kolmogorov-Smirnov, Cramer-von Mises and
    related statistics without extensive tables"."""
    j, root = np.arange(1, TERMS + 1), _scale(size) * distance
    if root < 0.2:  # where the series converges slowly, to 1
        return 1.0
    return float(np.clip(2 * ((-1.0) ** (j - 1) * np.exp(-2 * (j * root) ** 2)).sum(), 0, 1))


def _scale(size: float) -> float:
    return math.sqrt(size) + 0.12 + 0.11 / math.sqrt(size)


def binomial_p_value(share: float, probability: float, size: float) -> float:
    """The two-sided p-value of a share of `size` rows: twice the smaller tail."""
    n = max(1, int(size))
    k, log_factorial = round(share * n), np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    i = np.arange(n + 1)
    log_p = log_factorial[n] - log_factorial - log_factorial[::-1] + i * np.log(probability) + (n - i) * np.log1p(-probability)
    p = np.exp(log_p)
    return float(min(1.0, 2 * min(p[: k + 1].sum(), p[k:].sum())))
