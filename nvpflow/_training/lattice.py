"""Lattices: columns of few values with many rows each, such as magnitudes in tenths.

As real numbers these have no finite density. Mixtures put a narrow component on each value, which makes rows likely, and says
little of what such a column tells of the others. Here its values are spread over their cells, as those of whole numbers are,
and a monotone map draws each cell together to a bump around its value. What learns how the columns depend on each other sees
no peaks, and the density has them.
"""

from __future__ import annotations

from functools import cached_property
from typing import Self

import numpy as np

from nvpflow._training.copies import distinct_rows, without_copies
from nvpflow._training.covariances import may_have_peaks
from nvpflow._training.dataset import Data
from nvpflow._training.smooth_places import smooth_places
from nvpflow._training.spline_knots import SMALLEST, Stage, knots_of, outputs_of
from nvpflow._training.statistics import even_places, places_of_rows
from nvpflow._typing import Bools, Floats, Ints

__all__ = ["FEWEST_BINS", "Lattices"]

# A bin for each value and one between two of them, which are at most 64. There are at least so many bins, of which a few are
# beyond the last value: more than other margins have.
MOST_VALUES, FEWEST_BINS = 31, 19
MANY_ROWS = 10  # of each value, in the mean
MOST_ROWS = 20_000  # that tell
TOLERANCE = 0.02  # of a step: how far values may be from the lattice
SMALLEST_STEP = 1 / (10 * MOST_VALUES)  # as a share of the range
NONE = 0.0, 1.0, 0  # where there is no lattice
# The share of a cell, at least, that is between the bumps: a value there has a log-density of -3 to -4, less what bumps gain.
LEAST_BETWEEN = 0.02
# What lies up to so many cells beyond the outer ones, where components of their rows end, is drawn to so many steps beyond the
# outer values: means of 0 and 1 are then no more than that outside of these.
DRAWN, END = 1.0, 0.1


class Lattices:
    """The lattices of the columns.

    Parameters
    ----------
    first, step : ndarray of float64, shape (D,)
        The lowest value and the distance from one to the next.
    n_values : ndarray of int, shape (D,)
        0 for columns without a lattice.
    """

    def __init__(self, first: Floats, step: Floats, n_values: Ints) -> None:
        self.first, self.step, self.n_values = first, step, n_values

    @classmethod
    def of(cls, data: Data, among: Bools, *, have_few: bool = False) -> Self | None:
        """Find the lattices of columns among these (D,), whose cells may be missing (NaN). None if there is none.

        Copies of rows do not count, of which all values would be frequent. `have_few`: all of these columns have few values,
        though there may be too few rows to tell.
        """
        if have_few:
            return cls._of_columns(data.x, among)
        some = data.rows(slice(None, None, max(1, len(data.x) // MOST_ROWS)))
        among = np.array([may_have and _are_few(column) for column, may_have in zip(some.x.T, among)])
        if not among.any():
            return None
        x = without_copies(some)
        x = distinct_rows(x, *places_of_rows(x))
        among = np.array([may_have and _are_few(column) and _may_have_peaks(column) for column, may_have in zip(x.T, among)])
        return cls._of_columns(x, among)

    @classmethod
    def _of_columns(cls, x: Floats, columns: Bools) -> Self | None:
        found = [_lattice(column.astype(np.float64)) if here else NONE for column, here in zip(x.T, columns)]
        lattices = cls(*(np.array(part) for part in zip(*found)))
        return lattices if lattices.columns.any() else None

    @classmethod
    def from_stage(cls, stage: Stage) -> Self:
        """Undo `stage`."""
        centre, half, raw = stage
        found = []
        for column in range(len(centre)):
            x, y = knots_of(raw[column])
            is_bump = np.diff(y)[1::2] > 2 * np.diff(x)[1::2]
            n = int(np.argmin(is_bump)) if not is_bump.all() else len(is_bump)
            places = centre[column] + half[column] * (x[1:-1:2] + x[2::2]) / 2
            found.append((places[0], (places[n - 1] - places[0]) / (n - 1), n) if n > 1 else NONE)
        return cls(*(np.array(part) for part in zip(*found)))

    @property
    def columns(self) -> Bools:
        """The columns (D,) with a lattice."""
        return self.n_values > 0

    def only(self, columns: Bools) -> Lattices:
        """Those of some columns (D,)."""
        return Lattices(self.first, self.step, np.where(columns, self.n_values, 0))

    @property
    def _n_bins(self) -> int:
        return max(2 * int(self.n_values.max()) + 1, FEWEST_BINS)

    @cached_property
    def stage(self) -> Stage:
        """What maps the columns, as of `Margins`. Those without a lattice stay as they are."""
        n_bins, dim = self._n_bins, len(self.n_values)
        centre, half, raw = np.zeros(dim), np.ones(dim), np.zeros((dim, 3 * n_bins - 1))
        for i in np.flatnonzero(self.columns):
            x, y, derivatives = _knots(int(self.n_values[i]), n_bins)
            centre[i] = self.first[i] + self.step[i] * (x[0] + x[-1]) / 2
            half[i], raw[i] = self.step[i] * (x[-1] - x[0]) / 2, outputs_of(x, y, derivatives)
        return centre, half, raw

    def nearest(self, x: Floats) -> Floats:
        """Samples x (n, D) with the nearest values of the lattices."""
        cells = np.clip(np.rint((x - self.first) / self.step), 0, np.maximum(self.n_values - 1, 0))
        return np.where(self.columns, self.first + self.step * cells, x)

    def offsets(self, x: Floats, rng: np.random.Generator) -> Floats:
        """How far (n, D) values are moved behind the stage: to places in their cells. Values off the lattice stay.

        The places are those of whole numbers. Evenly spread, rare values beside frequent ones had up to twice their share.
        """
        offsets = np.zeros(x.shape)
        for i in np.flatnonzero(self.columns):
            cell = (x[:, i] - self.first[i]) / self.step[i]
            near = np.rint(cell)
            moves = (np.abs(cell - near) < TOLERANCE) & (near >= 0) & (near < self.n_values[i])
            if not moves.any():
                continue
            places = smooth_places(near[moves], even_places(near[moves], rng), None, _same, _same)
            y = _knots(int(self.n_values[i]), self._n_bins)[1]
            offsets[moves, i] = (places - 0.5) * 2 / (y[-1] - y[0])
        return offsets


def _same(x: Floats) -> Floats:
    return x


def _are_few(x: Floats) -> bool:
    """Whether a column (n,) has few values, with many rows each."""
    return 2 <= len(np.unique(x[~np.isnan(x)])) <= min(MOST_VALUES, len(x) / MANY_ROWS)


def _may_have_peaks(x: Floats) -> bool:
    return may_have_peaks(x[~np.isnan(x)].astype(np.float64))


def _lattice(x: Floats) -> tuple[float, float, int]:
    """The lowest value of a column (n,), the step and the number of values, or NONE."""
    values = np.unique(x[~np.isnan(x)])
    if not 2 <= len(values) <= MOST_VALUES:
        return NONE
    whole, step = values[-1] - values[0], 0.0
    for gap in np.diff(values):
        while gap > SMALLEST_STEP * whole:  # Euclid's algorithm
            step, gap = gap, abs(step - gap * np.rint(step / gap))
    n = int(np.rint(whole / step)) + 1
    if n > MOST_VALUES:
        return NONE
    cells = (values - values[0]) / whole * (n - 1)
    return (values[0], whole / (n - 1), n) if np.abs(cells - np.rint(cells)).max() < TOLERANCE else NONE


def _knots(n: int, n_bins: int) -> tuple[Floats, Floats, Floats]:
    """Places of the knots (K + 1,) of a column of n values, their values, and the derivatives (K - 1,) of inner ones.

    The unit is the step, from the lowest value. The middle of a cell stays where it is. In each cell, all but a share is drawn
    together to the smallest bin there may be, and so is, less so, what is next to the outer ones. The last bins lie beyond.
    """
    n_beyond = n_bins - 2 * n - 1
    smallest = SMALLEST / (1 - n_beyond * SMALLEST)
    bump = smallest * (n - 1 + 2 * END) / (1 - smallest)
    between = max(LEAST_BETWEEN, smallest * (n + 2 * DRAWN))

    def knots(first: float, of_value: float, between: float, end: float) -> Floats:
        inner = np.append(np.tile([of_value, between], n - 1), of_value)
        beyond = np.full(n_beyond, smallest * (inner.sum() + 2 * end))
        return first + np.cumsum(np.concatenate([[0.0, end], inner, [end], beyond]))

    x = knots(-bump / 2 - END, bump, 1 - bump, END)
    y = knots(-0.5 - DRAWN, 1 - between, between, between / 2 + DRAWN)
    derivatives = np.full(n_bins - 1, between / (1 - bump))
    derivatives[2 * n :] = (y[-1] - y[0]) / (x[-1] - x[0])
    return x, y, derivatives
