"""The layers of a flow. Each is an invertible transform with an exact log-determinant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvpflow._typing import DTypeLike
from nvpflow._validation.arguments import check_choice
from nvpflow.layers._act_norm import ActNorm
from nvpflow.layers._additive_coupling import AdditiveCoupling
from nvpflow.layers._affine_coupling import SCALE_BOUND, AffineCoupling, CouplingLayer
from nvpflow.layers._bounded import Bounded
from nvpflow.layers._circular_spline_coupling import CircularSplineCoupling
from nvpflow.layers._coupling import ACTIVATIONS, Linear
from nvpflow.layers._layer import Layer
from nvpflow.layers._lu_linear import LULinear
from nvpflow.layers._permutation import Permutation
from nvpflow.layers._spline_coupling import MAX_BINS, SplineCoupling

__all__ = [
    "ACTIVATIONS",
    "LAYER_TYPES",
    "MAX_BINS",
    "SCALE_BOUND",
    "STATE_NAMES",
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "Bounded",
    "CircularSplineCoupling",
    "CouplingLayer",
    "LULinear",
    "Layer",
    "Linear",
    "Permutation",
    "SplineCoupling",
    "layer_from_config",
]

LAYER_TYPES: dict[str, type[Layer]] = {
    layer_type._kind: layer_type
    for layer_type in (
        AffineCoupling,
        ActNorm,
        SplineCoupling,
        AdditiveCoupling,
        Permutation,
        LULinear,
        Bounded,
        CircularSplineCoupling,
    )
}
# Names in a state dict of parameters outside of networks.
STATE_NAMES = sorted({name for layer_type in LAYER_TYPES.values() for name in layer_type._state_names})


def layer_from_config(config: Mapping[str, Any], dtype: DTypeLike) -> Layer:
    """Create a layer from the result of `Layer.config`. Its parameters are placeholders."""
    layer_type = LAYER_TYPES[check_choice("layer type", config.get("type"), tuple(LAYER_TYPES))]
    return layer_type._from_config(config, dtype)
