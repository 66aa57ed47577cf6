"""Adaptive quadrature of many densities on the line at once, and the distributions that it finds.

Every row has panels, and a density is a Legendre series on each of them, through its values at Gauss-Legendre nodes. Panels
whose last coefficients are not small are cut into halves: Trefethen (2019), "Approximation theory and approximation
practice", chapter 19, for the quadrature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, Self

import numpy as np

from nvpflow._typing import Floats, Ints
from nvpflow.queries._ragged import find, gather, starts_of

__all__ = ["GOOD_ERROR", "PanelLine", "integrate"]

# The error of probabilities that a panel may have, and how often panels are cut at most. Four models of splines and of affine
# layers, of two and four columns, needed 300 to 440 densities for each row. The integrals of all of 8000 rows were right to
# 8e-5, and better than estimated; with 1.6e-5 as GOOD_ERROR some were right to 2e-4. Without EARLIER a few panels were ten
# times worse than estimated; with 10 or 12 nodes instead of 8 errors were the same for as many densities.
N_NODES, GOOD_ERROR, MOST_CUTS, EARLIER = 8, 1e-5, 14, 0.1
STEPS, RESOLUTION = 60, 1e-12  # of a quantile in its panel
MOST_NUMBERS = 4_000_000  # coefficients in memory at a time
LogDensity = Callable[[Ints, Floats], Floats]


class PanelLine(NamedTuple):
    """Densities of n rows on panels. Those of one row follow one another, from left to right, without gaps.

    Attributes
    ----------
    row : ndarray of int, shape (P,)
    left, right : ndarray, shape (P,)
    series : ndarray, shape (P, N_NODES)
        Coefficients of Legendre polynomials on the panel, taken to [-1, 1].
    below : ndarray, shape (P,)
        The probability of what is left of the panel.
    log_total, error : ndarray, shape (n,)
        The logarithm of the integral, and an estimate of the error of probabilities.
    size : ndarray, shape (n,)
        How many draws would have the spread of several estimates of the density: infinite if there is one.
    """

    row: Ints
    left: Floats
    right: Floats
    series: Floats
    below: Floats
    log_total: Floats
    error: Floats
    size: Floats

    @classmethod
    def joined(cls, parts: Sequence[PanelLine]) -> Self:
        """Rows of several lines, one after another."""
        offsets = np.cumsum([0, *(len(part.log_total) for part in parts)])[:-1]
        row = np.concatenate([part.row + offset for part, offset in zip(parts, offsets)])
        return cls(row, *(np.concatenate(columns) for columns in list(zip(*parts))[1:]))

    def take(self, rows: Ints) -> Self:
        """Some of the rows, in this order."""
        index, row = gather(starts_of(self.row, len(self.log_total)), len(self.row), rows)
        panels = (values[index] for values in self[1:5])
        return type(self)(row, *panels, *(values[rows] for values in self[5:]))

    def pdf(self, u: Floats) -> Floats:
        """Densities at points u (n, G)."""
        panel, t = self._place(u)
        inside = (t >= -1) & (t <= 1)
        t = np.where(inside, t, 0.0)
        found: Floats = np.where(inside, np.maximum(_values(self.series[panel], t), 0.0), 0.0)
        return np.where(~np.isfinite(self.log_total)[:, np.newaxis] | np.isnan(u), np.nan, found)

    def cdf(self, u: Floats) -> Floats:
        """Probabilities (n, G) of numbers up to u (n, G), which may be infinite."""
        found, step = np.empty(u.shape), max(1, MOST_NUMBERS // (N_NODES * max(1, len(u))))
        for start in range(0, u.shape[1], step):
            part = slice(start, start + step)
            panel, t = self._place(u[:, part])
            half = 0.5 * (self.right - self.left)[panel]
            inside = half * (self.series[panel] * _integrals(np.clip(t, -1, 1))).sum(axis=-1)
            found[:, part] = np.clip(self.below[panel] + inside, 0.0, 1.0)
        return np.where(np.isnan(u), np.nan, found)

    def above(self, u: Floats) -> Floats:
        """Probabilities (n, G) of numbers beyond u (n, G)."""
        return 1 - self.cdf(u)

    def ppf(self, q: Floats) -> Floats:
        """Quantiles (n, G) of probabilities q (n, G) from 0 to 1."""
        rows = np.broadcast_to(np.arange(len(q))[:, np.newaxis], q.shape)
        known = np.nan_to_num(q)
        starts = starts_of(self.row, len(q))
        below = np.clip(np.nan_to_num(self.below), 0.0, 1.0)
        panel = find(self.row, below * (1 - 1e-9), starts, len(self.row), rows, known * (1 - 1e-9))
        half = 0.5 * (self.right - self.left)[panel]
        t = self._solve(panel, (known - self.below[panel]) / half)
        found = self.left[panel] + half * (1 + t)
        found = np.where(q <= 0, -np.inf, np.where(q >= 1, np.inf, found))
        return np.where(np.isnan(q) | ~np.isfinite(self.log_total)[:, np.newaxis], np.nan, found)

    def _solve(self, panel: Ints, target: Floats) -> Floats:
        """Where in panels, from -1 to 1, the integrals of their series are `target`: Newton steps in shrinking brackets."""
        series = self.series[panel]
        low, high = np.full(target.shape, -1.0), np.ones(target.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            t = np.clip(np.nan_to_num(target / series[..., 0] - 1), -1.0, 1.0)
            for _ in range(STEPS):
                excess = (series * _integrals(t)).sum(axis=-1) - target
                low, high = np.where(excess < 0, t, low), np.where(excess < 0, high, t)
                step = t - excess / _values(series, t)
                step = np.where((step > low) & (step < high), step, 0.5 * (low + high))
                moved, t = np.abs(step - t).max(initial=0.0), step
                if moved < RESOLUTION:
                    break
        return t

    def expect(self, function: Callable[[Floats], Floats]) -> Floats:
        """Means (n, F) of a function from numbers (P, N) to (P, N, F)."""
        nodes, weights, _ = _rule()
        half = 0.5 * (self.right - self.left)[:, np.newaxis]
        values = function(self.left[:, np.newaxis] + half * (1 + nodes))
        density = self.series @ np.polynomial.legendre.legvander(nodes, N_NODES - 1).T
        sums = np.einsum("pnf,pn->pf", values, density * weights * half)
        found: Floats = np.add.reduceat(sums, starts_of(self.row, len(self.log_total)), axis=0)
        return found

    def moments(self) -> tuple[Floats, Floats]:
        """Means and standard deviations (n,)."""
        half, middle, n = 0.5 * (self.right - self.left), 0.5 * (self.right + self.left), len(self.log_total)
        c0, c1, c2 = self.series[:, :3].T  # the integrals of the series times t and t^2 over [-1, 1] have no others
        mean = np.bincount(self.row, half * (2 * middle * c0 + half * 2 / 3 * c1), n).astype(np.float64)
        away = middle - mean[self.row]
        squares = 2 * away**2 * c0 + 4 / 3 * away * half * c1 + half**2 * (2 / 3 * c0 + 4 / 15 * c2)
        return mean, np.sqrt(np.maximum(np.bincount(self.row, half * squares, n), 0.0))

    def _place(self, u: Floats) -> tuple[Ints, Floats]:
        """The panel of each point (n, G), and where in it, from -1 to 1."""
        n = len(self.log_total)
        starts = starts_of(self.row, n)
        lowest, highest = self.left[starts], self.right[np.append(starts[1:], len(self.row)) - 1]
        width = highest - lowest
        keys = (self.left - lowest[self.row]) / width[self.row] * (1 - 1e-9)
        rows = np.broadcast_to(np.arange(n)[:, np.newaxis], u.shape)
        values = np.clip(np.nan_to_num((u - lowest[:, np.newaxis]) / width[:, np.newaxis]), 0, 1) * (1 - 1e-9)
        panel = find(self.row, keys, starts, len(self.row), rows, values)
        return panel, 2 * (u - self.left[panel]) / (self.right - self.left)[panel] - 1


def integrate(log_density: LogDensity, edges: Floats, good_error: float = GOOD_ERROR) -> PanelLine:
    """Find the distributions of n rows.

    Parameters
    ----------
    log_density : callable
        ``log_density(rows, u)`` gives the logarithms (m,) of the densities of rows (m,) at u (m,), or those (m, S) of several
        estimates, whose mean is integrated.
    edges : ndarray, shape (n, B)
        The first panels of each row, in increasing order.
    good_error : float
        Of probabilities: panels with a larger error are cut.
    """
    n = len(edges)
    nodes, weights, to_series = _rule()
    to_places = np.polynomial.legendre.legvander(np.linspace(-1, 1, 2 * N_NODES + 1), N_NODES - 1).T
    # Twice what the integrals of the last two terms are at most: those of polynomials are about 1 / (2 k + 1). And a share of
    # the two terms before, as those of a kink may be small by chance.
    of_error = np.repeat([0.0, EARLIER, 1.0], [N_NODES - 4, 2, 2]) / (N_NODES - 1)
    row = np.repeat(np.arange(n), edges.shape[1] - 1)
    key = np.arange(len(row)) << MOST_CUTS  # of the order of panels: halves share that of the whole but for a bit
    left, right = edges[:, :-1].ravel(), edges[:, 1:].ravel()
    done: list[tuple[Any, ...]] = []
    shift, total = np.zeros(n), np.zeros(n)
    for cut in range(MOST_CUTS + 1):
        half = 0.5 * (right - left)
        u = left[:, np.newaxis] + half[:, np.newaxis] * (1 + nodes)
        log_f = log_density(np.repeat(row, N_NODES), u.ravel()).reshape(*u.shape, -1)
        if cut == 0:
            shift = np.maximum.reduceat(log_f.max(axis=(1, 2)), starts_of(row, n))
            shift = np.where(np.isfinite(shift), shift, 0.0)
        estimates = np.exp(np.minimum(log_f - shift[row][:, np.newaxis, np.newaxis], 600.0))
        series = estimates.mean(axis=2) @ to_series
        masses, errors = 2 * half * series[:, 0], half * (np.abs(series) @ of_error)
        of_each = half[:, np.newaxis] * np.einsum("pns,n->ps", estimates, weights)
        goes_on = np.zeros(len(row), bool)
        if cut < MOST_CUTS:
            now = total + np.bincount(row, masses, n)
            negative = -2 * half * np.minimum(series @ to_places, 0.0).mean(axis=1)  # `pdf` has no negative densities
            goes_on = (errors > good_error * now[row]) | (negative > GOOD_ERROR * now[row])
        done.append(tuple(part[~goes_on] for part in (key, row, left, right, errors, series, of_each)))
        total += np.bincount(row[~goes_on], masses[~goes_on], n)
        key, row, left, right = key[goes_on], row[goes_on], left[goes_on], right[goes_on]
        if not len(row):
            break
        middle = 0.5 * (left + right)
        key = np.stack([key, key + (1 << (MOST_CUTS - 1 - cut))], 1).ravel()
        row, left, right = np.repeat(row, 2), np.stack([left, middle], 1).ravel(), np.stack([middle, right], 1).ravel()
    return _sorted(done, shift, total)


def _sorted(done: list[tuple[Any, ...]], shift: Floats, total: Floats) -> PanelLine:
    """The panels of each row from left to right, with densities whose integral is 1."""
    key, row, left, right, errors, series, of_each = (np.concatenate(parts) for parts in zip(*done))
    order = np.argsort(key, kind="stable")  # of runs that are in order
    row, left, right = row[order], left[order], right[order]
    with np.errstate(divide="ignore", invalid="ignore"):
        series = series[order] / total[row][:, np.newaxis]
        error = np.bincount(row, errors[order], len(total)) / total
        log_total = shift + np.log(total)
    starts = starts_of(row, len(total))
    spread = _spread(of_each[order], row, starts)
    with np.errstate(divide="ignore"):
        size = 0.25 / spread**2  # the standard error of a probability of one half by N draws is 0.5 / sqrt(N)
    below = _below((right - left) * series[:, 0], row, starts)
    return PanelLine(row, left, right, series, below, log_total, error + spread, size)


def _below(masses: Floats, row: Ints, starts: Ints) -> Floats:
    """The sums (P, ...) of the masses (P, ...) of what is left of each panel in its row."""
    known = np.nan_to_num(masses)
    sums = np.cumsum(known, axis=0) - known
    found: Floats = sums - sums[starts][row]
    return found


def _spread(of_each: Floats, row: Ints, starts: Ints) -> Floats:
    """The largest standard errors (n,) of probabilities, by the masses (P, S) of panels in S estimates of the density."""
    n_estimates = of_each.shape[1]
    if n_estimates == 1:
        return np.zeros(len(starts))
    with np.errstate(invalid="ignore"):
        below = _below(of_each / np.add.reduceat(of_each, starts, axis=0)[row], row, starts)
    found: Floats = np.maximum.reduceat(below.std(axis=1, ddof=1), starts) / np.sqrt(n_estimates)
    return found


@cache
def _rule() -> tuple[Floats, Floats, Floats]:
    """Gauss-Legendre nodes and weights, and the matrix (N, N) from values at the nodes to the coefficients of the series."""
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    degrees = np.arange(N_NODES)
    to_series = weights[:, np.newaxis] * np.polynomial.legendre.legvander(nodes, N_NODES - 1) * (degrees + 0.5)
    return nodes, weights, to_series


def _values(series: Floats, t: Floats) -> Floats:
    """Series (..., N_NODES) at t (...)."""
    found: Floats = (series * np.polynomial.legendre.legvander(t, N_NODES - 1)).sum(axis=-1)
    return found


def _integrals(t: Floats) -> Floats:
    """Integrals from -1 to t (...) of the Legendre polynomials: (..., N_NODES)."""
    p = np.polynomial.legendre.legvander(t, N_NODES)
    found = np.empty((*t.shape, N_NODES))
    found[..., 0] = t + 1
    degrees = np.arange(1, N_NODES)
    found[..., 1:] = (p[..., 2:] - p[..., : N_NODES - 1]) / (2 * degrees + 1)
    return found
