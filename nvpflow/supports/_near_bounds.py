"""Values on a bound of real numbers, as the distribution functions of a column see them.

A flow takes a value on a bound for one at the distance `edge` from it, half of the smallest other one, and puts a peak there.
So where training values were on a bound, all that is near it is on it: a quantile there is the bound, and the probability of
values up to it includes the peak.
"""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Bools, Floats
from nvpflow.supports._kinds import Kind

__all__ = ["begins", "ends", "onto_bounds"]

ON_BOUND = 1.5  # edges from the bound: the peak has a width, and other values are 2 edges away or more


def ends(x: Floats, kind: Kind, edge: float) -> Floats:
    """Where values up to x end."""
    is_low, is_high = _near(x, kind, edge)
    low, high = kind.cells
    return np.where(is_low, low + ON_BOUND * edge, np.where(is_high & (x < high), high - ON_BOUND * edge, x))


def begins(x: Floats, kind: Kind, edge: float) -> Floats:
    """Where values from x on begin."""
    is_low, is_high = _near(x, kind, edge)
    low, high = kind.cells
    return np.where(is_low, low, np.where(is_high, high - ON_BOUND * edge, x))


def onto_bounds(x: Floats, kind: Kind, edge: float) -> Floats:
    """Quantiles x, of which those near a bound are the bound."""
    is_low, is_high = _near(x, kind, edge)
    return np.where(is_low, kind.cells[0], np.where(is_high, kind.cells[1], x))


def _near(x: Floats, kind: Kind, edge: float) -> tuple[Bools, Bools]:
    """Which numbers are on, or near, the low and the high bound."""
    low, high = kind.cells
    return (x >= low) & (x <= low + ON_BOUND * edge), (x >= high - ON_BOUND * edge) & (x <= high)
