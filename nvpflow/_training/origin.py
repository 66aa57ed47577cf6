"""Columns whose offset is so large that the precision of a flow does not resolve them: it reads them less an origin."""

import numpy as np

from nvpflow._warnings import warn_user

__all__ = ["name_columns", "origin_of", "warn_of_coarse"]


def origin_of(mean, deviation, dtype):
    """What to subtract from each column, in float64, before a flow of that dtype reads it: (D,), zero where it may be."""
    return np.where(_are_coarse(mean, deviation, dtype), mean, 0.0)


def warn_of_coarse(name, mean, deviation, dtype):
    """Tell of columns that a floating-point number of this precision hardly resolves."""
    coarse = _are_coarse(mean, deviation, dtype)
    if coarse.any():
        warn_user(
            f"column(s) {name_columns(coarse)} of {name} vary by less than a thousand times the resolution of {dtype} at their "
            f"mean: subtract the mean first{', or use dtype=float64' * (dtype == np.float32)}"
        )


def name_columns(mask, names=None, at_most=10):
    """The columns where a mask (D,) is true, by number or name, in words."""
    columns = np.flatnonzero(mask)
    shown = ", ".join(str(i) if names is None else f"{names[i]!r:.50}" for i in columns[:at_most])
    return shown + ", ..." * (len(columns) > at_most)


def _are_coarse(mean, deviation, dtype):
    return deviation < 1e3 * np.finfo(dtype).eps * np.abs(mean)
