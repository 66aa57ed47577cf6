"""Held-out densities for the threshold of `FlowOutlierDetector`: each training sample is scored by a fit to other ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nvpflow._training.dataset import Data
from nvpflow._training.lattice_search import spread_columns
from nvpflow._training.prepare import Prepared
from nvpflow._training.settings import Settings
from nvpflow._training.split import lone_values
from nvpflow._training.statistics import mean_and_error
from nvpflow._typing import Floats, Ints
from nvpflow._validation.arguments import draw_seeds
from nvpflow._warnings import kept_warnings
from nvpflow.density import FlowDensity
from nvpflow.flow import Flow
from nvpflow.supervised._folds import stratified_folds

__all__ = ["HeldOut", "fit_folds", "may_need_folds", "select", "threshold_of"]

N_FOLDS = 5
# Numbers of training samples that are held out for the threshold: less than four fifths of fewer are too few for a density,
# and of more the density is hardly higher where it was fitted. For a share of 0.1, training samples called 0.35, 0.18 and
# 0.13 of fresh ones outliers (1100, 5000 and 20,000 rows of bananas in ten columns), 0.20, 0.14 and 0.11 (2000, 5000 and
# 15,000 rows of four rounded columns), 0.17 and 0.12 (360 and 1000 rows of a pinwheel).
FEWEST_ROWS, MOST_ROWS = 20, 20_000
# From so many samples for each column on, the threshold stays that of the training samples unless so many standard errors more
# of those that are held out are below it: then exactly the share of the training samples is, as scikit-learn expects.
ROWS_PER_COLUMN, ERRORS = 100, 2.0


class HeldOut(NamedTuple):
    """Densities, and which of them has not seen a sample.

    Attributes
    ----------
    estimators : list of FlowDensity
    folds : ndarray of int, shape (n,)
        For each training sample; negative where all have seen it.
    rows : ndarray, shape (n, D)
        The training samples.
    """

    estimators: list[FlowDensity]
    folds: Ints
    rows: Floats

    def by_fold(self) -> list[tuple[Ints, FlowDensity]]:
        """The held-out rows of each fold, and the density that has not seen them."""
        pairs = [(np.flatnonzero(self.folds == k), fold) for k, fold in enumerate(self.estimators)]
        return [(rows, fold) for rows, fold in pairs if len(rows)]

    def folds_of(self, rows: Floats) -> Ints:
        """The folds (m,) of training samples (m, D) in any order; negative for other ones."""
        known = dict(zip(_keys(self.rows), self.folds))
        return np.array([known.get(key, -1) for key in _keys(rows)], np.intp)


def may_need_folds(prepared: Prepared) -> bool:
    """Whether samples are so few that a density may be too high where it was fitted."""
    n, n_numbers = prepared.data.x.shape
    return bool(n_numbers) and FEWEST_ROWS <= n <= MOST_ROWS


def threshold_of(
    prepared: Prepared,
    scores: Floats,
    held_out: HeldOut | None,
    score: Callable[[FlowDensity, Ints], Floats],
    threshold: Callable[[Floats], np.float64],
    share: float,
) -> tuple[np.float64, HeldOut | None]:
    """The score below which a share of the samples lies, and the densities of folds that set it; None if they do not.

    Held-out samples set it, unless training samples are many and their `scores` (n,) no higher. `score`: of some rows by the
    density that has not seen them. `threshold`: of scores.
    """
    if held_out is None:
        return threshold(scores), None
    others = scores.copy()
    for rows, fold in held_out.by_fold():
        others[rows] = score(fold, rows)
    n, n_columns = prepared.rows().shape
    if n >= ROWS_PER_COLUMN * n_columns:
        of_training = threshold(scores)
        below, error = mean_and_error((others < of_training).astype(np.float64), prepared.data.weight)
        if not below - share > ERRORS * error:
            return of_training, None
    return threshold(others), held_out


def fit_folds(estimator: FlowDensity, settings: Settings, prepared: Prepared) -> HeldOut:
    """Fit a density to all samples but those of a fold, for each fold.

    Copies of a sample are in one fold. One without which a column would be constant is in all fits. Columns of few values are
    spread as in the fit to all samples, or log-densities would be of different heights.
    """
    rows, spread = prepared.rows(), _spread_columns(estimator)
    split_seed, *seeds = draw_seeds(estimator.random_state, 1 + N_FOLDS)
    apart = Data(rows, copy_of=prepared.data.copy_of)
    folds, estimators = stratified_folds(apart, np.zeros(len(rows), np.intp), N_FOLDS, split_seed), []
    for k in range(N_FOLDS):
        given, out = np.flatnonzero(folds != k), np.flatnonzero(folds == k)
        needed = lone_values(rows, given, out) if len(out) else out
        folds[needed] = -1
        given = np.sort(np.append(given, needed))
        fold = FlowDensity(**estimator.get_params()).set_params(random_state=seeds[k], verbose=0, warm_start=False)
        own = dataclasses.replace(settings, random_state=seeds[k], verbose=0, warm_start=False, spread=spread)
        with kept_warnings():  # the fit to all samples has given them
            estimators.append(fold._fit_data(own, select(prepared, given)))
    return HeldOut(estimators, folds, rows)


def _spread_columns(estimator: FlowDensity) -> tuple[bool, ...] | None:
    """None if the members of an ensemble, or no columns of numbers, decide."""
    flow, supports = estimator.flow_, estimator._known_supports()
    return spread_columns(flow if supports is None else supports.inner(flow)) if isinstance(flow, Flow) else None


def select(prepared: Prepared, rows: Ints) -> Prepared:
    """Some rows of what was prepared."""
    codes = None if prepared.codes is None else prepared.codes[rows]
    return prepared._replace(data=prepared.data.rows(rows), codes=codes, n_given=len(rows))


def _keys(rows: Floats) -> list[bytes]:
    """Bytes that are equal for equal rows (n, D), in any dtype."""
    values = rows.astype(np.float64) + 0.0  # of -0 as well
    values[np.isnan(values)] = np.nan
    return [row.tobytes() for row in values]
