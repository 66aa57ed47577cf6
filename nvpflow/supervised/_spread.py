"""Repeated values, spread so that the densities of all classes are as high where they are as likely.

A density of real numbers puts a narrow peak on a repeated value, of the right mass and of arbitrary height. Classes would be
compared by these heights. If a value is spread alike in all classes, the heights are in proportion to its shares.
"""

from __future__ import annotations

import numpy as np

from nvpflow._training.covariances import REPEATED
from nvpflow._training.statistics import LEAST_COPIES, places_of_rows
from nvpflow._typing import Bools, Floats

__all__ = ["spread"]

# From this share of rows with a unique value on, a column holds real numbers, of which some repeat, such as zeros. Otherwise
# its values form a lattice.
UNIQUE = 0.2
# The least share of rows with a value that is spread among real numbers, and the share of the others that it is spread across.
LEAST_SHARE, SHARE_WITHIN = 0.02, 0.02
MOST_GAPS = 2.0  # between the values of a lattice: how wide one may be, in median gaps


def spread(x: Floats, may_spread: Bools, seed: int) -> Floats:
    """The samples x (n, D), with repeated values of columns that may be spread at random places around them.

    Rows that agree also in columns of distinct values are copies, and stay equal.
    """
    widths = np.zeros(x.shape)
    for column in np.flatnonzero(may_spread).tolist():
        present = ~np.isnan(x[:, column])
        widths[present, column] = _widths(x[present, column])
    if not widths.any():
        return x
    uniforms = np.random.default_rng(seed).uniform(-0.5, 0.5, x.shape)
    if any(_are_distinct(np.unique(column), column) for column in x[:, ~widths.any(axis=0)].T):
        uniforms = uniforms[places_of_rows(np.where(np.isnan(x), np.inf, x))[0]]
    spread_out: Floats = x + widths * uniforms
    return spread_out


def _are_distinct(values: Floats, x: Floats) -> bool:
    """Whether few entries of a column (n,) with these different values repeat others."""
    return len(values) > (1 - REPEATED) * len(x)


def _widths(x: Floats) -> Floats:
    """How wide the value of each row of a column (n,) is: 0 where it is not repeated."""
    values, place, times = np.unique(x, return_inverse=True, return_counts=True)
    if len(values) < 2 or _are_distinct(values, x):
        return np.zeros(len(x))
    if (times == 1).sum() >= UNIQUE * len(x):
        repeats = times >= max(LEAST_COPIES, LEAST_SHARE * len(x))
        others, found = x[~repeats[place]], np.zeros(len(values))
        for i in np.flatnonzero(repeats):
            found[i] = 2 * np.quantile(np.abs(others - values[i]), SHARE_WITHIN)
        return found[place]
    gaps = np.diff(values)
    widths = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps))
    of_rows: Floats = np.minimum(widths, MOST_GAPS * np.median(gaps))[place]
    return of_rows
