"""Whether margins pay: mixtures of what they leave compete with mixtures of the samples, on rows that neither has seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from nvpflow._training.conditional_stacking import MOST_COLUMNS as MOST_COLUMNS_WITH_CONTEXT
from nvpflow._training.conditional_stacking import StandardizedColumns
from nvpflow._training.copies import copies_of
from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits
from nvpflow._training.margins import AS_IT_IS, BY_MIXTURE, BY_QUANTILES, Margins
from nvpflow._training.mixture_candidates import Candidates
from nvpflow._training.mixture_search import COMPONENTS
from nvpflow._training.stacking import LARGEST_LOSS, fit_growing, log_average, mean_gain, share_of_distinct, shares_of
from nvpflow._training.statistics import average, holds_values, mean_and_error
from nvpflow._typing import Bools, FloatDType, Floats, Ints

__all__ = [
    "FEWEST_ROWS",
    "FEW_COMPONENTS",
    "LEAST_GAIN",
    "MOST_COLUMNS",
    "PARTS",
    "QUICK_ROWS",
    "Fitted",
    "Look",
    "can_compete",
    "has_many_columns",
    "masks_of_parts",
    "quick_log_density",
    "search_margins",
    "whole_look",
]

# Rows at random that are read, and parts of which each is held out in turn: more of small samples, whose margins need them.
# Of a first and quick look, which ends most searches, there are fewer.
MOST_ROWS, QUICK_ROWS, FEW_ROWS, PARTS_OF_FEW, PARTS = 3000, 600, 500, 4, 2
FEWEST_ROWS, MOST_COLUMNS = 40, 60
LEAST_LEFT = 0.2  # of the rows, that a part must leave for mixtures to be fitted to
# Numbers of components of the mixtures that compete, before all numbers do.
FEW_COMPONENTS = (1, 8)
# Standard errors by which margins must be better. Many components follow a curve whose margins say little: on spirals few of
# them gained 0.1 to 0.2 nats by margins, and all lost 0.05.
LEAST_GAIN_OF_FEW, LEAST_GAIN = 1.0, 2.0
# Standard errors by which a column is likely to gain: of many columns, none alone has to be clear. 8 and 15 Laplace columns
# (400 rows) gained 0.1 to 0.2 nats, densities and tables that did not take part in the choice 0.005 in the mean (-0.4 to 0.5).
LIKELY_GAIN = 1.0
# A column is left as it is unless its own density gains this much, in nats.
LEAST_OF_COLUMN = 0.01
# In fewer columns a mixture of them together has few enough modes. Ten columns with two modes each have a thousand together:
# they lost 1.1, 0.5 and 0.16 nats (500, 2000 and 10,000 rows) before their margins followed mixtures.
FEWEST_FOR_MIXTURES = 4
# The share of values that must differ from each other: a mixture of those that repeat follows the values.
LEAST_DISTINCT = 0.5


def search_margins(
    data: Data, seed: int, dtype: FloatDType, blocks: tuple[int, ...] = (), among: Bools | None = None
) -> Margins | None:
    """Fit margins of the columns that gain by them. None if mixtures are not better for it.

    Parameters
    ----------
    data : Data, n >= 2
        With a standardised context, if any: densities of samples given their context compete.
    seed : int
    dtype : numpy.dtype
        Of the flow.
    blocks : tuple of int
        The sizes of the blocks of indicators, which are the last columns of the context.
    among : ndarray of bool, shape (D,), optional
        The columns that may have a map. Default: all.
    """
    may_bend = np.ones(data.x.shape[1], bool) if among is None else among
    look = whole_look(data, seed, dtype, blocks) if may_bend.any() else None
    if look is None:
        return None
    quick_masks = [mask[:QUICK_ROWS] for mask in look.masks[:PARTS]]
    if not can_compete(quick_masks):
        return None
    quick = Look(look.data.rows(slice(QUICK_ROWS)), quick_masks, dtype, seed, FEW_COMPONENTS, blocks)
    found = _best_that_pays(quick, _shapes_that_gain(quick, may_bend), LEAST_GAIN_OF_FEW)
    found = found and _best_that_pays(look, [found.shapes], LEAST_GAIN)
    if found is None:
        return None
    margins = Margins.fit(data.x.astype(np.float64), data.weight, found.shapes, dtype)
    margins.scores = found.scores
    return margins


def whole_look(data: Data, seed: int, dtype: FloatDType, blocks: tuple[int, ...]) -> Look | None:
    """Rows for mixtures of all numbers of components. None if they are too few, or the columns too many."""
    n = len(data.x)
    if n < FEWEST_ROWS or has_many_columns(data, blocks):
        return None
    some = data.rows(np.random.default_rng(seed).permutation(n)[:MOST_ROWS])
    masks = masks_of_parts(some, PARTS_OF_FEW if len(some.x) <= FEW_ROWS else PARTS)
    return Look(some, masks, dtype, seed, COMPONENTS, blocks) if can_compete(masks) else None


def has_many_columns(data: Data, blocks: tuple[int, ...]) -> bool:
    """Whether mixtures of the columns, and of those of a context but for its blocks of indicators, take too long."""
    dim = data.x.shape[1]
    n_given = 0 if data.context is None else data.context.shape[1] - sum(blocks)
    return dim > MOST_COLUMNS or (n_given > 0 and dim + n_given > MOST_COLUMNS_WITH_CONTEXT)


def masks_of_parts(data: Data, n_parts: int) -> list[Bools]:
    """Masks (n,) of parts of samples in random order, with copies, and rows of a group, together. There are fewer if the rows
    are fewer.
    """
    row = copies_of(data)
    part = (np.arange(len(data.x)) if row is None else row) % n_parts
    return [part == i for i in range(part.max() + 1)]


def can_compete(masks: list[Bools]) -> bool:
    """Whether each part leaves enough rows for mixtures to be fitted to. A single part does not, nor one of nearly all."""
    return len(masks) > 1 and all(np.count_nonzero(~mask) >= LEAST_LEFT * len(mask) for mask in masks)


def quick_log_density(
    data: Data,
    masks: list[Bools],
    dtype: FloatDType,
    seed: int,
    components: tuple[int, ...],
    may_bend: Bools,
    blocks: tuple[int, ...] = (),
) -> Floats:
    """Log-density of the samples, part by part, by averages of few mixtures fitted to the other parts, in nats.

    Parameters
    ----------
    data : Data
    masks : list of ndarray of bool, shape (n,)
        The parts that are held out in turn.
    dtype : numpy.dtype
        Of the flow.
    seed : int
    components : tuple of int
        The numbers of components of the mixtures.
    may_bend : ndarray of bool, shape (D,)
        The columns that may have margins, with which the density is taken if it is better.
    blocks : tuple of int
        As of `search_margins`.
    """
    look = Look(data, masks, dtype, seed, components, blocks)
    without = look.fit(None).log_density
    if not may_bend.any():
        return without
    found = [without, *(look.fit(shapes).log_density for shapes in _shapes_that_gain(look, may_bend))]
    return max(found, key=lambda log_probs: average(log_probs, look.weight))


class Fitted(NamedTuple):
    """Mixtures that are fitted without one part after the other, their shares, and the log-density of the samples, part by
    part, in nats."""

    parts: list[Candidates]
    shares: dict[str, float]
    log_density: Floats


@dataclass
class Look:
    """Samples, the parts that are held out in turn, and the mixtures that compete.

    Parameters
    ----------
    data : Data
    masks : list of ndarray of bool, shape (n,)
    dtype : numpy.dtype
        Of the flow.
    seed : int
    components : tuple of int
        The numbers of components that compete.
    blocks : tuple of int
        As of `search_margins`.
    """

    data: Data
    masks: list[Bools]
    dtype: FloatDType
    seed: int
    components: tuple[int, ...]
    blocks: tuple[int, ...]
    _known: dict[tuple[int, int, int], tuple[Floats, Floats]] = field(default_factory=dict, init=False)

    @property
    def weight(self) -> Floats | None:
        """Weights of the samples, part by part."""
        return None if self.data.weight is None else np.concatenate([self.data.weight[mask] for mask in self.masks])

    def bent(self, i: int, column: int, shape: int) -> tuple[Floats, Floats]:
        """A column (n, 1) by a map of this shape that is fitted without part i, and log|dy/dx| (n, 1). It is fitted once."""
        key = i, column, shape
        if key not in self._known:
            x, training = self.data.x[:, [column]], ~self.masks[i]
            weight = None if self.data.weight is None else self.data.weight[training]
            y, slope = Margins.fit(x[training].astype(np.float64), weight, np.array([shape]), self.dtype).inverse(x)
            self._known[key] = y, slope[:, np.newaxis]
        return self._known[key]

    def all_bent(self, i: int, shapes: Ints) -> tuple[Floats, Floats]:
        """The samples (n, D) with columns of these shapes, and log|det dy/dx| (n,)."""
        y, slope = self.data.x.astype(np.float64), np.zeros(len(self.data.x))
        for column in np.flatnonzero(shapes != AS_IT_IS):
            bent, of_column = self.bent(i, int(column), int(shapes[column]))
            y[:, column], slope = bent[:, 0], slope + of_column[:, 0]
        return y, slope

    def candidates(self, x: Floats, i: int) -> tuple[Candidates, float]:
        """The mixtures of x (n, D), in place of the samples, without part i. Also log|det dx/dz| of their units z."""
        data, seeds = self.data._replace(x=x), [self.seed, i]
        if data.context is not None:
            columns = StandardizedColumns(data, self.blocks)
            return columns.candidates(self.masks[i], seeds), columns.log_det
        units = ColumnUnits(x, data.weight)
        z = Data(units.standardize(x).astype(self.dtype), None, data.weight)
        return Candidates(z, units, self.masks[i], share_of_distinct(self.data.x), seeds), units.log_det

    def fit(self, shapes: Ints | None) -> Fitted:
        """Fit mixtures to all samples but a part, for one part after the other. `shapes`: of the margins that columns get
        first, if any."""
        parts, slopes = [], []
        for i, mask in enumerate(self.masks):
            x, slope = (self.data.x, np.zeros(len(self.data.x))) if shapes is None else self.all_bent(i, shapes)
            part, log_det = self.candidates(x, i)
            part.components, part.most_nested, part.rows_to_merge = self.components, 0, np.inf
            if self.components == FEW_COMPONENTS:
                part.more_components, part.most_kernels = (), 0
            parts.append(part)
            slopes.append(slope[mask] - log_det)
        log_probs = fit_growing(parts, self.weight)
        shares = shares_of(log_probs, self.weight)
        return Fitted(parts, shares, log_average(log_probs, shares) + np.concatenate(slopes))


class _Paying(NamedTuple):
    """Shapes (D,) of margins that pay, and the mean log-density of held-out samples without and with them, in nats."""

    shapes: Ints
    scores: tuple[float, float]


def _best_that_pays(look: Look, ways: list[Ints], least: float) -> _Paying | None:
    """The best of some ways to shape the columns. None if there is none that gains so many standard errors."""
    if not ways:
        return None
    without = look.fit(None).log_density
    score, found = average(without, look.weight), []
    for shapes in ways:
        within = look.fit(shapes).log_density
        gain, error = mean_gain(within - without, look.weight)
        if gain > least * error:
            found.append(_Paying(shapes, (score, average(within, look.weight))))
    return max(found, key=lambda one: one.scores[1], default=None)


def _shapes_that_gain(look: Look, may_bend: Bools) -> list[Ints]:
    """Ways (D,) to shape the columns, such that a normal distribution of a column is better after its map than before.

    First of those columns alone that clearly gain, then of all that are likely to. Either has columns that change.
    """

    def gains_of(shape: int, among: Bools) -> Floats:
        return np.concatenate([_gains(look, i, shape, among) for i in range(len(look.masks))])

    def are_better(gains: Floats, errors: float) -> Bools:
        found = [mean_and_error(gain, look.weight) for gain in gains.T]
        return np.array([gain > max(errors * error, LEAST_OF_COLUMN) for gain, error in found])

    gains = gains_of(BY_QUANTILES, may_bend)
    # Quantiles gain by modes, too, though they blur the gap between them: a column where they do not has none.
    has_modes = np.average(gains, axis=0, weights=look.weight) > 0
    more = gains_of(BY_MIXTURE, has_modes) if look.data.x.shape[1] >= FEWEST_FOR_MIXTURES else None
    ways: list[Ints] = []
    for errors in (LEAST_GAIN, LIKELY_GAIN):
        shapes = np.where(are_better(gains, errors) & may_bend, BY_QUANTILES, AS_IT_IS)
        if more is not None:
            shapes[are_better(more, errors) & are_better(more - gains, errors) & may_bend] = BY_MIXTURE
        if shapes.any() and not any((shapes == way).all() for way in ways):
            ways.append(shapes)
    return ways


def _gains(look: Look, i: int, shape: int, among: Bools) -> Floats:
    """How much the log-density of each value of part i gains by a map of its column (m, D), of this shape: of some columns."""
    mask = look.masks[i]

    def may_gain(x: Floats) -> bool:
        return not holds_values(x[:, np.newaxis]) and (shape == BY_QUANTILES or _are_distinct(x))

    columns = [column for column in np.flatnonzero(among) if may_gain(look.data.x[~mask, column])]
    gains = np.zeros((np.count_nonzero(mask), len(among)))
    if columns:
        y, slopes = (np.hstack(found) for found in zip(*(look.bent(i, int(column), shape) for column in columns)))
        before, after = (_normal(x, mask, look.data.weight) for x in (look.data.x[:, columns], y))
        gains[:, columns] = np.clip(after + slopes[mask] - before, -LARGEST_LOSS, LARGEST_LOSS)
    return gains


def _are_distinct(x: Floats) -> bool:
    return len(np.unique(x)) >= LEAST_DISTINCT * len(x)


def _normal(x: Floats, mask: Bools, weight: Floats | None) -> Floats:
    """Log-density of values (m, D) of a part by normal distributions of the other values of each column, less a constant."""
    units = ColumnUnits(x[~mask], None if weight is None else weight[~mask])
    z = (x[mask] - units.mean) / units.deviation
    log_prob: Floats = -0.5 * z**2 - np.log(units.deviation)
    return log_prob
