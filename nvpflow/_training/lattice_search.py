"""Whether to spread columns of few values: mixtures of what is left compete with mixtures of the samples as they are.

Log-density alone does not tell, as peaks may have any height. What a row says of its value among all values of the column
does: where others determine a column (a date and its year; an age, the years of schooling and those of work), spreading it
costs more than it gains.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nvpflow._training.dataset import Data
from nvpflow._training.lattice import Lattices
from nvpflow._training.margin_search import MOST_COLUMNS, Look, search_margins, whole_look
from nvpflow._training.margins import Margins
from nvpflow._training.stacking import LOWEST
from nvpflow._training.standardize import Units
from nvpflow._training.statistics import average, holds_values, mean_and_error
from nvpflow._typing import Bools, FloatDType, Floats, Ints
from nvpflow.flow import Flow

__all__ = ["search_lattices", "spread_columns", "spread_given_context"]

MOST_ROWS, ROWS_TO_TELL = 1000, 300  # to which mixtures are fitted, and of each part, whose values are told
# A column is not spread if that tells less of its values by this many standard errors and nats.
CLEAR, LEAST_LOSS = 1.0, 0.02
LEAST_LEFT = 0.25  # of a step: the deviation that a regression must leave
EVEN = 0.01  # the share of equal probabilities: no single row decides


def search_lattices(
    data: Data,
    seed: int,
    dtype: FloatDType,
    blocks: tuple[int, ...] = (),
    among: Bools | None = None,
    spread: tuple[bool, ...] | None = None,
) -> Margins | None:
    """Fit margins behind the lattices of those columns that are better spread. None if there are no such columns.

    The parameters are those of `search_margins`, but for `spread`: the columns, if they are known.
    """
    may_have = np.ones(data.x.shape[1], bool) if among is None else among
    if spread is not None:
        known = Lattices.of(data, may_have & spread, have_few=True)
        return None if known is None else _margins_behind(known, data, seed, dtype, blocks, among)
    lattices = Lattices.of(data, may_have)
    look = whole_look(data, seed, dtype, blocks) if lattices is not None else None
    if lattices is None or look is None:
        return None
    look = replace(look, data=look.data.rows(slice(MOST_ROWS)), masks=[mask[:MOST_ROWS] for mask in look.masks])
    plain = _Contestant(look, look.data.x)
    while lattices.columns.any():
        first = Margins([lattices.stage], dtype)
        (centres, log_slopes), places = first.inverse(look.data.x), first.places(look.data.x)
        spread = _Contestant(look, places)
        worse = _are_told_less(lattices, spread, plain, np.abs(places - centres))
        if not worse.any():
            scores = plain.score, spread.score + average(log_slopes, look.data.weight)
            if scores[1] < scores[0]:
                return None
            found = _margins_behind(lattices, data, seed, dtype, blocks, among)
            found.scores = scores
            return found
        lattices = lattices.only(lattices.columns & ~worse)
    return None


def spread_given_context(
    data: Data, seed: int, dtype: FloatDType, blocks: tuple[int, ...] = (), among: Bools | None = None
) -> Margins | None:
    """Fit margins behind lattices of all columns in which many samples share a value. None if there are others.

    Given a context, such values want a normal base; see `base_of`. Spread, they do not. There is no contest, but no column is
    spread that a linear regression on the context determines.

    The parameters are those of `search_margins`.
    """
    dim = data.x.shape[1]
    lattices = Lattices.of(data, np.ones(dim, bool) if among is None else among) if dim <= MOST_COLUMNS else None
    if lattices is None or holds_values(data.x[:, ~lattices.columns]):
        return None
    left = Units.of(data, True, False, dtype).deviation
    if (left < LEAST_LEFT * lattices.step)[lattices.columns].any():
        return None
    return _margins_behind(lattices, data, seed, dtype, blocks, among)


def spread_columns(flow: Flow) -> tuple[bool, ...]:
    """The columns of which a fitted flow of numbers on the real line has spread few values."""
    margins = Margins.from_layers(flow.layers, 0.0, flow.dtype)
    none = np.zeros(flow.data_dim, bool)
    return tuple((none if margins is None or margins.lattices is None else margins.lattices.columns).tolist())


def _margins_behind(
    lattices: Lattices, data: Data, seed: int, dtype: FloatDType, blocks: tuple[int, ...], among: Bools | None
) -> Margins:
    places = Margins([lattices.stage], dtype).places(data.x)
    margins = search_margins(data._replace(x=places), seed, dtype, blocks, among)
    return Margins.behind(lattices, margins, dtype)


class _Contestant:
    """Mixtures of samples x (n, D), in place of those of a look.

    Attributes
    ----------
    score : float
        Mean log-density of samples that were held out, in nats.
    """

    def __init__(self, look: Look, x: Floats) -> None:
        self.look = replace(look, data=look.data._replace(x=x - x.mean(axis=0)))
        fitted = self.look.fit(None)
        shares = {name: share for name, share in fitted.shares.items() if share > 0}
        self.bases = [part.average(shares) for part in fitted.parts]
        self.score = average(fitted.log_density, look.weight)

    def log_shares(self, column: int, values: Ints, places: Ints) -> Floats:
        """Log-probability of its value of each of some rows that were held out, given their other columns, part by part.

        Parameters
        ----------
        column : int
        values : ndarray of int, shape (n,)
            Number of the value of each row.
        places : ndarray of int, shape (V,)
            For each value, the row whose place in the column stands for it.
        """
        found, x = [], self.look.data.x
        for rows, base in zip(_some_rows(self.look), self.bases):
            points = np.repeat(x[rows], len(places), axis=0)
            points[:, column] = np.tile(x[places, column], len(rows))
            context = self.look.data.context
            given = None if context is None else np.repeat(context[rows], len(places), axis=0)
            with np.errstate(invalid="ignore"):  # for points without a density
                log_prob = base.log_prob(points.astype(base.dtype), given).reshape(len(rows), -1).astype(np.float64)
            share = np.exp(log_prob - np.maximum(log_prob.max(axis=1, keepdims=True), LOWEST))
            share = share / np.maximum(share.sum(axis=1, keepdims=True), np.finfo(float).tiny)
            own = share[np.arange(len(rows)), values[rows]]
            found.append(np.log((1 - EVEN) * own + EVEN / len(places)))
        return np.concatenate(found)


def _some_rows(look: Look) -> list[Ints]:
    """Of each part."""
    return [np.flatnonzero(mask)[:ROWS_TO_TELL] for mask in look.masks]


def _are_told_less(lattices: Lattices, spread: _Contestant, plain: _Contestant, distances: Floats) -> Bools:
    """The columns (D,) with a lattice of whose values the rest of a row tells less if these are spread.

    `distances`: of the places (n, D) from the middle of their cells.
    """
    found = np.zeros(len(lattices.columns), bool)
    look = plain.look
    weight = None if look.data.weight is None else look.data.weight[np.concatenate(_some_rows(look))]
    for column in np.flatnonzero(lattices.columns).tolist():
        _, values = np.unique(look.data.x[:, column], return_inverse=True)
        order = np.lexsort((distances[:, column], values))
        places = order[np.unique(values[order], return_index=True)[1]]
        gain = spread.log_shares(column, values, places) - plain.log_shares(column, values, places)
        mean, error = mean_and_error(gain, weight)
        found[column] = mean < -max(CLEAR * error, LEAST_LOSS)
    return found
