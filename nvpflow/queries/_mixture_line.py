"""Mixtures of normal distributions on a line, one for each row: what a mixture with given columns is in one free column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np

from nvpflow._normal import normal_cdf, probit
from nvpflow._typing import Floats, Ints
from nvpflow.queries._ragged import gather, starts_of
from nvpflow.queries._solve import solve_quantiles

__all__ = ["MixtureLine"]

LEAST_SHARE = np.log(1e-8)  # of a component among those of its row, beside the largest: others are left out
REACH = 9.0  # standard deviations: the mass beyond is 1e-19
MOST_NUMBERS = 2_000_000  # in memory at a time
HERMITE_NODES = 48
N_PLACES = 12


class MixtureLine(NamedTuple):
    """Mixtures of n rows. Components of one row follow one another.

    Attributes
    ----------
    row : ndarray of int, shape (T,)
        The row of each component, in increasing order; every row has one at least.
    weights, means, stds : ndarray, shape (T,)
        The weights of a row sum to 1, or are NaN where nothing is known.
    log_total : ndarray, shape (n,)
        The logarithm of the sum of the weights before they were made to sum to 1.
    """

    row: Ints
    weights: Floats
    means: Floats
    stds: Floats
    log_total: Floats

    @classmethod
    def of_terms(cls, row: Ints, log_terms: Floats, means: Floats, stds: Floats, n: int) -> Self:
        """From terms (B, K) of branches, of which those of one row (B,) follow one another. Every row has a branch."""
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
        return cls(of_row, weights, means[branch, component], stds[branch, component], log_total)

    @classmethod
    def joined(cls, parts: Sequence[MixtureLine]) -> Self:
        """Rows of several lines, one after another."""
        offsets = np.cumsum([0, *(len(part.log_total) for part in parts)])[:-1]
        row = np.concatenate([part.row + offset for part, offset in zip(parts, offsets)])
        return cls(row, *(np.concatenate(columns) for columns in list(zip(*parts))[1:]))

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
        return MixtureLine(row, self.weights[index], self.means[index], self.stds[index], self.log_total[rows])

    def pdf(self, u: Floats) -> Floats:
        """Densities at points u (n, G)."""
        return self._sum(u, lambda z, stds: np.exp(-0.5 * z * z) / (np.sqrt(2 * np.pi) * stds))

    def cdf(self, u: Floats) -> Floats:
        """Probabilities (n, G) of numbers up to u (n, G), which may be infinite."""
        return self._sum(u, lambda z, stds: normal_cdf(z))

    def ppf(self, q: Floats) -> Floats:
        """Quantiles (n, G) of probabilities q (n, G) from 0 to 1."""
        n, width = q.shape
        starts = starts_of(self.row, n)
        low = np.repeat(np.minimum.reduceat(self.means - REACH * self.stds, starts), width)
        high = np.repeat(np.maximum.reduceat(self.means + REACH * self.stds, starts), width)
        flat, rows = q.ravel(), np.repeat(np.arange(n), width)
        mean, std = self.moments()
        start = np.repeat(mean, width) + np.repeat(std, width) * probit(np.where(np.isnan(flat), 0.5, flat))

        def values(active: Ints, u: Floats) -> tuple[Floats, Floats]:
            line = self if len(active) == n and width == 1 else self.take(rows[active])
            return line.cdf(u[:, np.newaxis])[:, 0] - flat[active], line.pdf(u[:, np.newaxis])[:, 0]

        return _at_ends(solve_quantiles(values, flat, start, low, high), flat).reshape(n, width)

    def quantiles(self, q: Floats) -> Floats:
        """Rough quantiles (n, Q) of increasing probabilities q (Q,), by interpolation: good enough to place panels."""
        mean, std = self.moments()
        starts = starts_of(self.row, len(mean))
        low = np.minimum.reduceat(self.means - 6 * self.stds, starts)
        high = np.maximum.reduceat(self.means + 6 * self.stds, starts)
        steps = np.concatenate([np.linspace(0, 1, N_PLACES), 0.5 + 0.5 * np.tanh(np.linspace(-2, 2, N_PLACES))])
        places = low[:, np.newaxis] + (high - low)[:, np.newaxis] * np.sort(steps)
        places = np.sort(np.concatenate([places, mean[:, np.newaxis] + std[:, np.newaxis] * probit(q)], axis=1))
        sums = np.maximum.accumulate(self.cdf(places), axis=1)
        return np.stack([np.interp(q, row, place) for row, place in zip(sums, places)])

    def moments(self) -> tuple[Floats, Floats]:
        """Means and standard deviations (n,)."""
        starts = starts_of(self.row, len(self.log_total))
        mean = np.add.reduceat(self.weights * self.means, starts)
        squares = self.stds**2 + (self.means - mean[self.row]) ** 2
        return mean, np.sqrt(np.add.reduceat(self.weights * squares, starts))

    def expect(self, function: Callable[[Floats], Floats]) -> Floats:
        """Means (n, F) of a function from numbers (T, N) to (T, N, F), by Gauss-Hermite quadrature of each component."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE_NODES)
        parts = []
        for rows, of_part in self._chunks(HERMITE_NODES):
            values = function(self.means[of_part, np.newaxis] + self.stds[of_part, np.newaxis] * nodes)
            means = np.einsum("tnf,n->tf", values, weights / weights.sum()) * self.weights[of_part, np.newaxis]
            parts.append(np.add.reduceat(means, starts_of(self.row[of_part] - rows.start, rows.stop - rows.start), axis=0))
        return np.concatenate(parts)

    def _sum(self, u: Floats, function: Callable[[Floats, Floats], Floats]) -> Floats:
        """Sums (n, G) over the components of weighted functions of standardised points (t, G) and deviations (t, 1)."""
        found = np.empty(u.shape)
        for rows, of_part in self._chunks(u.shape[1]):
            row, stds = self.row[of_part], self.stds[of_part, np.newaxis]
            z = (u[row] - self.means[of_part, np.newaxis]) / stds
            terms = self.weights[of_part, np.newaxis] * function(z, stds)
            found[rows] = np.add.reduceat(terms, starts_of(row - rows.start, rows.stop - rows.start), axis=0)
        return found

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
