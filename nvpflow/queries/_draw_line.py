"""Weighted draws from densities on the line, where many columns are integrated out.

The draws are those of a mixture, the weights the ratios of both densities: importance sampling, with points of a lattice in
place of random ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np

from nvpflow._typing import Floats
from nvpflow.missing._patterns import Mask
from nvpflow.queries._branches import Branches, Member, RealModel
from nvpflow.queries._ragged import starts_of

__all__ = ["DrawLine", "draw_line"]

# Draws for each row, in so many copies of a lattice with shifts of their own; more of them for rows with few effective draws.
N_DRAWS, N_SHIFTS, MORE_SHIFTS, ENOUGH = 2000, 2, 16, 300.0
SIZES = (1021, 251, 61, 13)  # of lattices: smaller ones where each row has many terms
MOST_POINTS = 2**19  # in memory at a time


class DrawLine(NamedTuple):
    """Weighted draws of n rows.

    Attributes
    ----------
    draws : ndarray, shape (n, N)
        In increasing order, infinite where a row has fewer.
    weights : ndarray, shape (n, N)
        The sum in each row is 1, or NaN in rows without a density.
    size : ndarray, shape (n,)
        Effective numbers of draws: Kong (1992), "A note on importance sampling using standardized weights".
    log_total : ndarray, shape (n,)
        The logarithm of the density of the given cells.
    """

    draws: Floats
    weights: Floats
    size: Floats
    log_total: Floats

    @classmethod
    def of_terms(cls, u: Floats, log_weights: Floats) -> Self:
        """From draws (n, N) and the logarithms of weights whose sums are the densities of what is given."""
        largest = log_weights.max(axis=1, keepdims=True)
        shift = np.where(np.isfinite(largest), largest, 0.0)
        weights = np.exp(log_weights - shift)
        total = weights.sum(axis=1)
        order = np.argsort(u, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            weights = np.take_along_axis(weights, order, axis=1) / total[:, np.newaxis]
            size, log_total = 1 / (weights**2).sum(axis=1), shift[:, 0] + np.log(total)
        return cls(np.take_along_axis(u, order, axis=1), weights, np.where(total > 0, size, 0.0), log_total)

    @classmethod
    def joined(cls, parts: Sequence[DrawLine]) -> Self:
        """Rows of several lines, one after another."""
        width = max(part.draws.shape[1] for part in parts)
        gaps = [((0, 0), (0, width - part.draws.shape[1])) for part in parts]
        draws = np.concatenate([np.pad(part.draws, gap, constant_values=np.inf) for part, gap in zip(parts, gaps)])
        weights = np.concatenate([np.pad(part.weights, gap) for part, gap in zip(parts, gaps)])
        return cls(draws, weights, *(np.concatenate(values) for values in list(zip(*parts))[2:]))

    @property
    def error(self) -> Floats:
        """The standard error of a probability of one half."""
        error: Floats = 0.5 / np.sqrt(np.maximum(self.size, 1.0))
        return error

    def pdf(self, u: Floats) -> Floats:
        """Draws have no density."""
        raise NotImplementedError

    def cdf(self, u: Floats) -> Floats:
        """Probabilities (n, G) of numbers up to u (n, G), which may be infinite."""
        sums = np.concatenate([np.zeros((len(u), 1)), np.cumsum(self.weights, axis=1)], axis=1)
        places = np.stack([np.searchsorted(draws, points, side="right") for draws, points in zip(self.draws, u)])
        found: Floats = np.minimum(np.take_along_axis(sums, places, axis=1), 1.0)
        return np.where(np.isnan(u), np.nan, found)

    def ppf(self, q: Floats) -> Floats:
        """Quantiles (n, G) of probabilities q (n, G) from 0 to 1."""
        known, middles = np.nan_to_num(q), np.cumsum(self.weights, axis=1) - 0.5 * self.weights
        kept = self.weights > 0  # draws without a weight are no quantiles
        rows = zip(known, middles, self.draws, kept)
        found = np.stack([np.interp(p, middle[k], u[k]) if k.any() else np.full(len(p), np.nan) for p, middle, u, k in rows])
        found = np.where(q <= 0, -np.inf, np.where(q >= 1, np.inf, found))
        return np.where(np.isnan(q) | np.isnan(self.weights[:, :1]), np.nan, found)

    def expect(self, function: Callable[[Floats], Floats]) -> Floats:
        """Means (n, F) of a function from numbers (n, N) to (n, N, F)."""
        means: Floats = np.einsum("nif,ni->nf", function(np.where(self.weights > 0, self.draws, 0.0)), self.weights)
        return means

    def moments(self) -> tuple[Floats, Floats]:
        """Means and standard deviations (n,)."""
        u = np.where(self.weights > 0, self.draws, 0.0)
        mean = (self.weights * u).sum(axis=1)
        return mean, np.sqrt((self.weights * (u - mean[:, np.newaxis]) ** 2).sum(axis=1))


def draw_line(model: RealModel, branches: Branches, free: int) -> DrawLine:
    """Draws of the free column, with the other open columns integrated out."""
    most = int(np.diff(starts_of(branches.row, branches.n), append=len(branches.row)).max()) * len(model.members)
    n_points = next((size for size in SIZES if size * most * N_SHIFTS <= N_DRAWS * 1.1), SIZES[-1])
    parts = []
    step = max(1, MOST_POINTS // (most * n_points * N_SHIFTS))
    for start in range(0, branches.n, step):
        part = branches.take(np.arange(start, min(start + step, branches.n)))
        parts.append(_drawn(model, part, free, n_points, N_SHIFTS))
    line = DrawLine.joined(parts)
    few = np.flatnonzero((line.size < ENOUGH) & np.isfinite(line.log_total))
    return line if not len(few) else _with_more(model, branches, free, line, few, n_points, most)


def _with_more(
    model: RealModel, branches: Branches, free: int, line: DrawLine, few: np.ndarray, n_points: int, most: int
) -> DrawLine:
    """The line with more draws of a few rows."""
    step = max(1, MOST_POINTS // (most * n_points * MORE_SHIFTS))
    chunks = [few[start : start + step] for start in range(0, len(few), step)]
    more = DrawLine.joined([_drawn(model, branches.take(rows), free, n_points, MORE_SHIFTS) for rows in chunks])
    others = np.setdiff1d(np.arange(branches.n), few)
    both = DrawLine.joined([DrawLine(*(values[others] for values in line)), more])
    back = np.argsort(np.concatenate([others, few]))
    return DrawLine(*(values[back] for values in both))


def _drawn(model: RealModel, branches: Branches, free: int, n_points: int, n_shifts: int) -> DrawLine:
    missing = np.isnan(branches.u[0])
    found = [_of_member(member, branches, missing, free, n_points, n_shifts) for member in model.members]
    u, log_weights = (np.concatenate(values, axis=1) for values in zip(*found))
    starts = starts_of(branches.row, branches.n)
    counts = np.diff(starts, append=len(branches.row))
    if (counts == 1).all():
        return DrawLine.of_terms(u, log_weights)
    shape = branches.n, int(counts.max()), u.shape[1]
    of_rows, of_weights = np.full(shape, np.inf), np.full(shape, -np.inf)
    within = np.arange(len(branches.row)) - starts[branches.row]
    of_rows[branches.row, within], of_weights[branches.row, within] = u, log_weights
    return DrawLine.of_terms(of_rows.reshape(branches.n, -1), of_weights.reshape(branches.n, -1))


def _of_member(
    member: Member, branches: Branches, missing: Mask, free: int, n_points: int, n_shifts: int
) -> tuple[Floats, Floats]:
    """Numbers (B, N) of the free column for each branch, and the logarithms of their weights."""
    y, slopes = member.columns.inverse(branches.u, branches.context)
    drawn, log_weights = member.marginals.weighted_draws(y, missing, branches.context, n_points, n_shifts)
    zero, log_scale = member.line(branches, free)
    place, bend = int(missing[:free].sum()), member.bend(free)
    v = (drawn[:, :, place] - zero[:, np.newaxis]) * np.exp(-log_scale)[:, np.newaxis]
    log_weights += (branches.log_weight + member.log_weight + slopes[:, ~missing].sum(axis=1))[:, np.newaxis]
    return v if bend is None else bend.forward(v), log_weights
