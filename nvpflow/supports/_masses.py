"""Densities that are sums of a density: integrals over the cells of whole numbers, sums over the windings of angles."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Floats
from nvpflow.supports._windings import N_WINDINGS, windings

__all__ = ["N_NODES", "lattice", "log_masses", "n_points", "nodes", "points_of"]

# Evaluations of the density for each row, by the number of columns of whole numbers; the last one is for more columns. On
# coupled Poisson and binomial columns beside a normal one, the log-mass then had a root mean square error of less than 1e-5
# nats for one column, 2e-5 for two, 1e-4 for three and 3e-4 for four.
N_NODES = (1, 31, 67, 257, 521)
# From this number of columns on, the weights of the substitution vary too much: total masses were 1.07 (8 answers from 1 to
# 5), 1.24 (15 of them) and 49 (30 counts with a mean of 0.05). With equal weights, root mean square errors are 0.002, 0.05 and
# 0.4 nats; they were 0.1, 0.7 and 4.
MANY = 5
# How much a column counts in the choice of the lattice of many columns. With 1 the errors were ten times as large.
IMPORTANCE = 0.1
GOLDEN = 0.5 * (5**0.5 - 1)
MOST_POINTS = 2**17  # to evaluate at once
TIE = 1e-9  # relative difference between errors that are equal but for rounding; csrc/cells.c builds the same lattice


def log_masses(
    log_prob: Callable[[Floats, slice], Floats], x: Floats, is_whole: npt.NDArray[np.bool_], turns: Floats
) -> Floats:
    """Integrate a density over the unit cells of whole numbers, and sum it over the windings of angles.

    Parameters
    ----------
    log_prob : callable
        ``log_prob(points, rows)`` gives the log-density (m, N) at points (m, N, D) of m rows of x.
    x : ndarray of float64, shape (n, D)
        Samples, with the whole number k of the cell [k, k + 1) in columns where `is_whole`.
    is_whole : ndarray of bool, shape (D,)
    turns : ndarray, shape (D,)
        The periods of angles, and 0 for other columns.

    Returns
    -------
    log_masses : ndarray of float64, shape (n,)
        In nats, with respect to counting measure in these columns.
    """
    masses, step = np.empty(len(x)), max(1, MOST_POINTS // n_points(is_whole, turns))
    for start in range(0, len(x), step):
        rows = slice(start, start + step)
        points, log_weights = points_of(x[rows], is_whole, turns)
        terms = log_prob(points, rows) + log_weights
        largest = terms.max(axis=1, initial=-np.inf)
        with np.errstate(invalid="ignore", divide="ignore"):
            sums = largest + np.log(np.exp(terms - largest[:, np.newaxis]).sum(axis=1))
        masses[rows] = np.where(np.isfinite(largest), sums, largest)
    return masses


def n_points(is_whole: npt.NDArray[np.bool_], turns: Floats) -> int:
    """The number of points of `points_of` for each row."""
    return len(nodes(int(is_whole.sum()))[1]) * int(N_WINDINGS ** np.count_nonzero(turns))


def points_of(x: Floats, is_whole: npt.NDArray[np.bool_], turns: Floats) -> tuple[Floats, Floats]:
    """The points (m, N, D) where `log_masses` evaluates the density for rows x (m, D), and their log-weights (N,)."""
    within, log_weights = nodes(int(is_whole.sum()))
    points = np.repeat(windings(x, turns), len(within), axis=1).reshape(len(x), -1, x.shape[1])
    points[:, :, is_whole] += np.tile(within, (points.shape[1] // len(within), 1))
    return points, np.tile(log_weights, points.shape[1] // len(within))


@cache
def nodes(dim: int) -> tuple[Floats, Floats]:
    """Points (N, dim) in the unit cube and the logarithms of their weights (N,), which sum to about 1.

    A lattice rule after the substitution u = v^3 (10 - 15 v + 6 v^2), which makes integrands periodic and tames
    singularities at the faces: Sloan and Joe (1994), "Lattice methods for multiple integration", section 2.12. In many
    columns a shifted lattice, folded by u = 1 - |2 v - 1|, has equal weights: Hickernell (2002), "Obtaining O(N^(-2+e))
    convergence for lattice quadrature rules".
    """
    n = N_NODES[min(dim, len(N_NODES) - 1)]
    if dim >= MANY:
        v = (lattice(dim, n) + np.arange(1, dim + 1) * GOLDEN) % 1
        return 1 - np.abs(2 * v - 1), np.full(n, -np.log(n))
    v = (lattice(dim, n) + 0.5 / n) % 1
    slopes = 30 * (v * (1 - v)) ** 2
    with np.errstate(divide="ignore"):
        log_weights = np.log(slopes).sum(axis=1) - np.log(n)
    return v**3 * (10 - 15 * v + 6 * v**2), log_weights - np.log(np.exp(log_weights).sum())


@cache
def lattice(dim: int, n: int) -> Floats:
    """A lattice of n points, a prime number, in [0, 1): (n, dim)."""
    return np.outer(np.arange(n), _generator(dim, n)) / n % 1


def _generator(dim: int, n: int) -> Floats:
    """The generating vector of a lattice of n points, a prime number.

    One component after the other minimises the worst-case error for periodic functions: Sloan and Reztsov (2002),
    "Component-by-component construction of good lattice rules". Of many columns each counts less, as in Sloan and Wozniakowski
    (1998), "When are quasi-Monte Carlo algorithms efficient for high dimensional integrals?".
    """
    points, product, found = np.arange(n), np.ones(n), []
    importance = 1 if dim < MANY else IMPORTANCE
    for _ in range(dim):
        candidates = np.arange(1, n // 2 + 1 if n > 2 else 2)
        x = np.outer(candidates, points) % n / n
        kernels = 1 + importance * 2 * np.pi**2 * (x * x - x + 1 / 6)  # the second Bernoulli polynomial
        errors = kernels @ product
        best = int(np.flatnonzero(errors <= errors.min() * (1 + TIE))[0])  # rounding must not choose
        found.append(candidates[best])
        product = product * kernels[best]
    return np.array(found, dtype=np.float64)
