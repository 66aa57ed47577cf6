"""Training data with missing categories: their codes, drawn given all other cells of the row.

The categories depend on the numbers beside them, so a model of the rows with all categories draws the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from nvpflow._typing import Bools, Floats, Ints
from nvpflow._warnings import kept_warnings
from nvpflow.missing._fill import fill_with_others, with_means
from nvpflow.missing._table import IncompleteTable, with_codes
from nvpflow.supports._categories import Categories
from nvpflow.supports._coding import Coding
from nvpflow.supports._combinations import Combinations
from nvpflow.supports._joint_table import JointTable

if TYPE_CHECKING:
    from nvpflow._fitted import FittedModel
    from nvpflow._training.prepare import Prepared
    from nvpflow._training.settings import Settings

__all__ = ["complete_codes"]

# Rows with all categories that a model needs. From fewer, or without numbers, categories are drawn given each other alone.
LEAST_ROWS = 50


def complete_codes(
    settings: Settings,
    prepared: Prepared,
    coding: Coding,
    codes: Ints,
    seed: int,
    fit: Callable[[Settings, Prepared], FittedModel],
) -> Ints:
    """Draw the codes (n, K) that are missing, -1.

    Parameters
    ----------
    settings : Settings
        Those of the model of the rows with all categories, but for the ensemble.
    prepared : Prepared
        With the numbers alone, NaN in missing cells.
    coding : Coding
    codes : ndarray of int, shape (n, K)
    seed : int
    fit : callable
        Fits a new model.

    Returns
    -------
    codes : ndarray of int, shape (n, K)
    """
    whole, rng = np.asarray((codes >= 0).all(axis=1)), np.random.default_rng(seed)
    has_values = ~np.isnan(prepared.data.x[whole]).all(axis=0)
    if np.count_nonzero(whole) < LEAST_ROWS or prepared.data.x.shape[1] == 0 or not has_values.all():
        return _draw_alone(coding, codes, prepared.data.weight, rng)
    rows = with_codes(prepared.data.x, codes)
    gaps = np.flatnonzero(~whole)
    drawn = codes.copy()
    part = _rows_with_categories(settings, prepared, coding, codes, whole)
    with kept_warnings():
        alone = dataclasses.replace(settings, n_models=1, warm_start=False, verbose=0, random_state=seed)
        model = fit(alone, part)._incomplete_model()
    assert isinstance(model, IncompleteTable)
    drawn[gaps] = model.draw_codes(rows[gaps], 1, rng)[:, 0]
    return drawn


def _rows_with_categories(settings: Settings, prepared: Prepared, coding: Coding, codes: Ints, whole: Bools) -> Prepared:
    """The rows that have all categories."""
    data = prepared.data.rows(whole)
    categories, read = Categories.fit(coding, codes[whole], with_means(data.x), data.weight, settings.dtype)
    return prepared._replace(data=data._replace(context=read), codes=codes[whole], categories=categories)


def _draw_alone(coding: Coding, codes: Ints, weight: Floats | None, rng: np.random.Generator) -> Ints:
    """Draw the missing codes given the other codes of the row, or alone if no row has all."""
    whole = (codes >= 0).all(axis=1)
    if not whole.any():
        drawn = codes.copy()
        for column in drawn.T:
            fill_with_others(column, column < 0, weight, rng)
        return drawn
    table = JointTable.fit(Combinations.of(codes[whole], None if weight is None else weight[whole], coding.sizes))
    return table.complete(codes, rng)
