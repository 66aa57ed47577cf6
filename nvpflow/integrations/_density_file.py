"""Files of samplers that hold the fit of a density."""

from __future__ import annotations

from nvpflow._io.load import load
from nvpflow.density import FlowDensity

__all__ = ["read_density"]


def read_density(weights_file: str, dim: int) -> FlowDensity:
    """The `FlowDensity` of `dim` columns that was saved in a file."""
    model = load(weights_file)
    if not isinstance(model, FlowDensity) or model.n_features_in_ != dim:
        raise ValueError(f"weights_file must hold a FlowDensity of {dim} columns, got {model}")
    return model
