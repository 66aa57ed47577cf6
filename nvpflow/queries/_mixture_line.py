"""Mixtures of normal distributions on a line, one for each row: what a mixture with given columns is in one free column.

Members of an ensemble may have learnt margins. Their components are normal behind a map of the line, which bends it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np

from nvpflow import _core
from nvpflow._normal import probit
from nvpflow._typing import Floats, Ints
from nvpflow.queries._bend import Bend
from nvpflow.queries._moments import moments_of
from nvpflow.queries._ragged import starts_of
from nvpflow.queries._smoothed import smoothed
from nvpflow.queries._solve import solve_quantiles

__all__ = ["MixtureLine"]

LEAST_SHARE = np.log(1e-8)  # of a component among those of its row, beside the largest: others are left out
# Components with a smaller share of their row do not count in means and deviations, if together they would add a larger part
# to the variance of the others. The broad normals of a density have a share of 1e-6, and are up to 32 deviations wide: of a
# column that others determine up to 0.001 of its deviation, they would be most of the deviation (43 times too large, three
# deviations from the mean), while all quantiles are right.
LEAST_OF_MOMENT, MOST_OF_VARIANCE = 1e-5, 0.01
REACH, NEAR = 9.0, 6.0  # standard deviations: the mass beyond is 1e-19 and 1e-9
N_PLACES = 6


class MixtureLine(NamedTuple):
    """Mixtures of n rows. Components of one row follow one another. Without bends there are no other maps than the identity.

    Attributes
    ----------
    row : ndarray of int, shape (T,)
        The row of each component, in increasing order; every row has one at least.
    weights, means, stds : ndarray, shape (T,)
        The weights of a row sum to 1, or are NaN where nothing is known.
    log_total : ndarray, shape (n,)
        The logarithm of the sum of the weights before they were made to sum to 1.
    component : ndarray of int, shape (T,)
        Which component of the K of all members each one is.
    bend_of : ndarray of int, shape (K,)
        The number of the map, in `bends`, behind which each component is normal.
    bends : tuple of Bend or None
        None is the identity.
    """

    row: Ints
    weights: Floats
    means: Floats
    stds: Floats
    log_total: Floats
    component: Ints
    bend_of: Ints
    bends: tuple[Bend | None, ...] = (None,)

    @classmethod
    def of_terms(cls, row: Ints, log_terms: Floats, means: Floats, stds: Floats, n: int) -> Self:
        """From terms (B, K) of branches, of which those of one row (B,) follow one another. Every row has a branch."""
        starts = starts_of(row, n)
        largest = np.maximum.reduceat(log_terms.max(axis=1), starts)
        shift = np.where(np.isfinite(largest), largest, 0.0)
        least = np.minimum(shift + LEAST_SHARE, np.nextafter(shift, -np.inf))  # far out, rounding would leave none
        keep = log_terms > least[row][:, np.newaxis]
        keep[starts[~np.isfinite(largest)], 0] = True
        at, counts = np.flatnonzero(keep), np.count_nonzero(keep, axis=1)
        of_row, component = np.repeat(row, counts), at - np.repeat(np.arange(len(row)) * log_terms.shape[1], counts)
        log_terms, means, stds = (np.take(values, at) for values in (log_terms, means, stds))
        kept = np.exp(log_terms - np.take(shift, of_row))
        total = np.add.reduceat(kept, starts_of(of_row, n))
        with np.errstate(invalid="ignore", divide="ignore"):
            weights, log_total = kept / np.take(total, of_row), shift + np.log(total)
        return cls(of_row, weights, means, stds, log_total, component, np.zeros(keep.shape[1], np.intp))

    @classmethod
    def joined(cls, parts: Sequence[MixtureLine]) -> Self:
        """Rows of several lines of the same mixtures, one after another."""
        offsets = np.cumsum([0, *(len(part.log_total) for part in parts)])[:-1]
        row = np.concatenate([part.row + offset for part, offset in zip(parts, offsets)])
        weights, means, stds, log_total, component = (np.concatenate(values) for values in list(zip(*parts))[1:6])
        return cls(row, weights, means, stds, log_total, component, parts[0].bend_of, parts[0].bends)

    @property
    def error(self) -> Floats:
        """Of probabilities: there is none."""
        return np.zeros(len(self.log_total))

    @property
    def size(self) -> Floats:
        """Effective numbers of draws: infinite, as nothing is drawn."""
        return np.full(len(self.log_total), np.inf)

    def pdf(self, u: Floats) -> Floats:
        """Densities at points u (n, G)."""
        return self._on_grid(u)[0]

    def cdf(self, u: Floats) -> Floats:
        """Probabilities (n, G) of numbers up to u (n, G), which may be infinite."""
        below = self._on_grid(u)[1]
        # The shares add up to 1 only within rounding.
        return np.where((u == np.inf) & np.isfinite(below), 1.0, below)

    def above(self, u: Floats) -> Floats:
        """Probabilities (n, G) of numbers beyond u (n, G), exact where they are small."""
        return self._at(np.repeat(np.arange(len(u)), u.shape[1]), u.ravel(), -1.0)[1].reshape(u.shape)

    def ppf(self, q: Floats) -> Floats:
        """Quantiles (n, G) of probabilities q (n, G) from 0 to 1."""
        (n, width), flat = q.shape, q.ravel()
        rows = np.repeat(np.arange(n), width)
        low, high = (np.repeat(end, width) for end in self._ends(REACH))
        start = self._start(np.where(np.isnan(q), 0.5, q)).ravel()

        def values(active: Ints, u: Floats) -> tuple[Floats, Floats]:
            density, below = self._at(rows[active], u)
            return below - flat[active], density

        return _at_ends(solve_quantiles(values, flat, start, low, high), flat).reshape(n, width)

    def _ends(self, reach: float) -> tuple[Floats, Floats]:
        """Where the outermost components of rows (n,) end, so many standard deviations away."""
        starts = starts_of(self.row, len(self.log_total))
        ends = self.means - reach * self.stds, self.means + reach * self.stds
        if len(self.bends) > 1:
            ends = self._unbend(ends[0]), self._unbend(ends[1])
        found = np.minimum.reduceat(ends[0], starts), np.maximum.reduceat(ends[1], starts)
        return found if len(self.bends) > 1 else (self._straight(found[0]), self._straight(found[1]))

    def _start(self, q: Floats) -> Floats:
        """Quantiles (n, G) of normal distributions with the moments of each row, which is a mixture, or close by."""
        starts = starts_of(self.row, len(self.log_total))
        means, stds = self.means, self.stds
        if len(self.bends) > 1:
            means, stds = self._unbend(means), (self._unbend(means + stds) - self._unbend(means - stds)) / 2
        mean = np.add.reduceat(self.weights * means, starts)
        std = np.sqrt(np.add.reduceat(self.weights * (stds**2 + (means - mean[self.row]) ** 2), starts))
        start: Floats = mean[:, np.newaxis] + std[:, np.newaxis] * probit(q)
        return start if len(self.bends) > 1 else self._straight(start)

    def _straight(self, v: Floats) -> Floats:
        """Numbers of any shape behind the only map."""
        return v if self.bends[0] is None else self.bends[0].forward(v)

    def quantiles(self, q: Floats) -> Floats:
        """Rough quantiles (n, Q) of increasing probabilities q (Q,), by interpolation: good enough to place panels."""
        low, high = self._ends(NEAR)
        steps = np.concatenate([np.linspace(0, 1, N_PLACES), 0.5 + 0.5 * np.tanh(np.linspace(-2, 2, N_PLACES))])
        places = low[:, np.newaxis] + (high - low)[:, np.newaxis] * np.sort(steps)
        places = np.sort(np.concatenate([places, self._start(q[np.newaxis])], axis=1))
        sums = np.maximum.accumulate(self.cdf(places), axis=1)
        beyond = np.clip((sums[:, :, np.newaxis] <= q).sum(axis=1), 1, sums.shape[1] - 1)
        (low_sum, low), (high_sum, high) = (
            (np.take_along_axis(sums, at, axis=1), np.take_along_axis(places, at, axis=1)) for at in (beyond - 1, beyond)
        )
        share = np.clip((q - low_sum) / np.maximum(high_sum - low_sum, np.finfo(float).tiny), 0.0, 1.0)
        found: Floats = low + share * (high - low)
        return found

    @property
    def _weights_of_moments(self) -> Floats:
        """The weights (T,), without small ones in rows whose variance they would widen; see LEAST_OF_MOMENT."""
        starts, is_small = starts_of(self.row, len(self.log_total)), self.weights < LEAST_OF_MOMENT
        if not is_small.any():
            return self.weights
        large = np.where(is_small, 0.0, self.weights)
        total = np.add.reduceat(large, starts)
        large /= np.where(total == 0, 1.0, total)[self.row]
        mean = np.add.reduceat(large * self.means, starts)
        squares = self.stds**2 + (self.means - mean[self.row]) ** 2
        variance = np.add.reduceat(large * squares, starts)
        added = np.add.reduceat(np.where(is_small, self.weights * squares, 0.0), starts)
        drops = (added > MOST_OF_VARIANCE * variance) & (total > 0)
        return np.where(drops[self.row], large, self.weights)

    def moments(self) -> tuple[Floats, Floats]:
        """Means and standard deviations (n,)."""
        if any(self.bends):
            return moments_of(self.expect, lambda u: u)
        starts = starts_of(self.row, len(self.log_total))
        weights = self._weights_of_moments
        mean = np.add.reduceat(weights * self.means, starts)
        squares = self.stds**2 + (self.means - mean[self.row]) ** 2
        return mean, np.sqrt(np.add.reduceat(weights * squares, starts))

    def expect(self, function: Callable[[Floats], Floats]) -> Floats:
        """Means (n, F) of a function from numbers (m, N) to (m, N, F), as of `moments`."""

        def behind(number: int) -> Callable[[Floats], Floats]:
            bend = self.bends[number]
            return function if bend is None else lambda v: function(bend.forward(v))

        functions = [behind(number) for number in range(len(self.bends))]
        have_steps = [bend is not None and bend.has_steps for bend in self.bends]
        means = smoothed(functions, have_steps, self.bend_of, self.component, self.means, self.stds)
        means *= self._weights_of_moments[:, np.newaxis]
        found: Floats = np.add.reduceat(means, starts_of(self.row, len(self.log_total)), axis=0)
        return found

    def _on_grid(self, u: Floats) -> tuple[Floats, Floats]:
        """Densities and probabilities (n, G) at points u (n, G)."""
        density, below = self._at(np.repeat(np.arange(len(u)), u.shape[1]), u.ravel())
        return density.reshape(u.shape), below.reshape(u.shape)

    def _at(self, rows: Ints, u: Floats, sign: float = 1.0) -> tuple[Floats, Floats]:
        """Densities and probabilities (m,) of rows (m,) at points u (m,). sign: -1 for probabilities beyond these."""
        density, below, ends = np.zeros(len(u)), np.zeros(len(u)), np.arange(len(self.log_total) + 1)
        which = np.ascontiguousarray(rows, np.int64)
        for number, bend in enumerate(self.bends):
            own = slice(None) if len(self.bends) == 1 else self.bend_of[self.component] == number
            starts = np.searchsorted(self.row[own], ends).astype(np.int64)
            v, slopes = (np.ascontiguousarray(u), None) if bend is None else bend.inverse(u)
            of_bend = np.empty(len(u)), np.empty(len(u))
            means = sign * self.means[own]
            _core.normal_lines(starts, self.weights[own], means, self.stds[own], which, sign * v, *of_bend)
            density += of_bend[0] if slopes is None else of_bend[0] * slopes
            below += of_bend[1]
        return density, below

    def _unbend(self, v: Floats) -> Floats:
        """Numbers (T,) behind the maps of components on the line."""
        u, of = v.copy(), self.bend_of[self.component]
        for number, bend in enumerate(self.bends):
            if bend is not None:
                u[of == number] = bend.forward(v[of == number])
        return u


def _at_ends(u: Floats, q: Floats) -> Floats:
    """Quantiles with those of 0 and 1 at infinity, and those of NaN NaN."""
    found: Floats = np.where(q <= 0, -np.inf, np.where(q >= 1, np.inf, u))
    found[np.isnan(q)] = np.nan
    return found
