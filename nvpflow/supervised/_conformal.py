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

__all__ = ["auto_levels", "held_out_levels"]

# With "auto", folds are held out until there are so many levels: the share of 1000 that lie in intervals of 90 % has a
# standard error of 1 %. Fewer rows than LEAST_ROWS have too few levels for such intervals, and are left in training.
AUTO_FOLDS, ENOUGH_LEVELS, LEAST_ROWS = 5, 1000, 30


def auto_levels(fitted: FlowDensity, X: Any, y: Floats, sample_weight: ArrayLike | None) -> Floats | None:
    """What `held_out_levels` finds in as many folds as needed; None if there are too few rows."""
    weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    if np.count_nonzero(weight) < LEAST_ROWS:
        return None
    levels = held_out_levels(fitted, X, y, sample_weight, AUTO_FOLDS, ENOUGH_LEVELS)
    return levels if len(levels) >= LEAST_ROWS else None


def held_out_levels(
    fitted: FlowDensity, X: Any, y: Floats, sample_weight: ArrayLike | None, n_folds: int, enough: float = np.inf
) -> Floats:
    """The sorted levels (m,) of the targets y (n, 1): the distribution function at each by a model that has not seen it.

    Parameters
    ----------
    fitted : FlowDensity
        With the parameters to use.
    X : array_like, shape (n, C)
        The context.
    y, sample_weight, n_folds
        As in `FlowRegressor`.
    enough : float
        Further folds are left out when there are so many levels.
    """
    weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    split_seed, *seeds = draw_seeds(fitted.random_state, 1 + n_folds)
    with kept_warnings():  # rows of weight 0 may be outside of the range of training
        read = fitted._check_context(X, len(y))
    assert read is not None
    rows = np.hstack([y.astype(np.float64), read])
    folds = stratified_folds(rows, np.zeros(len(y), np.intp), n_folds, split_seed)
    folds[weight == 0] = -1
    levels: list[Floats] = []
    for k in np.unique(folds[folds >= 0]):
        given, out = np.flatnonzero((folds != k) & (weight > 0)), np.flatnonzero(folds == k)
        if sum(map(len, levels)) >= enough:
            break
        if np.ptp(y[given]) == 0:
            continue  # no density: the only other value is held out
        density = FlowDensity(**fitted.get_params()).set_params(random_state=seeds[k], verbose=0)
        with kept_warnings():  # the fit to all rows has given them, and rows at the ends leave the range of the others
            density.fit(y[given], context=_rows(X, given), sample_weight=None if sample_weight is None else weight[given])
            context = density._check_context(_rows(X, out), len(out))
            assert context is not None
            levels.append(Targets(density, context).cdf(density._check_samples(y[out])))
    found: Floats = np.sort(np.concatenate([np.empty(0), *levels]))
    return found


def _rows(X: Any, rows: Ints) -> Any:
    """Rows of an array, a frame or a sequence."""
    library = library_of(X)
    if library == "pandas":
        return X.iloc[rows]
    if library == "polars" or hasattr(X, "dtype"):
        return X[rows]
    return [X[row] for row in rows]
