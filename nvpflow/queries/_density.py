"""Densities of free columns on grids.

Whole numbers are taken one after another, given the columns before them: p(a, k) = p(a) p(k | a). Each factor has the mass 1,
and so has the product, while sums of joint densities would have the errors of integrals over cells. So are all numbers where
others are drawn, whose joint densities would have the errors of draws.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._typing import Floats
from nvpflow.queries._given import read_points

if TYPE_CHECKING:
    from nvpflow.queries.conditional import ConditionalDensity

__all__ = ["product_pdf"]

MOST_POINTS = 2**18  # of joint densities at once


def product_pdf(density: ConditionalDensity, axes: list[Any]) -> Floats:
    """Densities (n, G_1, ..., G_F) on the product of values of each free column, arrays of type object."""
    n, step = len(density._given.rows), max(1, MOST_POINTS // max(1, math.prod(map(len, axes))))
    if n > step:
        parts = [density._of_rows(np.arange(start, min(start + step, n))) for start in range(0, n, step)]
        return np.concatenate([product_pdf(part, axes) for part in parts])
    free, others = density._given.free, density._others
    if len(free) == 1 and free[0] in others:
        return density._line(free[0]).pdf(density._grid("grid", axes[0])[0])
    is_drawn, is_whole = density.method == "importance", density._model._is_whole()
    chained = [place for place, column in enumerate(free) if is_whole[column] or (is_drawn and column in others)]
    if not chained:
        return _joint_pdf(density, axes)
    last, before = chained[-1], [place for place in range(len(free)) if place != chained[-1]]
    columns, before_axes = tuple(free[place] for place in before), [axes[place] for place in before]
    first = product_pdf(density._of(density._given._replace(free=columns)), before_axes)
    then = _last_given(density, free[last], axes[last], columns, before_axes)
    then = then.reshape(*first.shape, len(axes[last]))
    with np.errstate(invalid="ignore"):
        both = np.where(first[..., np.newaxis] == 0, 0.0, first[..., np.newaxis] * then)
    return np.moveaxis(both, -1, 1 + last)


def _joint_pdf(density: ConditionalDensity, axes: list[Any]) -> Floats:
    """Joint densities over the density of what is given."""
    points, rows = _points(density, density._given.free, axes)
    with np.errstate(invalid="ignore"):
        log_p = density._log_density(points, rows) - density._norm[2][rows]
    found: Floats = np.exp(log_p).reshape(len(density._given.rows), *(len(axis) for axis in axes))
    return found


def _points(density: ConditionalDensity, columns: tuple[int, ...], axes: list[Any]) -> tuple[Floats, Any]:
    """For each given row the points (n N, R + K) of a product of values, NaN in other columns, and the number of the row."""
    mesh = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    points, n = read_points(density._model, mesh, columns, "grid"), len(density._given.rows)
    return np.tile(points, (n, 1)), np.repeat(np.arange(n), len(points))


def _last_given(density: ConditionalDensity, last: int, axis: Any, columns: tuple[int, ...], axes: list[Any]) -> Floats:
    """Densities (n N, G) of the last column at its values, given points of the others as well."""
    points, rows = _points(density, columns, axes)
    full = np.where(np.isnan(points), density._given.rows[rows], points)
    then = density._of(density._given._replace(rows=full, free=(last,), is_single=False), rows)
    found: Floats = then._line(last).pdf(then._grid("grid", axis)[0])
    return found
