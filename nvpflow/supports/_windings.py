"""Angles as numbers on two turns: the two windings of an angle, and the share of each.

An angle t that is taken into the turn around a centre c stands for t and for t + P or t - P, the one that is within P of c.
The shares (1 + cos(pi (t - c) / P)) / 2 of both sum to 1, and fall smoothly to 0 at c - P and c + P.
"""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Floats

__all__ = ["into_turn", "log_share", "other_winding", "windings"]


def into_turn(x: Floats, low: float | Floats, turn: float | Floats) -> Floats:
    """Take numbers into [low, low + turn) by whole turns."""
    taken = low + np.mod(x - low, turn)
    within: Floats = np.where(taken < low + turn, taken, low)  # rounding may reach the end
    return within


def other_winding(t: Floats, centre: float | Floats, turn: float | Floats) -> Floats:
    """The other number within a turn of the centre that stands for the same angle."""
    return t - np.where(t < centre, -1.0, 1.0) * turn


def log_share(t: Floats, centre: float, turn: float) -> Floats:
    """The logarithm of the share of a number among both that stand for the same angle, in nats."""
    shares: Floats = np.cos(np.pi * (t - centre) / (2 * turn)) ** 2
    with np.errstate(divide="ignore"):
        return np.log(shares)


def windings(x: Floats, centres: Floats, turns: Floats) -> Floats:
    """All numbers that rows x (m, D) stand for, (m, 2^q, D), with q columns of angles, those whose turn is not 0."""
    points = x[:, np.newaxis]
    for column in np.flatnonzero(turns):
        others = points.copy()
        others[:, :, column] = other_winding(points[:, :, column], centres[column], turns[column])
        points = np.concatenate([points, others], axis=1)
    return points
