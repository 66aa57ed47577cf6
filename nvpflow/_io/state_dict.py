"""State dicts: parameters under the names of PyTorch modules."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nvpflow._typing import ArrayLike, FloatDType
from nvpflow._validation.arrays import as_array

__all__ = ["checked_state", "split_state", "state_dtype", "state_widths"]


def checked_state(state: Mapping[str, ArrayLike], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a state dict. Their names and shapes must be those in `shapes`."""
    missing, unknown = shapes.keys() - state.keys(), state.keys() - shapes.keys()
    if missing or unknown:
        what = "misses" if missing else "has the unknown"
        raise ValueError(f"state dict {what} {', '.join(map(repr, sorted(missing or unknown)))}")
    arrays = {name: as_array(f"state dict entry {name!r}", state[name]) for name in shapes}
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise TypeError(f"state dict entry {name!r} must hold real numbers, got dtype {array.dtype}")
        if array.shape != shapes[name]:
            raise ValueError(f"state dict entry {name!r} must have shape {shapes[name]}, got {array.shape}")
    return arrays


def state_dtype(state: Mapping[str, ArrayLike]) -> FloatDType:
    """float64 if any array of a state dict has it, otherwise float32."""
    wide = any(as_array(f"state dict entry {name!r}", value).dtype == np.float64 for name, value in state.items())
    return np.dtype(np.float64 if wide else np.float32)


def state_widths(state: Mapping[str, ArrayLike]) -> tuple[int, ...]:
    """(D + C, hidden widths ..., D) of a coupling layer, from the shapes of the s network's weights."""
    widths, k = [], 0
    while (weight := state.get(f"s_net.{2 * k}.weight")) is not None:
        shape = as_array(f"state dict entry 's_net.{2 * k}.weight'", weight).shape
        if len(shape) != 2:
            raise ValueError(f"state dict entry 's_net.{2 * k}.weight' must have 2 dimensions, got shape {shape}")
        widths += [shape[1]] if k == 0 else []
        widths.append(shape[0])
        k += 1
    if not widths:
        raise ValueError(f"state dict misses 's_net.0.weight'; it has {', '.join(map(repr, sorted(state)))}")
    return tuple(widths)


def split_state(state: Mapping[str, ArrayLike], names: Collection[str]) -> dict[int, dict[str, ArrayLike]]:
    """Split the state dict of a flow into {layer number: state dict of the layer}. A prefix before the number is dropped.

    `names` are the names of entries outside of networks.
    """
    name = rf"(?:s_net|b_net|net)\.\d+\.\w+|mask|{'|'.join(names)}"
    by_layer: dict[int, dict[str, ArrayLike]] = {}
    for key, value in state.items():
        match = re.fullmatch(rf"(?:.*?\.)??(\d+)\.({name})", key)
        if not match:
            raise ValueError(f"state dict entry {key!r} is not of the form '<layer>.<name>', as '0.s_net.0.weight'")
        by_layer.setdefault(int(match[1]), {})[match[2]] = value
    return by_layer
