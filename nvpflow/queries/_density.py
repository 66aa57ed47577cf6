"""Densities of free columns on grids.

Whole numbers are taken one after another, given the columns before them: p(a, k) = p(a) p(k | a). Each factor has the mass 1,
and so has the product, while sums of joint densities would have the errors of integrals over cells, and of draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._typing import Floats
from nvpflow.queries._given import read_points

if TYPE_CHECKING:
    from nvpflow.queries.conditional import ConditionalDensity

__all__ = ["column_pdf", "product_pdf"]

MOST_POINTS = 2**18  # of joint densities at once
MOST_CELLS = 200  # of a whole number by draws: the probabilities of more are not made to sum to 1


def product_pdf(density: ConditionalDensity, axes: list[Any]) -> Floats:
    """Densities (n, G_1, ..., G_F) on the product of values of each free column, arrays of type object."""
    n, step = len(density._given.rows), max(1, MOST_POINTS // max(1, math.prod(map(len, axes))))
    if n > step:
        parts = [density._of_rows(np.arange(start, min(start + step, n))) for start in range(0, n, step)]
        return np.concatenate([product_pdf(part, axes) for part in parts])
    free, others = density._given.free, density._others
    if len(free) == 1 and free[0] in others:
        return column_pdf(density, density._grid("grid", axes[0])[0])
    whole = np.flatnonzero(density._model._is_whole()[list(free)]).tolist()
    if not whole:
        return _joint_pdf(density, axes)
    last, before = whole[-1], [place for place in range(len(free)) if place != whole[-1]]
    columns, before_axes = tuple(free[place] for place in before), [axes[place] for place in before]
    first = product_pdf(density._of(density._given._replace(free=columns)), before_axes)
    then = column_pdf(*_last_given(density, free[last], axes[last], columns, before_axes))
    then = then.reshape(*first.shape, len(axes[last]))
    with np.errstate(invalid="ignore"):
        both = np.where(first[..., np.newaxis] == 0, 0.0, first[..., np.newaxis] * then)
    return np.moveaxis(both, -1, 1 + last)


def _joint_pdf(density: ConditionalDensity, axes: list[Any]) -> Floats:
    """Joint densities over the density of what is given."""
    points, rows = _points(density, density._given.free, axes)
    with np.errstate(invalid="ignore"):
        log_p = density._log_density(points, rows) - density._log_norm[rows]
    found: Floats = np.exp(log_p).reshape(len(density._given.rows), *(len(axis) for axis in axes))
    return found


def _points(density: ConditionalDensity, columns: tuple[int, ...], axes: list[Any]) -> tuple[Floats, Any]:
    """For each given row the points (n N, R + K) of a product of values, NaN in other columns, and the number of the row."""
    mesh = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    points, n = read_points(density._model, mesh, columns, "grid"), len(density._given.rows)
    return np.tile(points, (n, 1)), np.repeat(np.arange(n), len(points))


def _last_given(
    density: ConditionalDensity, last: int, axis: Any, columns: tuple[int, ...], axes: list[Any]
) -> tuple[ConditionalDensity, Floats]:
    """The density of the last column given points of the others as well, and its values for each point."""
    points, rows = _points(density, columns, axes)
    full = np.where(np.isnan(points), density._given.rows[rows], points)
    then = density._of(density._given._replace(rows=full, free=(last,), is_single=False), rows)
    return then, then._grid("grid", axis)[0]


def column_pdf(density: ConditionalDensity, values: Floats) -> Floats:
    """Densities (n, G) of the one free column, of numbers, at values (n, G)."""
    line = density._line(density._given.free[0])
    drawn = line.lines.drawn
    if not drawn.any():
        return line.pdf(values)
    if drawn.all():
        return _drawn_pdf(density, values)
    found = np.empty(values.shape)
    for rows in (np.flatnonzero(drawn), np.flatnonzero(~drawn)):
        found[rows] = column_pdf(density._of_rows(rows), values[rows])
    return found


def _drawn_pdf(density: ConditionalDensity, values: Floats) -> Floats:
    """The same where draws stand for other open columns, of each value by itself."""
    line, first, width = density._line(density._given.free[0]), np.empty(0), np.inf
    if line.kind.is_whole:
        first, last = line.reach()
        width = (last - first).max(initial=0.0, where=np.isfinite(last - first)) + 1
    known = np.nan_to_num(values)
    if width > MOST_CELLS:
        found: Floats = np.exp(_integrated(density, known) - density._log_norm[:, np.newaxis])
    else:
        found = _drawn_shares(density, known, first, int(width))
    return np.where(np.isnan(values), np.nan, found)


def _drawn_shares(density: ConditionalDensity, values: Floats, first: Floats, width: int) -> Floats:
    """Probabilities (n, G) of whole numbers, among those of `width` cells from the first ones (n,) on, whose sum is 1."""
    cells = _integrated(density, first[:, np.newaxis] + np.arange(width))
    log_total = np.logaddexp.reduce(cells, axis=1)[:, np.newaxis]
    places = values - first[:, np.newaxis]
    is_cell = (places >= 0) & (places < width) & (places == np.floor(places))
    log_p = np.take_along_axis(cells, np.where(is_cell, places, 0).astype(np.intp), axis=1)
    if not is_cell.all():
        others = ~is_cell.all(axis=0)
        log_p[:, others] = np.where(is_cell[:, others], log_p[:, others], _integrated(density, values[:, others]))
    found: Floats = np.exp(log_p - log_total)
    return found


def _integrated(density: ConditionalDensity, values: Floats) -> Floats:
    """Logarithms (n, G) of joint densities of the one free column and what is given, by draws of the others."""
    rows = np.repeat(np.arange(len(values)), values.shape[1])
    points = np.full((len(rows), density._given.rows.shape[1]), np.nan)
    points[:, density._others.index(density._given.free[0])] = values.ravel()
    return density._log_density(points, rows).reshape(values.shape)
