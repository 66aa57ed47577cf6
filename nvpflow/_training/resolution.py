"""Columns that span more orders of magnitude than the precision of a flow resolves.

Mixtures and margins are found in float64, and the flow that is made of them computes in its own dtype. Where most values are
next to each other on the scale of the farthest ones, it hardly tells them apart: a column of which one half was N(0, 1) and
the other N(1e7, 1e6) had a density lower by 3 to 8 nats in float32 than in float64, and has by 3 without margins.
"""

from __future__ import annotations

import numpy as np

from nvpflow._training.dataset import Data
from nvpflow._training.margins import Margins
from nvpflow._training.mixture_search import fit_mixture
from nvpflow._training.origin import name_columns
from nvpflow._training.standardize import Units
from nvpflow._typing import Bools, FloatDType, Floats
from nvpflow._warnings import kept_warnings, warn_user
from nvpflow.flow import Flow

__all__ = ["MANY_ROWS", "are_wide", "is_lost_behind", "warn_of_lost_resolution", "warn_of_wide"]

MANY_ROWS = 1000  # that tell
# Nats that a log-density must lose for a warning; how many of its standard errors; the most that a row counts.
LEAST_LOSS, ERRORS, MOST_LOSS = 0.1, 3.0, 10.0
FEW_SEARCHES = 2  # for the mixture that tells
WIDE = 0.01  # the resolution at the farthest value, in the smallest distance between deciles


def are_wide(x: Floats, dtype: FloatDType) -> Bools:
    """Columns (D,) of samples x (n, D) with values so far out that the resolution there is coarse for the others."""
    some = x[:: max(1, len(x) // MANY_ROWS)].astype(np.float64)
    gaps = np.diff(np.quantile(some, np.linspace(0.1, 0.9, 9), axis=0), axis=0)
    smallest = np.where(gaps > 0, gaps, np.inf).min(axis=0)
    found: Bools = np.finfo(dtype).eps * (x.max(axis=0).astype(np.float64) - x.min(axis=0)) > WIDE * smallest
    return found


def is_lost_behind(margins: Margins, data: Data, dtype: FloatDType, seed: int) -> bool:
    """Whether a mixture behind these margins loses log-density in this dtype, at the samples that it was fitted to.

    A map to [-1, 1] has the resolution of its farthest value for all others. 500 rows of which one, in four columns, was a
    million times as large lost 12 nats behind margins, and 0.6 without.
    """
    some = Data(data.x[:: max(1, len(data.x) // MANY_ROWS)])
    with kept_warnings():
        units = Units.of(some, True, False, dtype, 0, margins)
    z = units.standardize(some.x)
    mixture = fit_mixture(z, None, seed, FEW_SEARCHES)
    found = Flow(units.layers(), mixture).log_prob((some.x - units.origin).astype(dtype))
    expected = mixture.log_prob(z) - (units.log_slopes(some.x) + units.log_det)
    return _loss(expected, found) > 0


def _loss(expected: Floats, found: Floats) -> float:
    """By how many nats log-densities (n,) are below what was expected; 0 unless it is clearly more than LEAST_LOSS."""
    with np.errstate(invalid="ignore"):
        loss = np.clip(np.nan_to_num(expected - found, nan=0.0), -MOST_LOSS, MOST_LOSS)
    mean = float(loss.mean())
    return mean if mean > LEAST_LOSS + ERRORS * loss.std() / np.sqrt(len(loss)) else 0.0


def warn_of_lost_resolution(expected: Floats, found: Floats, wide: Bools, near: Bools, dtype: FloatDType) -> None:
    """Warn if log-densities (n,) of held-out samples are lower by the finished flow than in training: of wide columns (D,), or
    of those with values near their upper bound."""
    loss = _loss(expected, found)
    if loss > 0 and wide.any():
        warn_of_wide(wide, dtype, f"costs {loss:.2f} nats a row and makes samples coarse")
    elif loss > 0:
        warn_user(
            f"column(s) {name_columns(near)} of X have values so close to their upper bound that {dtype} hardly tells them "
            f"apart, which costs {loss:.2f} nats a row and makes samples coarse: "
            f"{'use dtype=float64, or ' * (dtype == np.float32)}"
            "give the distances from that bound, if no values are as close to the other one"
        )


def warn_of_wide(wide: Bools, dtype: FloatDType, consequence: str) -> None:
    """Warn of wide columns (D,)."""
    warn_user(
        f"column(s) {name_columns(wide)} of X span so many orders of magnitude that {dtype} hardly tells their smaller values "
        f"apart, which {consequence}: use their logarithms, or support='positive' for positive numbers"
        f"{', or dtype=float64' * (dtype == np.float32)}"
    )
