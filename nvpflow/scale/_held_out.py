"""Densities compared on held-out rows, of which each member scores a share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nvpflow._training.stacking import LARGEST_LOSS
from nvpflow._typing import Floats
from nvpflow.flow import Flow

if TYPE_CHECKING:
    from nvpflow.scale._group import Group

__all__ = ["Gain", "HeldOut"]


class Gain(NamedTuple):
    """The mean difference of two log-densities, and its standard error, in nats; NaN and 0 without held-out rows."""

    mean: float
    error: float

    def exceeds(self, least: float) -> bool:
        """Whether it is more than this many standard errors. Without held-out rows training has the last word."""
        return bool(np.isnan(self.mean) or self.mean > least * self.error)


class HeldOut:
    """Held-out rows as z (m, D), the same on every member."""

    def __init__(self, z: Floats, group: Group) -> None:
        self.n, self._own, self._group = len(z), np.ascontiguousarray(z[group.rank :: group.size]), group

    def log_prob(self, flow: Flow) -> Floats:
        """Log-density of the own share, in float64."""
        if not len(self._own):
            return np.empty(0)
        with np.errstate(invalid="ignore", over="ignore"):  # for rows without a density
            return flow.log_prob(self._own).astype(np.float64)

    def gain(self, after: Floats, before: Floats) -> Gain:
        """Of log-densities over others; a single row counts for at most 10 nats."""
        with np.errstate(invalid="ignore"):
            difference = np.clip(np.where(after == before, 0.0, after - before), -LARGEST_LOSS, LARGEST_LOSS)
        difference = np.where(np.isnan(difference), -LARGEST_LOSS, difference)
        sums = self._group.sum(np.array([difference.sum(), (difference**2).sum()]))
        if self.n < 2:
            return Gain(np.nan, 0.0)
        mean, square = sums / self.n
        return Gain(float(mean), float(np.sqrt(max(square - mean**2, 0.0) / (self.n - 1))))
