"""Levels of quantiles that held-out rows have checked.

Chernozhukov, Wüthrich and Zhu (2021), "Distributional conformal prediction"; in astronomy, the recalibration of Bordoloi,
Lilly and Amara (2010), "Photo-z performance for precision cosmology".
"""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Floats

__all__ = ["conformal_levels", "conformal_shares"]

SMALLEST = 1e-6  # a level of 0 or 1 has no quantile


def conformal_levels(held_out: Floats, levels: Floats) -> Floats:
    """The levels of the density at which shares `levels` of the sorted held-out levels (m,) are smaller, as of m + 1."""
    m = len(held_out)
    at = np.concatenate([[0.0], held_out, [1.0]])
    found = np.interp(levels, np.arange(m + 2) / (m + 1), at)
    clipped: Floats = np.clip(found, SMALLEST, 1 - SMALLEST)
    return clipped


def conformal_shares(held_out: Floats, levels: Floats) -> Floats:
    """The inverse of `conformal_levels`: shares of the held-out levels (m,) that are smaller than `levels`, as of m + 1."""
    m = len(held_out)
    found: Floats = np.interp(levels, np.concatenate([[0.0], held_out, [1.0]]), np.arange(m + 2) / (m + 1))
    return np.where(np.isnan(levels), np.nan, found)
