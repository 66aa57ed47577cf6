"""What the methods of a model do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._typing import ArrayLike, Floats
from nvpflow._validation.arguments import shown
from nvpflow._warnings import AccuracyWarning, warn_user
from nvpflow.queries._given import check_columns, read_given
from nvpflow.queries.conditional import ConditionalDensity
from nvpflow.supports._encoding import count_rows

if TYPE_CHECKING:
    from nvpflow._sklearn.transformer import Transformer

__all__ = ["condition", "posterior"]


def condition(model: Transformer, given: Any, columns: object | None, context: ArrayLike | None) -> ConditionalDensity:
    """The density of some columns, given others, with as many rows as what is given or the context has."""
    model._check_fitted()
    read = read_given(model, given, columns)
    if read.is_single and context is not None and np.ndim(context) == 2:  # type: ignore[arg-type]
        n = count_rows(context, getattr(model, "context_feature_names_in_", None), model._count_context())
        read = read._replace(rows=np.repeat(read.rows, n, axis=0), is_single=n == 1)
    return ConditionalDensity(model, read, model._context_of_incomplete(context, len(read.rows)))


def posterior(model: Transformer, X: Any, column: str | int, grid: ArrayLike, context: ArrayLike | None) -> Floats:
    """The density of one column on a grid, normalised."""
    if np.ndim(grid) != 1:  # type: ignore[arg-type]
        raise ValueError(f"grid must have shape (G,), got {np.shape(grid)}")  # type: ignore[arg-type]
    model._check_fitted()
    if not isinstance(column, (str, int, np.integer)):
        raise TypeError(f"column must be a name or a number of a column, got {shown(column)}")
    (place,) = check_columns(model, column, "column")
    found = condition(model, X, [place], context)
    p = np.atleast_2d(found.pdf(grid))
    is_discrete = place not in found._others or found._line(place).kind.is_whole
    if is_discrete:
        values = np.asarray(grid, dtype=object).tolist()
        if len(set(values)) < len(values):
            raise ValueError(f"grid must have each value once, got {shown(grid)}")
        total = p.sum(axis=1)
    else:
        points = np.asarray(grid, np.float64)
        if len(points) < 2 or not (np.diff(points) > 0).all():
            raise ValueError(f"grid must be two numbers or more in increasing order, got {shown(grid)}")
        total = ((p[:, 1:] + p[:, :-1]) / 2 * np.diff(points)).sum(axis=1)
    n_nowhere = int(np.count_nonzero(total == 0))
    if n_nowhere:
        warn_user(f"the density of {n_nowhere} row(s) is 0 on all of grid: results are NaN there", AccuracyWarning)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, 1 / total, np.nan)[:, np.newaxis] * p
