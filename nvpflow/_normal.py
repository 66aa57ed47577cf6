"""The standard normal distribution function and its inverse, from the core."""

from __future__ import annotations

from functools import cache

import numpy as np

from nvpflow._typing import Floats
from nvpflow.layers import Bounded

__all__ = ["normal_cdf", "probit"]

LEAST_PLACE = 2.0**-53  # of a uniform number from 0 and 1
FAR = 38.0  # standard deviations: the mass beyond is 1e-315


def normal_cdf(z: Floats) -> Floats:
    """The probability of a number below z, accurate in the lower tail; z may be infinite."""
    probabilities: Floats = _unit().forward(np.clip(z, -FAR, FAR).reshape(-1, 1))[0].reshape(z.shape)
    return probabilities


def probit(uniforms: Floats) -> Floats:
    """Standard normal numbers of uniform ones in (0, 1)."""
    inside = np.clip(uniforms, LEAST_PLACE, 1 - LEAST_PLACE)
    normals: Floats = _unit().inverse(inside.reshape(-1, 1))[0].reshape(uniforms.shape)
    return normals


@cache
def _unit() -> Bounded:
    """The layer that is the normal distribution function."""
    return Bounded(1, [(0, 1)], dtype="float64")
