"""A warning about columns that span more orders of magnitude than the precision of a flow resolves.

Mixtures and margins are found in float64, and the flow that is made of them computes in its own dtype. Where most values are
next to each other on the scale of the farthest ones, it hardly tells them apart: a column of which one half was N(0, 1) and
the other N(1e7, 1e6) had a density lower by 9 nats in float32 than in float64.
"""

from __future__ import annotations

import numpy as np

from nvpflow._training.origin import name_columns
from nvpflow._typing import Bools, FloatDType, Floats
from nvpflow._warnings import warn_user

__all__ = ["MANY_ROWS", "are_wide", "warn_of_lost_resolution"]

MANY_ROWS = 1000  # that tell
# Nats that a log-density must lose for a warning; how many of its standard errors; the most that a row counts.
LEAST_LOSS, ERRORS, MOST_LOSS = 0.1, 3.0, 10.0
WIDE = 0.01  # the resolution at the farthest value, in the smallest distance between deciles


def are_wide(x: Floats, dtype: FloatDType) -> Bools:
    """Columns (D,) of samples x (n, D) with values so far out that the resolution there is coarse for the others."""
    some = x[:: max(1, len(x) // MANY_ROWS)].astype(np.float64)
    gaps = np.diff(np.quantile(some, np.linspace(0.1, 0.9, 9), axis=0), axis=0)
    smallest = np.where(gaps > 0, gaps, np.inf).min(axis=0)
    found: Bools = np.finfo(dtype).eps * (x.max(axis=0).astype(np.float64) - x.min(axis=0)) > WIDE * smallest
    return found


def warn_of_lost_resolution(expected: Floats, found: Floats, wide: Bools, dtype: FloatDType) -> None:
    """Warn of wide columns (D,) if log-densities (n,) of held-out samples are lower by the finished flow than in training."""
    with np.errstate(invalid="ignore"):
        loss = np.clip(np.nan_to_num(expected - found, nan=0.0), -MOST_LOSS, MOST_LOSS)
    if loss.mean() > LEAST_LOSS + ERRORS * loss.std() / np.sqrt(len(loss)):
        warn_user(
            f"column(s) {name_columns(wide)} of X span so many orders of magnitude that {dtype} hardly tells their smaller "
            f"values apart, which costs {loss.mean():.2f} nats a row and makes samples coarse: use their logarithms, or "
            f"support='positive' for positive numbers{', or dtype=float64' * (dtype == np.float32)}"
        )
