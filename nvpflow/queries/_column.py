"""Distributions of a column in its own units: real numbers, whole numbers or angles, from those on the real line."""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Bools, Floats
from nvpflow.layers import Bounded
from nvpflow.queries._lines import Lines
from nvpflow.queries._moments import moments_of
from nvpflow.supports import _near_bounds as near_bounds
from nvpflow.supports._fitted import Supports
from nvpflow.supports._kinds import REALS, Angle, Kind
from nvpflow.supports._windings import N_WINDINGS, into_turn

__all__ = ["Column"]

MOST_CELLS = 4096  # of whole numbers that are summed one by one, for a mean
MOST_STEPS, GOOD_EXCESS = 60, 1e-10  # of quantiles of angles, in probability
MOST_LOG_SLOPE = 700.0  # of values so close to a bound that exp of it would overflow
EXTREME = 1e-9  # the probability beyond the cells of whole numbers that are summed


class Column:
    """The distributions of a column of numbers for n rows.

    Parameters
    ----------
    lines : Lines
    supports : Supports or None
    origin : float
    column : int
        The place of the column among those of numbers.
    """

    def __init__(self, lines: Lines, supports: Supports | None, origin: float, column: int) -> None:
        self.lines, self.origin, self.place = lines, origin, column
        self.kind: Kind = REALS if supports is None else supports.kinds[column]
        self._layer: Bounded | None = None
        self._has_peak = supports is not None and bool(supports.on_bounds[column])  # on a bound
        if supports is not None:
            all_of = supports._exact
            sizes = [all_of.bounds[column]], [all_of.scales[column]], [all_of.edges[column]]
            self._layer = Bounded(1, *sizes, dtype="float64")

    def pdf(self, x: Floats) -> Floats:
        """Densities, or probabilities of whole numbers, at x (n, G)."""
        if self.kind.is_whole:
            k = np.floor(x)
            low, high = self._to_line(k), self._to_line(k + 1)
            below = self.lines.cdf(low)  # in the upper tail what is above keeps its digits
            found = np.where(below < 0.5, self.lines.cdf(high) - below, self.lines.above(low) - self.lines.above(high))
            return np.where(x == k, np.maximum(found, 0.0), np.where(np.isnan(x), np.nan, 0.0))
        if self.kind.turn:
            density: Floats = np.sum([self.lines.pdf(u) for u in self._windings(x)], axis=0)
            return density
        inside, u, slopes = self._near(x)
        return np.where(inside, self.lines.pdf(u) * slopes, np.where(np.isnan(x), np.nan, 0.0))

    def cdf(self, x: Floats) -> Floats:
        """Probabilities of values up to x (n, G); of angles, from the low end of their range."""
        if self.kind.turn:
            low, high = self._ends()
            return self._turned(np.clip(x, low, high)) - self._turned(np.full(x.shape, low))
        return self.lines.cdf(self.ends(x))

    def ends(self, x: Floats) -> Floats:
        """Numbers (G,) on the line below which values up to x are."""
        if self.kind.is_whole:
            return self._to_line(np.floor(x) + 1)
        return self._to_line(near_bounds.ends(x, self.kind, self._edge) if self._has_peak else x)

    def ppf(self, q: Floats) -> Floats:
        """Quantiles of probabilities q (n, G)."""
        if not self.kind.turn:
            return self.from_line(self.lines.ppf(q))
        low, high = self._ends()
        return self._angles(q, low, high)

    def interval(self, level: float) -> Floats:
        """Ends (n, 2) of central intervals; those of angles begin half a turn from the mean direction."""
        q = np.array([0.5 - level / 2, 0.5 + level / 2])
        if not self.kind.turn:
            return self.ppf(np.tile(q, (self.lines.n, 1)))
        low = self.moments()[0] - self.kind.turn / 2
        ends = self._angles(np.tile(q, (self.lines.n, 1)), low[:, np.newaxis], low[:, np.newaxis] + self.kind.turn)
        return into_turn(ends, self._ends()[0], self.kind.turn)

    def two_sided(self, x: Floats) -> Floats:
        """Probabilities of values as far out as x (n, G) to either side: twice the smaller tail, and at most 1."""
        if self.kind.turn:
            low = self.moments()[0][:, np.newaxis] - self.kind.turn / 2
            below = np.mod(self._turned(into_turn(x, low, self.kind.turn)) - self._turned(np.broadcast_to(low, x.shape)), 1)
            above = 1 - below
        else:
            first = np.ceil(x) if self.kind.is_whole else x
            first = near_bounds.begins(x, self.kind, self._edge) if self._has_peak else first
            below, above = self.cdf(x), self.lines.above(self._to_line(first))
        tails: Floats = np.clip(2 * np.minimum(below, above), 0.0, 1.0)
        return tails

    def moments(self) -> tuple[Floats, Floats]:
        """Means and standard deviations (n,), circular ones of angles."""
        if self.kind.turn:
            return self._circular()
        if self.kind.is_whole:
            return self._whole_moments()
        mean, std = self.lines.moments()
        if self._layer is None or self.kind.is_free:
            return mean + self.origin, std
        return self._moments_of_values()

    def _moments_of_values(self) -> tuple[Floats, Floats]:
        mean, std = moments_of(lambda function: self.lines.expect(function, 2), self._unshifted)
        return mean + self.origin, std

    def _circular(self) -> tuple[Floats, Floats]:
        turn, scale = self.kind.turn, 2 * np.pi / self.kind.turn
        parts = self.lines.expect(lambda u: np.stack([np.cos(scale * u), np.sin(scale * u)], axis=-1), 2)
        lengths = np.minimum(np.hypot(*parts.T), 1.0)
        mean = self.origin + np.arctan2(parts[:, 1], parts[:, 0]) / scale
        with np.errstate(divide="ignore"):
            std = np.sqrt(np.maximum(-2 * np.log(lengths), 0.0)) / scale
        return into_turn(mean, self._ends()[0], turn), std

    def _whole_moments(self) -> tuple[Floats, Floats]:
        ends = self.ppf(np.tile([EXTREME, 1 - EXTREME], (self.lines.n, 1)))
        mean, std = np.full(len(ends), np.nan), np.full(len(ends), np.nan)
        known = np.isfinite(ends).all(axis=1)
        if not known.any():
            return mean, std
        width = float((ends[known, 1] - ends[known, 0]).max())
        if width > MOST_CELLS:  # in so many cells, whole numbers are as real ones spread evenly over them
            mean, std = self._moments_of_values()
            return mean - 0.5, np.sqrt(np.maximum(std**2 - 1 / 12, 0.0))
        k = np.where(known, ends[:, 0], 0.0)[:, np.newaxis] + np.arange(width + 1)
        p = self.pdf(k)
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * k).sum(axis=1)
        return mean, np.sqrt((p * (k - mean[:, np.newaxis]) ** 2).sum(axis=1))

    def _ends(self) -> tuple[float, float]:
        assert isinstance(self.kind, Angle)
        low = self.kind.low
        return low, low + self.kind.turn

    def _windings(self, x: Floats) -> list[Floats]:
        """The numbers on the line that stand for angles x."""
        t = into_turn(x, self.origin - self.kind.turn / 2, self.kind.turn) - self.origin
        return [t + self.kind.turn * (i - N_WINDINGS // 2) for i in range(N_WINDINGS)]

    def _turned(self, x: Floats) -> Floats:
        """The sum of distribution functions over windings, which increases by 1 in a turn."""
        shifts = self.kind.turn * (np.arange(N_WINDINGS + 2) - N_WINDINGS // 2 - 1)
        found: Floats = np.sum([self.lines.cdf(x - self.origin + shift) for shift in shifts], axis=0)
        return found

    def _angles(self, q: Floats, low: float | Floats, high: float | Floats) -> Floats:
        """Quantiles of angles, counted from low: Newton steps within brackets that shrink, or halves of these."""
        left, right = np.broadcast_to(low, q.shape).astype(float), np.broadcast_to(high, q.shape).astype(float)
        first = self._turned(left)
        target, x, before = first + q, left + q * (right - left), np.where((q > 0) & (q < 1), np.inf, 0.0)
        for _ in range(MOST_STEPS):
            excess = self._turned(x) - target
            left, right = np.where(excess < 0, x, left), np.where(excess < 0, right, x)
            density: Floats = np.sum([self.lines.pdf(u) for u in self._windings(x)], axis=0)
            with np.errstate(invalid="ignore", divide="ignore"):
                step = x - excess / density
                is_good = (step >= left) & (step <= right) & (np.abs(excess) <= 0.5 * before)
                before = np.where(before > GOOD_EXCESS, np.abs(excess), 0.0)
                x = np.where(before <= GOOD_EXCESS, x, np.where(is_good, step, 0.5 * (left + right)))
            if not (before > GOOD_EXCESS).any():
                break
        return np.where(np.isnan(target), np.nan, x)

    def _to_line(self, x: Floats) -> Floats:
        """Numbers as numbers on the line, infinite outside of the support and on its ends."""
        if self._layer is None:
            found: Floats = x - self.origin
            return found
        low, high = self.kind.cells
        inside = (x > low) & (x < high)
        u = self._layer.inverse(np.where(inside, x - self.origin, self._inner()).reshape(-1, 1))[0].reshape(x.shape)
        return np.where(inside, u, np.where(np.isnan(x), np.nan, np.where(x <= low, -np.inf, np.inf)))

    @property
    def _edge(self) -> float:
        assert self._layer is not None
        return self._layer.edges[0]

    def _near(self, x: Floats) -> tuple[Bools, Floats, Floats]:
        """Which numbers x have a density, numbers on the line for them, and du/dx: of values on a bound those next to it."""
        if self._layer is None:
            inside = np.isfinite(x)
            return inside, np.where(inside, x - self.origin, 0.0), np.ones(x.shape)
        low, high = self.kind.cells
        inside = np.isfinite(x) & (x >= low) & (x <= high)
        u, log_det = self._layer.inverse(np.where(inside, x - self.origin, self._inner()).reshape(-1, 1))
        return inside, u.reshape(x.shape), np.exp(np.minimum(log_det.reshape(x.shape), MOST_LOG_SLOPE))

    def _inner(self) -> float:
        """A number inside of the support, less the origin."""
        assert self._layer is not None
        return float(self._layer.forward(np.zeros((1, 1)))[0][0, 0])

    def _unshifted(self, u: Floats) -> Floats:
        """Numbers on the line in the units of the column, less the origin."""
        if self._layer is None:
            return u
        return self._layer.forward(u.reshape(-1, 1))[0].reshape(u.shape)

    def from_line(self, u: Floats) -> Floats:
        finite = np.isfinite(u)
        x = self._unshifted(np.where(finite, u, 0.0)) + self.origin
        low, high = self.kind.cells
        x = np.where(finite, np.clip(x, low, high), np.where(np.isnan(u), np.nan, np.where(u > 0, high, low)))
        if not self.kind.is_whole:
            return near_bounds.onto_bounds(x, self.kind, self._edge) if self._has_peak else x
        with np.errstate(invalid="ignore"):
            return np.clip(np.floor(x), low, high - 1)
