"""Levels of quantiles that held-out rows have checked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from nvpflow._training.dataset import Data
from nvpflow._training.prepare import prepare
from nvpflow._training.statistics import effective_size_of
from nvpflow._typing import ArrayLike, Floats, Ints
from nvpflow._validation.arguments import draw_seeds
from nvpflow._warnings import kept_warnings
from nvpflow.density import FlowDensity, fit_new
from nvpflow.ensemble import FlowEnsemble
from nvpflow.missing._columns import split_layers
from nvpflow.supervised._folds import stratified_folds
from nvpflow.supervised._targets import Targets
from nvpflow.supports._tables import library_of

__all__ = ["auto_levels", "held_out_levels"]

# With "auto", folds are held out until there are so many levels: the share of 1000 that lie in intervals of 90 % has a
# standard error of 1 %. Fewer rows than LEAST_ROWS have too few levels for such intervals, and are left in training.
AUTO_FOLDS, ENOUGH_LEVELS, LEAST_ROWS = 5, 1000, 30
MOST_COPIES = 100_000  # levels of rows with whole-number weights


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

    Notes
    -----
    Densities of folds keep their layers if and only if the fitted one has kept its own, else levels would say little of it: on
    400 rows of Friedman's first function, 82 % of fresh rows were in intervals of 90 %, and 89 % with it; on six tables 89 to
    91 %, either way.
    """
    weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    split_seed, *seeds = draw_seeds(fitted.random_state, 1 + n_folds)
    with kept_warnings():  # rows of weight 0 may be outside of the range of training
        read = fitted._check_context(X, len(y))
    assert read is not None
    rows = np.hstack([y.astype(np.float64), read])
    folds = stratified_folds(Data(rows), np.zeros(len(y), np.intp), n_folds, split_seed)
    folds[weight == 0] = -1
    has_layers, levels, seen = _has_layers(fitted), list[Floats](), list[Ints]()
    for k in np.unique(folds[folds >= 0]):
        given, out = np.flatnonzero((folds != k) & (weight > 0)), np.flatnonzero(folds == k)
        if _count(weight[np.concatenate(seen)] if seen else np.empty(0)) >= enough:
            break
        if np.ptp(y[given]) == 0:
            continue  # no density: the only other value is held out
        density = FlowDensity(**fitted.get_params()).set_params(random_state=seeds[k], verbose=0)
        with kept_warnings():  # the fit to all rows has given them, and rows at the ends leave the range of the others
            settings = replace(density._settings(), keeps_layers=has_layers)
            weights = None if sample_weight is None else weight[given]
            # The encoding is that of all rows: those that are held out may have categories of their own.
            density._fit_data(settings, prepare(settings, y[given], _rows(X, given), weights, fit_new, fitted))
            context = density._check_context(_rows(X, out), len(out))
            assert context is not None
            levels.append(Targets(density, context).cdf(density._check_samples(y[out])))
            seen.append(out)
    return _counted(np.concatenate(levels), weight[np.concatenate(seen)]) if seen else np.empty(0)


def _count(weight: Floats) -> int:
    """How many levels of equal weight those of these weights (m,) stand for: whole numbers count copies of rows."""
    total = weight.sum()
    if total <= MOST_COPIES and (weight == np.rint(weight)).all():
        return int(total)
    return max(1, int(effective_size_of(weight, weight)))


def _counted(levels: Floats, weight: Floats) -> Floats:
    """Sorted levels of equal weight with the distribution of those (m,) of these weights."""
    order, n = np.argsort(levels), _count(weight)
    ends = np.cumsum(weight[order]) / weight.sum()
    found: Floats = levels[order][np.searchsorted(ends, (np.arange(n) + 0.5) / n)]
    return found


def _has_layers(fitted: FlowDensity) -> bool | None:
    """Whether there are trained layers; None if members of an ensemble differ."""
    flow = fitted.flow_
    found = {bool(split_layers(one)[0]) for one in (flow.flows if isinstance(flow, FlowEnsemble) else [flow])}
    return found.pop() if len(found) == 1 else None


def _rows(X: Any, rows: Ints) -> Any:
    """Rows of an array, a frame or a sequence."""
    library = library_of(X)
    if library == "pandas":
        return X.iloc[rows]
    if library == "polars" or hasattr(X, "dtype"):
        return X[rows]
    return [X[row] for row in rows]
