"""The distribution function of two columns of numbers together.

The density of the first column, together with the event that the second one is below a number, is a function of the first one.
Adaptive quadrature integrates it, as it does densities.
"""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Floats, Ints
from nvpflow.missing._patterns import patterns
from nvpflow.queries._branches import Branches, RealModel
from nvpflow.queries._lines import INNER_ERROR, MOST_TERMS, NOWHERE, ROWS_OF_PANELS, edges_of, panel_line, slices
from nvpflow.queries._panel_line import integrate

__all__ = ["joint_cdf"]


def joint_cdf(
    model: RealModel, rows: Floats, context: Floats | None, columns: tuple[int, int], u: tuple[Floats, Floats]
) -> Floats:
    """Probabilities (n, G, H), times the densities of what is given, of numbers on the line below u.

    Parameters
    ----------
    model : RealModel
    rows : ndarray, shape (n, R + K)
        NaN in both columns.
    context : ndarray, shape (n, C), or None
    columns : tuple of int
        Two columns of numbers.
    u : tuple of ndarray, shapes (G,) and (H,)
        May be infinite.
    """
    first, second = u
    found, width = np.empty((len(rows), len(first), len(second))), len(second)
    for _, at in patterns(np.isnan(rows[:, : model.n_numbers])):
        for part in slices(len(at), max(1, ROWS_OF_PANELS // max(1, width))):
            own = at[part]
            given = None if context is None else np.repeat(context[own], width, axis=0)
            branches = model.branches(np.repeat(rows[own], width, axis=0), given)
            below = _Below(model, branches, columns, np.tile(second, len(own)))
            edges = edges_of(model.mixture_line(branches, columns[0]), model.limits(columns[0]))
            line = integrate(below, edges, INNER_ERROR if not model.is_exact else INNER_ERROR / 10)
            with np.errstate(invalid="ignore"):
                sums = line.cdf(np.tile(first, (branches.n, 1))) * np.exp(line.log_total)[:, np.newaxis]
            sums[line.log_total == -np.inf] = 0.0
            found[own] = sums.reshape(len(own), width, -1).transpose(0, 2, 1)
    return found


class _Below:
    """Logarithms of densities of the first column, with the second one below limits (n,)."""

    def __init__(self, model: RealModel, branches: Branches, columns: tuple[int, int], limits: Floats) -> None:
        self.model, self.branches, self.limits = model, branches, limits
        self.first, self.second = columns

    def __call__(self, rows: Ints, u: Floats) -> Floats:
        found, model = np.empty(len(rows)), self.model
        for part in slices(len(rows), max(1, MOST_TERMS // model.n_terms) if model.is_exact else ROWS_OF_PANELS):
            inner = self.branches.take(rows[part]).given(self.first, u[part])
            line = (
                model.mixture_line(inner, self.second)
                if model.is_exact
                else panel_line(model, inner, self.second, INNER_ERROR, NOWHERE)
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                log_below = np.log(line.cdf(self.limits[rows[part], np.newaxis])[:, 0])
                found[part] = np.where(np.isfinite(line.log_total), line.log_total + log_below, -np.inf)
        return found
