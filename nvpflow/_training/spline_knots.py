"""What the network of a `SplineCoupling` on [-1, 1] has to say for knots that are known."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from nvpflow._typing import Floats

__all__ = ["SMALLEST", "Stage", "knots_of", "outputs_of", "spaced"]

# The smallest bin and the smallest derivative, of the whole spline's: a little more than those of `SplineCoupling`.
SMALLEST = 1.2e-3
# The core's smallest bin and derivative, and the offset before the softplus of a derivative.
CORE_SMALLEST = 1e-3
OFFSET = float(np.log(np.expm1(1 - CORE_SMALLEST)))

# Splines of all columns: what is subtracted before them (D,), what is divided by (D,), and their outputs (D, 3 K - 1).
Stage: TypeAlias = tuple[Floats, Floats, Floats]


def spaced(knots: Floats) -> Floats:
    """The knots with the smallest bins widened, at the expense of the others."""
    shares = np.diff(knots) / (knots[-1] - knots[0])
    small = shares < SMALLEST
    if small.any():
        shares = np.where(small, SMALLEST, shares * (1 - SMALLEST * small.sum()) / shares[~small].sum())
        knots = knots[0] + (knots[-1] - knots[0]) * np.concatenate([[0], np.cumsum(shares)])
    return knots


def outputs_of(x_knots: Floats, values: Floats, derivatives: Floats) -> Floats:
    """The outputs (3 K - 1,) for K + 1 knots, the values there, and the derivatives at the inner ones."""
    sizes = []
    for knots in (x_knots, values):
        shares = np.diff(knots) / (knots[-1] - knots[0])
        sizes.append(np.log(shares - CORE_SMALLEST))
    relative = derivatives * (x_knots[-1] - x_knots[0]) / (values[-1] - values[0])
    excess = relative - CORE_SMALLEST
    raw = excess + np.log(-np.expm1(-excess)) - OFFSET  # the inverse of a softplus
    return np.concatenate([*(size - size.mean() for size in sizes), raw])


def knots_of(raw: Floats) -> tuple[Floats, Floats]:
    """The knots (K + 1,) in [-1, 1] and the values there, for outputs (3 K - 1,)."""
    n_bins = (len(raw) + 1) // 3
    knots = []
    for sizes in (raw[:n_bins], raw[n_bins : 2 * n_bins]):
        shares = np.exp(sizes - sizes.max())
        shares = CORE_SMALLEST + (1 - n_bins * CORE_SMALLEST) * shares / shares.sum()
        knots.append(np.concatenate([[-1.0], 2 * np.cumsum(shares) - 1]))
    return knots[0], knots[1]
