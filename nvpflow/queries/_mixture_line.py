"""Mixtures of normal distributions on a line, one for each row: what a mixture with given columns is in one free column.

Members of an ensemble may have learnt margins. Their components are normal behind a map of the line, which bends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np

from nvpflow._normal import normal_cdf, probit
from nvpflow._typing import Floats, Ints
from nvpflow.queries._bend import Bend
from nvpflow.queries._ragged import gather, starts_of
from nvpflow.queries._solve import solve_quantiles

__all__ = ["MixtureLine"]

LEAST_SHARE = np.log(1e-8)  # of a component among those of its row, beside the largest: others are left out
REACH = 9.0  # standard deviations: the mass beyond is 1e-19
MOST_NUMBERS = 100_000  # at a time: arrays stay in the cache
HERMITE_NODES = 48
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
    bend : ndarray of int, shape (T,)
        The number of the map, in `bends`, behind which each component is normal.
    bends : tuple of Bend or None
        None is the identity.
    """

    row: Ints
    weights: Floats
    means: Floats
    stds: Floats
    log_total: Floats
    bend: Ints
    bends: tuple[Bend | None, ...] = (None,)

    @classmethod
    def of_terms(cls, row: Ints, log_terms: Floats, means: Floats, stds: Floats, n: int) -> Self:
        """From terms (B, K) of branches, of which those of one row (B,) follow one another. Every row has a branch.

        As `bend` they have their places in 0 ... K - 1.
        """
        starts = starts_of(row, n)
        largest = np.maximum.reduceat(log_terms.max(axis=1), starts)
        shift = np.where(np.isfinite(largest), largest, 0.0)
        shares = np.exp(log_terms - shift[row][:, np.newaxis])
        total = np.add.reduceat(shares.sum(axis=1), starts)
        keep = log_terms - shift[row][:, np.newaxis] > LEAST_SHARE
        keep[starts[~np.isfinite(largest)], 0] = True
        branch, component = np.nonzero(keep)
        kept, of_row = shares[branch, component], row[branch]
        with np.errstate(invalid="ignore", divide="ignore"):
            weights = kept / np.add.reduceat(kept, starts_of(of_row, n))[of_row]
            log_total = shift + np.log(total)
        return cls(of_row, weights, means[branch, component], stds[branch, component], log_total, component)

    @classmethod
    def joined(cls, parts: Sequence[MixtureLine]) -> Self:
        """Rows of several lines, one after another."""
        offsets = np.cumsum([0, *(len(part.log_total) for part in parts)])[:-1]
        row = np.concatenate([part.row + offset for part, offset in zip(parts, offsets)])
        weights, means, stds, log_total, bend = (np.concatenate(values) for values in list(zip(*parts))[1:6])
        return cls(row, weights, means, stds, log_total, bend, parts[0].bends)

    @property
    def error(self) -> Floats:
        """Of probabilities: there is none."""
        return np.zeros(len(self.log_total))

    @property
    def size(self) -> Floats:
        """Effective numbers of draws: infinite, as nothing is drawn."""
        return np.full(len(self.log_total), np.inf)

    def take(self, rows: Ints) -> MixtureLine:
        """Some of the rows, in this order, perhaps several times."""
        index, row = gather(starts_of(self.row, len(self.log_total)), len(self.row), rows)
        of = self.weights[index], self.means[index], self.stds[index]
        return MixtureLine(row, *of, self.log_total[rows], self.bend[index], self.bends)

    def pdf(self, u: Floats) -> Floats:
        """Densities at points u (n, G)."""
        return self._sums(u, with_cdf=False)[0]

    def cdf(self, u: Floats) -> Floats:
        """Probabilities (n, G) of numbers up to u (n, G), which may be infinite."""
        return self._sums(u, with_pdf=False)[1]

    def ppf(self, q: Floats) -> Floats:
        """Quantiles (n, G) of probabilities q (n, G) from 0 to 1."""
        n, width = q.shape
        starts, flat, rows = starts_of(self.row, n), q.ravel(), np.repeat(np.arange(n), width)
        ends = [self._unbend(self.means + sign * REACH * self.stds) for sign in (-1, 1)]
        low = np.repeat(np.minimum.reduceat(ends[0], starts), width)
        high = np.repeat(np.maximum.reduceat(ends[1], starts), width)
        at = self._start(np.where(np.isnan(q), 0.5, q)).ravel()

        def values(active: Ints, u: Floats) -> tuple[Floats, Floats]:
            at[active] = u
            if 2 * len(active) > len(at):  # all at once, without copies of components
                density, below = (found.ravel()[active] for found in self._sums(at.reshape(n, width)))
            else:
                density, below = (found[:, 0] for found in self.take(rows[active])._sums(u[:, np.newaxis]))
            return below - flat[active], density

        return _at_ends(solve_quantiles(values, flat, at.copy(), low, high), flat).reshape(n, width)

    def _start(self, q: Floats) -> Floats:
        """Quantiles (n, G) of normal distributions with the moments of each row, where no member has a bend, or close by."""
        starts = starts_of(self.row, len(self.log_total))
        means = self._unbend(self.means)
        stds = (self._unbend(self.means + self.stds) - self._unbend(self.means - self.stds)) / 2
        mean = np.add.reduceat(self.weights * means, starts)
        std = np.sqrt(np.add.reduceat(self.weights * (stds**2 + (means - mean[self.row]) ** 2), starts))
        start: Floats = mean[:, np.newaxis] + std[:, np.newaxis] * probit(q)
        return start

    def quantiles(self, q: Floats) -> Floats:
        """Rough quantiles (n, Q) of increasing probabilities q (Q,), by interpolation: good enough to place panels."""
        starts = starts_of(self.row, len(self.log_total))
        low = np.minimum.reduceat(self._unbend(self.means - 6 * self.stds), starts)
        high = np.maximum.reduceat(self._unbend(self.means + 6 * self.stds), starts)
        steps = np.concatenate([np.linspace(0, 1, N_PLACES), 0.5 + 0.5 * np.tanh(np.linspace(-2, 2, N_PLACES))])
        places = low[:, np.newaxis] + (high - low)[:, np.newaxis] * np.sort(steps)
        places = np.sort(np.concatenate([places, self._start(np.tile(q, (len(low), 1)))], axis=1))
        sums = np.maximum.accumulate(self.cdf(places), axis=1)
        return np.stack([np.interp(q, row, place) for row, place in zip(sums, places)])

    def moments(self) -> tuple[Floats, Floats]:
        """Means and standard deviations (n,)."""
        if any(self.bends):
            first, second = self.expect(lambda u: np.stack([u, u * u], axis=-1)).T
            return first, np.sqrt(np.maximum(second - first**2, 0.0))
        starts = starts_of(self.row, len(self.log_total))
        mean = np.add.reduceat(self.weights * self.means, starts)
        squares = self.stds**2 + (self.means - mean[self.row]) ** 2
        return mean, np.sqrt(np.add.reduceat(self.weights * squares, starts))

    def expect(self, function: Callable[[Floats], Floats]) -> Floats:
        """Means (n, F) of a function from numbers (T, N) to (T, N, F), by Gauss-Hermite quadrature of each component."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE_NODES)
        parts = []
        for rows, of_part in self._chunks(HERMITE_NODES):
            v = self.means[of_part, np.newaxis] + self.stds[of_part, np.newaxis] * nodes
            values = function(self._unbend(v, of_part))
            means = np.einsum("tnf,n->tf", values, weights / weights.sum()) * self.weights[of_part, np.newaxis]
            parts.append(np.add.reduceat(means, starts_of(self.row[of_part] - rows.start, rows.stop - rows.start), axis=0))
        return np.concatenate(parts)

    def _sums(self, u: Floats, with_pdf: bool = True, with_cdf: bool = True) -> tuple[Floats, Floats]:
        """Densities and probabilities (n, G) at points u (n, G); 0 where they are not asked for."""
        pdf, cdf = np.zeros(u.shape), np.zeros(u.shape)
        bent = [(u, None) if bend is None else bend.inverse(u) for bend in self.bends]
        for rows, part in self._chunks(u.shape[1]):
            row, stds, weights = self.row[part], self.stds[part, np.newaxis], self.weights[part, np.newaxis]
            starts = starts_of(row - rows.start, rows.stop - rows.start)
            z, slopes = bent[0][0][row], None if bent[0][1] is None else bent[0][1][row]
            if len(bent) > 1:
                of = self.bend[part]
                z = np.stack([v for v, _ in bent])[of, row]
                slopes = np.stack([np.ones_like(u) if slope is None else slope for _, slope in bent])[of, row]
            z = (z - self.means[part, np.newaxis]) / stds
            if with_pdf:
                terms = np.exp(-0.5 * z * z) * (weights / (np.sqrt(2 * np.pi) * stds))
                pdf[rows] = np.add.reduceat(terms if slopes is None else terms * slopes, starts, axis=0)
            if with_cdf:
                cdf[rows] = np.add.reduceat(weights * normal_cdf(z), starts, axis=0)
        return pdf, cdf

    def _unbend(self, v: Floats, part: slice = slice(None)) -> Floats:
        """Numbers behind the maps of components (t,) or (t, N) on the line."""
        if not any(self.bends):
            return v
        u, of = v.copy(), self.bend[part]
        for number, bend in enumerate(self.bends):
            if bend is not None:
                u[of == number] = bend.forward(v[of == number])
        return u

    def _chunks(self, width: int) -> Iterator[tuple[slice, slice]]:
        """Rows, and their components, so that `width` numbers for each component fit into memory."""
        n, starts = len(self.log_total), starts_of(self.row, len(self.log_total))
        ends, most = np.append(starts[1:], len(self.row)), max(1, MOST_NUMBERS // max(width, 1))
        row = 0
        while row < n:
            stop = max(row + 1, int(np.searchsorted(ends, starts[row] + most, side="right")))
            yield slice(row, stop), slice(int(starts[row]), int(ends[stop - 1]))
            row = stop


def _at_ends(u: Floats, q: Floats) -> Floats:
    """Quantiles with those of 0 and 1 at infinity, and those of NaN NaN."""
    found: Floats = np.where(q <= 0, -np.inf, np.where(q >= 1, np.inf, u))
    found[np.isnan(q)] = np.nan
    return found
