"""Check weights, of samples or of the members of an ensemble, and groups of samples."""

from __future__ import annotations

import numpy as np

from nvpflow._typing import ArrayLike, Floats, Ints
from nvpflow._validation.arrays import as_array

__all__ = ["check_groups", "check_weights"]

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


def check_groups(groups: ArrayLike, n: int) -> Ints:
    """Check the groups of n rows, and number them from 0 on (n,)."""
    labels = as_array("groups", groups)
    if labels.shape != (n,):
        raise ValueError(f"groups must have shape ({n},), one label for each row, got {labels.shape}")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError(f"groups must have no missing labels, got NaN in row {np.flatnonzero(np.isnan(labels))[0]}")
    try:
        values, numbers = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise TypeError("groups must be labels of one type that can be sorted, such as numbers or texts") from error
    if len(values) < 2:
        raise ValueError("groups must have at least 2 different labels, so that some are held out, got one")
    return numbers
