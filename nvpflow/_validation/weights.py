"""Check weights, of samples or of the members of an ensemble."""

from __future__ import annotations

import numpy as np

from nvpflow._typing import ArrayLike, Floats
from nvpflow._validation.arrays import as_array

__all__ = ["check_weights"]

OF_WHAT = {"sample_weight": ("sample", "row"), "weights": ("flow", "place")}


def check_weights(name: str, weights: ArrayLike, n: int) -> Floats:
    """Check n weights and convert them to float64: finite, >= 0, not all zero."""
    owner, place = OF_WHAT[name]
    weight = as_array(name, weights)
    if weight.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {weight.dtype}")
    if weight.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one weight for each {owner}, got {weight.shape}")
    weight = weight.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if len(bad):
        raise ValueError(f"{name} must be finite and >= 0, got {weight[bad[0]]} in {place} {bad[0]}")
    if not weight.any():
        raise ValueError(f"{name} must not be zero everywhere")
    return weight
