"""Shared parametrizations."""

import pytest

from nvpflow.layers import ACTIVATIONS

SCALES = "exp", "tanh"

both_precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])
both_directions = pytest.mark.parametrize("direction", ["forward", "inverse"])
both_kinds = pytest.mark.parametrize("ending", ["npz", "safetensors"])  # of files
every_dim = pytest.mark.parametrize("dim", [1, 2, 3, 4, 5, 8, 9, 13])
every_network = pytest.mark.parametrize("activation, scale", [(a, s) for a in ACTIVATIONS for s in SCALES])
