"""Where whole numbers are put in their cells: such that the column has a smooth density, without steps between the cells.

The probability of a number is the mass of its cell, wherever the samples are within it. Spread evenly, they would have a
density of steps, which many components of a mixture follow for nothing. On five densities with whole numbers and 10,000 rows
the gaps were 0.97 to 0.62 of those of even places (0.031 to 0.022 with a category, an angle, a positive and a real column), on
eight with 1000 rows 1.12 to 0.47 (coupled counts: 0.015 to 0.011), means of three and five states.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nvpflow._normal import probit
from nvpflow._typing import Floats

__all__ = ["smooth_places"]

OF_GAP = 0.5  # rows that count for numbers without one, between others, and for those beyond


def smooth_places(
    values: Floats,
    places: Floats,
    weight: Floats | None,
    to_reals: Callable[[Floats], Floats],
    from_reals: Callable[[Floats], Floats],
) -> Floats:
    """Move even places (n,) in (0, 1) of whole numbers (n,) within their cells [k, k + 1).

    The distribution function is known at the ends of the cells. In between, the map that would make the column normal is a
    monotone cubic on the real line: the ones of single cells are smooth where they meet.

    Parameters
    ----------
    values, places : ndarray of float64, shape (n,)
    weight : ndarray, shape (n,), or None
    to_reals, from_reals : callable
        From numbers to the real line of the flow, and back.
    """
    unique, cell = np.unique(values, return_inverse=True)
    mass = np.bincount(cell, weight)
    edges = np.unique(np.concatenate([unique, unique + 1]))
    masses = np.full(len(edges) - 1, OF_GAP)
    first = np.searchsorted(edges, unique)
    masses[first] = mass
    below = np.concatenate([[OF_GAP], masses]).cumsum() / (masses.sum() + 2 * OF_GAP)
    t = to_reals(edges)
    below[np.isneginf(t)], below[np.isposinf(t)] = 0, 1
    known = np.isfinite(t)
    z, t = probit(below[known]), t[known]
    if not ((np.diff(z) > 0).all() and (np.diff(t) > 0).all()):  # cells beyond the resolution
        return places
    wanted = probit(below[first][cell] + places * (below[first + 1] - below[first])[cell])
    moved = from_reals(_monotone_cubic(z, t, wanted)) - values
    tiny = np.finfo(np.float64).eps
    return np.clip(moved, tiny, 1 - tiny)


def _monotone_cubic(x: Floats, y: Floats, at: Floats) -> Floats:
    """Interpolate increasing y (m,) of x, with straight ends. A single point gets the slope 1.

    Source: Fritsch and Butland (1984), "A method for constructing local monotone piecewise cubic interpolants".
    """
    if len(x) < 2:
        return at - x[0] + y[0] if len(x) else at
    h = np.diff(x)
    slopes = np.diff(y) / h
    w = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    inner = (w[0] + w[1]) / (w[0] / slopes[:-1] + w[1] / slopes[1:])
    d = np.concatenate([slopes[:1], inner, slopes[-1:]])
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(h) - 1)
    s = np.clip((at - x[i]) / h[i], 0, 1)
    cubic = y[i] + h[i] * s * (d[i] + s * (3 * slopes[i] - 2 * d[i] - d[i + 1] + s * (d[i] + d[i + 1] - 2 * slopes[i])))
    beyond = np.minimum(at - x[0], 0) * d[0] + np.maximum(at - x[-1], 0) * d[-1]
    found: Floats = cubic + beyond
    return found
