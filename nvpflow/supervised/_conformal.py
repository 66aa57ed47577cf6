"""Levels of quantiles that held-out rows have checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvpflow._typing import ArrayLike, Floats, Ints
from nvpflow._validation.arguments import draw_seeds
from nvpflow._warnings import kept_warnings
from nvpflow.density import FlowDensity
from nvpflow.supervised._folds import stratified_folds
from nvpflow.supervised._targets import Targets
from nvpflow.supports._tables import library_of

__all__ = ["conformal_levels", "held_out_levels"]

SMALLEST = 1e-6  # a level of 0 or 1 has no quantile


def held_out_levels(fitted: FlowDensity, X: Any, y: Floats, sample_weight: ArrayLike | None, n_folds: int) -> Floats:
    """The sorted levels (m,) of the targets y (n, 1): the distribution function at each by a model that has not seen it.

    Parameters
    ----------
    fitted : FlowDensity
        With the parameters to use.
    X : array_like, shape (n, C)
        The context.
    y, sample_weight, n_folds
        As in `FlowRegressor`.
    """
    weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    split_seed, *seeds = draw_seeds(fitted.random_state, 1 + n_folds)
    read = fitted._check_context(X, len(y))
    assert read is not None
    rows = np.hstack([y.astype(np.float64), read])
    folds = stratified_folds(rows, np.zeros(len(y), np.intp), n_folds, split_seed)
    folds[weight == 0] = -1
    levels = []
    for k in np.unique(folds[folds >= 0]):
        given, out = np.flatnonzero((folds != k) & (weight > 0)), np.flatnonzero(folds == k)
        density = FlowDensity(**fitted.get_params()).set_params(random_state=seeds[k], verbose=0)
        with (
            kept_warnings()
        ):  # the fit to all rows has given them, and rows at the ends are outside of the range of the others
            density.fit(y[given], context=_rows(X, given), sample_weight=None if sample_weight is None else weight[given])
            context = density._check_context(_rows(X, out), len(out))
            assert context is not None
            levels.append(Targets(density, context).cdf(density._check_samples(y[out])))
    found: Floats = np.sort(np.concatenate(levels))
    return found


def conformal_levels(held_out: Floats, levels: Floats) -> Floats:
    """The levels of the density at which shares `levels` of the sorted held-out levels (m,) are smaller, as of m + 1."""
    m = len(held_out)
    at = np.concatenate([[0.0], held_out, [1.0]])
    found = np.interp(levels, np.arange(m + 2) / (m + 1), at)
    clipped: Floats = np.clip(found, SMALLEST, 1 - SMALLEST)
    return clipped


def _rows(X: Any, rows: Ints) -> Any:
    """Rows of an array, a frame or a sequence."""
    library = library_of(X)
    if library == "pandas":
        return X.iloc[rows]
    if library == "polars" or hasattr(X, "dtype"):
        return X[rows]
    return [X[row] for row in rows]
