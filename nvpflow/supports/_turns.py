"""Angles that are perhaps not in radians, and bases with mass beyond the turns that are summed over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nvpflow._training.heavy_tails import STUDENT_T
from nvpflow._training.origin import name_columns
from nvpflow._training.settings import Settings
from nvpflow._typing import Floats, Names
from nvpflow._warnings import warn_user
from nvpflow.supports._kinds import Angle, AnyKind, Kind

__all__ = ["refuse_heavy_tails", "warn_of_many_turns"]

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


def refuse_heavy_tails(settings: Settings, kinds: Sequence[Kind], names: Names | None) -> None:
    """Raise a ValueError if a base with heavy tails is to model angles.

    The density of an angle is a sum over five turns. For a spike among uniform angles, 2 % of the mass lay beyond them.
    """
    are_angles = np.array([kind.turn > 0 for kind in kinds])
    if settings.base == STUDENT_T and are_angles.any():
        raise ValueError(
            f"base must not be 'student_t' if a column of X is an angle, as column(s) {name_columns(are_angles, names)}: its "
            "tails reach beyond the turns that the density of an angle is summed over; 'auto', 'mixture' and 'normal' do not"
        )
