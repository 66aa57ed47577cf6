"""A warning about angles that are perhaps not in radians."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nvpflow._typing import Floats
from nvpflow._warnings import warn_user
from nvpflow.supports._kinds import Angle, AnyKind

__all__ = ["warn_of_many_turns"]

MANY = 2  # turns: hours span 3.8 and degrees 57 of the range that nobody has declared


def warn_of_many_turns(name: str, x: Floats, kinds: Sequence[AnyKind | None], labels: Sequence[str]) -> None:
    """Warn of columns of x (n, D) with the range that `Angle` has by default, and with values over many turns.

    Values are taken into the range by whole turns, so that nothing else would tell.
    """
    for column, kind, label in zip(x.T, kinds, labels):
        if not isinstance(kind, Angle) or kind != Angle() or not np.isfinite(column).any():
            continue
        turns = float(np.nanmax(column) - np.nanmin(column)) / kind.turn
        if turns > MANY:
            warn_user(
                f"column {label} of {name} has values over {turns:.0f} turns of 2 pi, the range of Angle() by default: of "
                "values in other units, such as degrees or hours, declare the range, as in Angle(0, 360) or Angle(0, 24)"
            )
