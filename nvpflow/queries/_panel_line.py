"""Adaptive quadrature of many densities on the line at once, and the distributions that it finds.

Every row has panels, and a density is a polynomial on each of them, through its values at nodes in equal distances. Panels
whose last Legendre coefficients are not small are cut into halves, which keep the nodes: Davis and Rabinowitz (1984), "Methods
of numerical integration", chapter 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple, Self

import numpy as np
from numpy.polynomial.polynomial import polyval

from nvpflow._typing import Bools, Floats, Ints
from nvpflow.queries._ragged import find, gather, starts_of

__all__ = ["GOOD_ERROR", "PanelLine", "integrate"]

# The error of probabilities that a panel may have, and how often panels are cut at most. Densities of splines have many kinks,
# so a higher order does not help, and nodes that are used again do: models of two columns, with spline or affine layers and an
# average of three, took 250 to 300 densities for each row, and the integrals of 1000 rows were right to 5e-5. Without EARLIER,
# the share of the coefficient before the last one, some were wrong by 2e-3, without UNSEEN and UNSEEN_WIDE by 2e-4.
N_NODES, GOOD_ERROR, MOST_CUTS, EARLIER = 5, 5e-6, 14, 0.5
# What nodes may miss, of a panel's probability times its width in widths of a box with the row's mass: kinks, and times the
# squared width, peaks between the nodes of wide panels far out.
UNSEEN, UNSEEN_WIDE = 1e-3, 0.1
# Peaks between nodes: by how many nats a node must be above its neighbours to be the foot of one, and how far below the
# largest value it is, since less is seen anyway. On four thin rings that affine layers had learnt, with artefacts between the
# samples, 1 to 13 % of the rows had masses off by more than 1e-4, by up to 0.024. Now one has such rows, 2 %, off by 0.002.
SIGN, SEEN, DEEPEST = 3.0, 10.0, 500.0
NEGATIVE = 1e-5  # the probability that a polynomial may have below zero
BETWEEN = (np.arange(N_NODES - 1) + 0.5) / (N_NODES - 1)  # the places of the nodes that halves add, in widths of the panel
STEPS, RESOLUTION = 60, 1e-12  # of a quantile in its panel
MOST_NUMBERS = 4_000_000  # coefficients in memory at a time
LogDensity = Callable[[Ints, Floats], Floats]


class PanelLine(NamedTuple):
    """Densities of n rows on panels. Those of one row follow one another, from left to right, without gaps.

    Attributes
    ----------
    row : ndarray of int, shape (P,)
    left, right : ndarray, shape (P,)
    values : ndarray, shape (P, N_NODES)
        Densities at nodes in equal distances, the first and the last one at the ends of the panel.
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
    values: Floats
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
        found: Floats = np.where(inside, np.maximum(polyval(t, self._powers(panel), tensor=False), 0.0), 0.0)
        return np.where(~np.isfinite(self.log_total)[:, np.newaxis] | np.isnan(u), np.nan, found)

    def cdf(self, u: Floats) -> Floats:
        """Probabilities (n, G) of numbers up to u (n, G), which may be infinite."""
        found, step = np.empty(u.shape), max(1, MOST_NUMBERS // (N_NODES * max(1, len(u))))
        for start in range(0, u.shape[1], step):
            part = slice(start, start + step)
            panel, t = self._place(u[:, part])
            half = 0.5 * (self.right - self.left)[panel]
            inside = half * _integrals(self._powers(panel), np.clip(t, -1, 1))
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
        """Where in panels, from -1 to 1, the integrals of polynomials are `target`: Newton steps in shrinking brackets."""
        powers, target, shape = self._powers(panel.ravel()), target.ravel(), target.shape
        low, high, going = np.full(target.shape, -1.0), np.ones(target.shape), np.arange(target.size)
        with np.errstate(invalid="ignore", divide="ignore"):
            t = np.clip(np.nan_to_num(2 * target / _integrals(powers, np.ones(target.shape)) - 1), -1.0, 1.0)
            for _ in range(STEPS):
                own, at = powers[:, going], t[going]
                excess = _integrals(own, at) - target[going]
                low[going], high[going] = np.where(excess < 0, at, low[going]), np.where(excess < 0, high[going], at)
                step = at - excess / polyval(at, own, tensor=False)
                is_inside = (step > low[going]) & (step < high[going])
                t[going] = np.where(is_inside, step, 0.5 * (low[going] + high[going]))
                going = going[np.abs(t[going] - at) > RESOLUTION]  # each stops by itself, whatever the others need
                if not len(going):
                    break
        return t.reshape(shape)

    def expect(self, function: Callable[[Floats], Floats]) -> Floats:
        """Means (n, F) of a function from numbers (P, N) to (P, N, F)."""
        width = (self.right - self.left)[:, np.newaxis]
        values = function(self.left[:, np.newaxis] + width * np.linspace(0, 1, N_NODES))
        sums = np.einsum("pnf,pn->pf", values, self.values * _to_series()[:, 0] * width)
        found: Floats = np.add.reduceat(sums, starts_of(self.row, len(self.log_total)), axis=0)
        return found

    def moments(self) -> tuple[Floats, Floats]:
        """Means and standard deviations (n,)."""
        half, middle, n = 0.5 * (self.right - self.left), 0.5 * (self.right + self.left), len(self.log_total)
        c0, c1, c2 = _to_series()[:, :3].T @ self.values.T  # integrals of the series times t and t^2 have no others
        mass, first = 2 * half * c0, half**2 * (2 / 3) * c1  # first and second moments around the middle
        second = half**3 * (2 / 3 * c0 + 4 / 15 * c2)
        mean = np.bincount(self.row, middle * mass + first, n).astype(np.float64)
        away = middle - mean[self.row]
        squares = np.bincount(self.row, away * (away * mass + 2 * first) + second, n)
        return mean, np.sqrt(np.maximum(squares, 0.0))

    def _powers(self, panel: Ints) -> Floats:
        """Coefficients (N_NODES, ...) of powers on panels (...), taken to [-1, 1]."""
        return np.moveaxis(self.values[panel] @ _to_powers(), -1, 0)

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


def integrate(log_density: LogDensity, edges: Floats, good_error: float = GOOD_ERROR, searches: bool = True) -> PanelLine:
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
    searches : bool
        Whether to put further panels where a peak may be between the nodes of the first ones.
    """
    nodes = _filled(edges)
    log_f = _log_values(log_density, np.arange(len(edges)), nodes)
    hidden = _around_hidden_peaks(nodes, log_f.max(axis=0)) if searches else np.empty((len(edges), 0))
    rows = np.flatnonzero(np.isfinite(hidden).any(axis=1))
    if not len(rows):
        return _refine(log_density, edges, log_f, good_error)
    more = np.sort(np.concatenate([edges[rows], hidden[rows]], axis=1), axis=1)
    found = integrate(lambda row, u: log_density(rows[row], u), more, good_error, False)
    others = np.setdiff1d(np.arange(len(edges)), rows)
    if not len(others):
        return found
    usual = _refine(lambda row, u: log_density(others[row], u), edges[others], log_f[:, others], good_error)
    return PanelLine.joined([usual, found]).take(np.argsort(np.concatenate([others, rows])))


def _around_hidden_peaks(u: Floats, log_f: Floats) -> Floats:
    """Further ends of panels (n, 3) for rows in which a peak may be between the nodes u (n, G), NaN without a sign of one.

    Far from its centre a narrow peak is next to nothing, but its logarithm is not: a node that is far above both neighbours
    is at the foot of one.
    """
    with np.errstate(invalid="ignore"):
        rise, fall = np.diff(log_f)[:, :-1], -np.diff(log_f)[:, 1:]
        below = log_f.max(axis=1, keepdims=True) - log_f[:, 1:-1]
        is_foot = (rise > SIGN) & (fall > SIGN) & (below > SEEN) & (below < DEEPEST)
    foot = np.where(is_foot, below, np.inf).argmin(axis=1)
    rows = np.arange(len(u))
    before, middle, after = (u[rows, foot + k] for k in range(3))
    ends = np.stack([0.5 * (before + middle), middle + 0.01 * (after - middle), 0.5 * (middle + after)], axis=1)
    found: Floats = np.where(is_foot.any(axis=1)[:, np.newaxis], ends, np.nan)
    return found


def _refine(log_density: LogDensity, edges: Floats, log_f: Floats, good_error: float) -> PanelLine:
    """Cut panels until they are good, given the log-densities (S, n, G) at the nodes of the first ones."""
    shift = log_f.max(axis=(0, 2))
    shift = np.where(np.isfinite(shift), shift, 0.0)
    panels = _Panels.first(edges, _exp(log_f, shift))
    done, total = list[tuple[_Panels, Floats]](), np.zeros(len(edges))
    for cut in range(MOST_CUTS + 1):
        masses, errors, is_bad = _judged(panels, total, good_error)
        ends = np.flatnonzero(~is_bad) if cut < MOST_CUTS else np.arange(len(is_bad))
        done.append((panels.take(ends), errors[ends]))
        total += np.bincount(panels.row[ends], masses[ends], len(total))
        if len(ends) == len(is_bad):
            break
        panels = panels.take(np.flatnonzero(is_bad))
        between = _exp(_log_values(log_density, panels.row, panels.between()), shift[panels.row])
        panels = panels.halves(between, 1 << (MOST_CUTS - 1 - cut))
    return _sorted(done, shift, total)


class _Panels(NamedTuple):
    """Panels (P,) of rows, with S estimates f (S, P, N_NODES) of densities at nodes.

    The keys are of their order from left to right, row by row.
    """

    key: Ints
    row: Ints
    left: Floats
    right: Floats
    f: Floats

    @classmethod
    def first(cls, edges: Floats, f: Floats) -> Self:
        """Those between edges (n, B), with values (S, n, ...) at all nodes of a row."""
        n, n_panels = len(edges), edges.shape[1] - 1
        nodes = (N_NODES - 1) * np.arange(n_panels)[:, np.newaxis] + np.arange(N_NODES)
        key = np.arange(n * n_panels) << MOST_CUTS  # halves share that of the whole but for a bit
        row = np.repeat(np.arange(n), n_panels)
        return cls(key, row, edges[:, :-1].ravel(), edges[:, 1:].ravel(), f[:, :, nodes].reshape(len(f), -1, N_NODES))

    def take(self, index: Ints) -> Self:
        columns = (self.key[index], self.row[index], self.left[index], self.right[index])
        return type(self)(*columns, np.take(self.f, index, axis=1))

    @property
    def mean(self) -> Floats:
        """Densities (P, N_NODES) at nodes."""
        mean: Floats = self.f[0] if len(self.f) == 1 else self.f.mean(axis=0)
        return mean

    def between(self) -> Floats:
        """Where (P, N_NODES - 1) halves have further nodes."""
        return self.left[:, np.newaxis] + (self.right - self.left)[:, np.newaxis] * BETWEEN

    def halves(self, between: Floats, bit: int) -> Self:
        """Twice as many panels, from densities (S, P, N_NODES - 1) at the further nodes. bit: of the keys of right halves."""
        f, at = np.empty((*self.f.shape[:2], 2, N_NODES)), N_NODES // 2
        f[:, :, 0, ::2], f[:, :, 0, 1::2] = self.f[:, :, : at + 1], between[:, :, :at]
        f[:, :, 1, ::2], f[:, :, 1, 1::2] = self.f[:, :, at:], between[:, :, at:]
        key, left, right = np.repeat(self.key, 2), np.repeat(self.left, 2), np.repeat(self.right, 2)
        key[1::2] += bit
        left[1::2] = right[::2] = self.left + 0.5 * (self.right - self.left)
        return type(self)(key, np.repeat(self.row, 2), left, right, f.reshape(len(f), -1, N_NODES))

    @classmethod
    def joined(cls, parts: Sequence[_Panels]) -> Self:
        key, row, left, right = (np.concatenate(values) for values in list(zip(*parts))[:4])
        return cls(key, row, left, right, np.concatenate([part.f for part in parts], axis=1))


def _filled(edges: Floats) -> Floats:
    """Edges (n, B) and the nodes between them: (n, (B - 1) (N_NODES - 1) + 1)."""
    inner = edges[:, :-1, np.newaxis] + np.diff(edges)[:, :, np.newaxis] * np.linspace(0, 1, N_NODES)[:-1]
    return np.concatenate([inner.reshape(len(edges), -1), edges[:, -1:]], axis=1)


def _log_values(log_density: LogDensity, row: Ints, u: Floats) -> Floats:
    """Log-densities (S, P, G) of rows (P,) at u (P, G)."""
    found = log_density(np.repeat(row, u.shape[1]), u.ravel())
    return found.T.reshape(-1, *u.shape)


def _exp(log_f: Floats, shift: Floats) -> Floats:
    """Densities (S, P, G), up to the factors exp(shift) (P,)."""
    found: Floats = np.exp(np.minimum(log_f - shift[:, np.newaxis], 600.0))
    return found


def _judged(panels: _Panels, total: Floats, good_error: float) -> tuple[Floats, Floats, Bools]:
    """The masses (P,) of panels, their errors, and which must be cut. total (n,): the masses of other panels."""
    width, f = panels.right - panels.left, panels.mean
    mean, earlier, last, *between = _to_judge() @ f.T
    masses = width * mean
    errors = width * (np.abs(last) + EARLIER * np.abs(earlier)) / (2 * (N_NODES + 2))
    now = (total + np.bincount(panels.row, masses, len(total)))[panels.row]
    with np.errstate(invalid="ignore", divide="ignore"):  # the largest density is about 1, so `now` is a width as well
        boxes = width / now
        unseen = masses * boxes * (UNSEEN + UNSEEN_WIDE * boxes**2)
    below_zero = -width * np.minimum(between, 0.0).mean(axis=0)
    is_bad = (errors + unseen > good_error * now) | (below_zero > NEGATIVE * now)
    return masses, errors, is_bad


def _sorted(done: list[tuple[_Panels, Floats]], shift: Floats, total: Floats) -> PanelLine:
    """The panels of each row from left to right, with densities whose integral is 1."""
    panels = _Panels.joined([part for part, _ in done])
    order = np.argsort(panels.key, kind="stable")  # of runs that are in order
    panels, errors = panels.take(order), np.concatenate([own for _, own in done])[order]
    _, row, left, right, f = panels
    with np.errstate(divide="ignore", invalid="ignore"):
        values = panels.mean / total[row][:, np.newaxis]
        error = np.bincount(row, errors, len(total)) / total
        log_total = shift + np.log(total)
    starts = starts_of(row, len(total))
    spread = _spread((right - left) * (f @ _to_series()[:, 0]), row, starts)
    with np.errstate(divide="ignore"):
        size = 0.25 / spread**2  # the standard error of a probability of one half by N draws is 0.5 / sqrt(N)
    below = _below((right - left) * (values @ _to_series()[:, 0]), row, starts)
    return PanelLine(row, left, right, values, below, log_total, error + spread, size)


def _below(masses: Floats, row: Ints, starts: Ints) -> Floats:
    """The sums (P, ...) of the masses (P, ...) of what is left of each panel in its row."""
    known = np.nan_to_num(masses)
    sums = np.cumsum(known, axis=0) - known
    found: Floats = sums - sums[starts][row]
    return found


def _spread(masses: Floats, row: Ints, starts: Ints) -> Floats:
    """The largest standard errors (n,) of probabilities, by the masses (S, P) of panels in S estimates of the density."""
    n_estimates, of_each = len(masses), masses.T
    if n_estimates == 1:
        return np.zeros(len(starts))
    with np.errstate(invalid="ignore"):
        below = _below(of_each / np.add.reduceat(of_each, starts, axis=0)[row], row, starts)
    found: Floats = np.maximum.reduceat(below.std(axis=1, ddof=1), starts) / np.sqrt(n_estimates)
    return found


@cache
def _to_series() -> Floats:
    """The matrix (N, N) from values at the nodes to the coefficients of the series through them."""
    found: Floats = np.linalg.inv(np.polynomial.legendre.legvander(np.linspace(-1, 1, N_NODES), N_NODES - 1)).T
    return found


@cache
def _to_judge() -> Floats:
    """The matrix (3 + N - 1, N) from values at the nodes to three coefficients of the series, the first and the last two, and
    to the values of the polynomial between the nodes: below zero it is wrong, as no density is."""
    series = _to_series().T
    between = np.polynomial.legendre.legvander(2 * BETWEEN - 1, N_NODES - 1) @ series
    return np.concatenate([series[[0, -2, -1]], between])


@cache
def _to_powers() -> Floats:
    """The matrix (N, N) from values at the nodes to the coefficients of the powers of the polynomial through them."""
    found: Floats = np.linalg.inv(np.polynomial.polynomial.polyvander(np.linspace(-1, 1, N_NODES), N_NODES - 1)).T
    return found


def _integrals(powers: Floats, t: Floats) -> Floats:
    """Integrals from -1 to t (...) of polynomials with coefficients (N_NODES, ...)."""
    of_powers = powers / np.arange(1, N_NODES + 1).reshape(-1, *[1] * t.ndim)
    return t * polyval(t, of_powers, tensor=False) + polyval(np.full(t.shape, -1.0), of_powers, tensor=False)
