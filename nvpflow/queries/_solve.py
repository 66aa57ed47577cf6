"""Quantiles of many distributions at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nvpflow._normal import probit
from nvpflow._typing import Floats, Ints

__all__ = ["solve_quantiles"]

MOST_STEPS, PRECISION = 100, 1e-9
LAST_STEP = 1e-4  # errors of probabilities, relative to the smaller tail, from which one step leaves their square


def solve_quantiles(
    values: Callable[[Ints, Floats], tuple[Floats, Floats]], q: Floats, start: Floats, low: Floats, high: Floats
) -> Floats:
    """Newton's method on the scale of normal quantiles; bisection where that leaves the bracket or gains too little.

    On that scale the distribution function of one hump is nearly a straight line.

    Parameters
    ----------
    values : callable
        ``values(active, u)`` gives F(u) - q and the density at u (m,) of the distributions with the numbers `active` (m,).
    q : ndarray, shape (N,)
    start, low, high : ndarray, shape (N,)
        Where to begin, and the brackets.
    """
    low, high = low.copy(), high.copy()
    u = np.clip(start, low, high)
    active, before = np.arange(len(u)), np.full(len(u), np.inf)
    for _ in range(MOST_STEPS):
        value, density = values(active, u[active])
        low[active] = np.where(value < 0, u[active], low[active])
        high[active] = np.where(value > 0, u[active], high[active])
        width = high[active] - low[active]
        resolved = width <= 4 * np.finfo(float).eps * (np.abs(low[active]) + np.abs(high[active]))
        going = (np.abs(value) > PRECISION) & ~resolved  # NaN ends here as well
        active, value, density = active[going], value[going], density[going]
        if not len(active):
            break
        z = probit(value + q[active])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            slope = density * np.sqrt(2 * np.pi) * np.exp(0.5 * z * z)
            step = u[active] - (z - probit(q[active])) / slope
        inside = (step > low[active]) & (step < high[active]) & (np.abs(value) <= 0.5 * before[active])
        before[active] = np.abs(value)
        u[active] = np.where(inside, step, 0.5 * (low[active] + high[active]))
        active = active[~(inside & (np.abs(value) <= LAST_STEP * np.minimum(q[active], 1 - q[active])))]
        if not len(active):
            break
    return u
