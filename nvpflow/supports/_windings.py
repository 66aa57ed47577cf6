"""Angles as numbers on the real line: the windings of an angle, and their shares in training.

An angle, taken into the turn around a centre c, is a number t; others that stand for it are t + P, t - P and so on, with the
period P. Training sees the two within P of c. Their shares (1 + cos(pi (t - c) / P)) / 2 sum to 1, and fall smoothly to 0 at
c - P and c + P, so that the flow learns a smooth density, and has next to no mass beyond 5 / 2 P.
"""

from __future__ import annotations

import numpy as np

from nvpflow._typing import Floats

__all__ = ["N_WINDINGS", "WIDEST", "into_turn", "log_share", "other_winding", "windings"]

# The angle in the turn around the centre, and in two turns on either side. An average of mixtures has wide tails: with one
# turn on either side, the log-density of two angles jumped by up to 0.012 nats where it is low, with two by less than 1e-4.
N_WINDINGS = 5

# Turns, as a standard deviation: a normal distribution so wide has 3e-5 of its mass beyond N_WINDINGS, and around the turn its
# density differs from a uniform one by a factor of 1 +- 0.002 at most.
WIDEST = 0.6


def into_turn(x: Floats, low: float | Floats, turn: float | Floats) -> Floats:
    """Take numbers into [low, low + turn) by whole turns. NaN stays."""
    taken = low + np.mod(x - low, turn)
    within: Floats = np.where(taken >= low + turn, low, taken)  # rounding may reach the end
    return within


def other_winding(t: Floats, centre: float | Floats, turn: float | Floats) -> Floats:
    """The other number within a turn of the centre that stands for the same angle."""
    return t - np.where(t < centre, -1.0, 1.0) * turn


def log_share(t: Floats, centre: float, turn: float) -> Floats:
    """The logarithm of the share of a number among both that stand for the same angle, in nats."""
    shares: Floats = np.cos(np.pi * (t - centre) / (2 * turn)) ** 2
    with np.errstate(divide="ignore"):
        return np.log(shares)


def windings(x: Floats, turns: Floats) -> Floats:
    """The numbers that rows x (m, D), angles in the turn around their centres, stand for: (m, N_WINDINGS^q, D).

    The q columns of angles are those whose turn is not 0.
    """
    points = x[:, np.newaxis]
    for column in np.flatnonzero(turns):
        shifts = np.zeros((N_WINDINGS, x.shape[1]))
        shifts[:, column] = turns[column] * (np.arange(N_WINDINGS) - N_WINDINGS // 2)
        points = np.concatenate([points + shift for shift in shifts], axis=1)
    return points
