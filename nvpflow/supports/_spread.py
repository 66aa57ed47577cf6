"""What training sees of whole numbers and angles: real numbers, drawn at random.

That of whole numbers is dequantisation; see `Integer` and `Angle`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nvpflow._training.dataset import Data
from nvpflow._training.statistics import even_places
from nvpflow._typing import Floats
from nvpflow.supports._kinds import Kind
from nvpflow.supports._windings import into_turn, log_share, other_winding

__all__ = ["spread"]


def spread(kinds: Sequence[Kind], data: Data, rng: np.random.Generator) -> Data:
    """Spread the whole numbers of a column evenly over their cells, in random order, and choose a winding of each angle.

    The m rows with the number k get k + 1/2m, k + 3/2m, ..., so that no cell is fuller at one end by chance; `smooth_places`
    then moves them.
    """
    if not any(kind.is_whole or kind.turn for kind in kinds):
        return data
    x = data.x.astype(np.float64)
    for column, kind in enumerate(kinds):
        if kind.is_whole:
            x[:, column] += even_places(x[:, column], rng)
        elif kind.turn:
            x[:, column] = _wound(x[:, column], kind.origin, kind.turn, rng)
    return data._replace(x=x)


def _wound(angles: Floats, centre: float, turn: float, rng: np.random.Generator) -> Floats:
    """For each angle one of both windings, by their shares."""
    t = into_turn(angles, centre - turn / 2, turn)
    stays = np.log(rng.random(len(t))) < log_share(t, centre, turn)
    return np.where(stays, t, other_winding(t, centre, turn))
