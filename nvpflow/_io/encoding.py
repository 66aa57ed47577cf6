"""A flow's configuration as the plain numbers that the C library reads."""

import numpy as np

from nvpflow._validation.arguments import check_choice, check_hidden, check_int, check_mask, check_real, shown
from nvpflow.layers import LAYER_TYPES
from nvpflow.layers._affine_coupling import NETWORKS, SCALES
from nvpflow.layers._coupling import ACTIVATIONS
from nvpflow.layers._permutation import check_permutation

__all__ = ["describe"]

WITHOUT_BASE, WITH_BASE = 1, 2  # versions of the list
DTYPES = ("float32", "float64")


def describe(config):
    """The numbers of ``nvp_flow_decode``; nvpflow.h has their order.

    Parameters
    ----------
    config : dict
        What `Flow.config` gave, or claims to be it: nothing is made of its size.

    Returns
    -------
    numbers : ndarray of float64

    Raises
    ------
    KeyError, TypeError, ValueError
        If something that makes the size of a flow is missing, of the wrong type, or outside of its range.
    """
    layers = config["layers"]
    if not (isinstance(layers, list) and layers and all(isinstance(layer, dict) for layer in layers)):
        raise TypeError(f"layers must be a list of at least one layer, got {shown(layers)}")
    dims = {check_int("data_dim", layer["data_dim"], 1) for layer in layers}
    contexts = {check_int("context_dim", layer.get("context_dim", 0), 0) for layer in layers if "mask" in layer} or {0}
    for name, values in (("data_dim", dims), ("context_dim", contexts)):
        if len(values) > 1:
            raise ValueError(f"layers must agree in {name}, got {sorted(values)}")
    dtype, base = _index("dtype", config["dtype"], DTYPES), config.get("base")
    numbers = [WITHOUT_BASE if base is None else WITH_BASE, dtype, *dims, *contexts]
    if base is not None:
        check_choice("base type", base["type"], ("mixture",))
        if base["data_dim"] not in dims:
            raise ValueError(f"base and layers must agree in data_dim, got {shown(base['data_dim'])} and {sorted(dims)}")
        numbers.append(check_int("n_components", base["n_components"], 1))
    numbers.append(len(layers))
    for layer in layers:
        numbers += _describe_layer(layer, *dims)
    return np.array(numbers, dtype="<f8")


def _describe_layer(layer, dim):
    kind = layer["type"]
    numbers = [_index("layer type", kind, tuple(LAYER_TYPES))]
    if kind.endswith("coupling"):
        hidden = check_hidden("hidden_dim", layer["hidden_dim"])
        mask = check_mask(_integers("mask", layer, dim), dim).tolist()
        numbers += [_index("activation", layer["activation"], ACTIVATIONS), len(hidden), *hidden, *mask]
    if kind == "affine_coupling":
        scale, networks = _index("scale", layer["scale"], SCALES), _index("networks", layer["networks"], NETWORKS)
        numbers += [scale, check_real("scale_bound", layer["scale_bound"], 0, low_open=True), networks]
    elif kind == "spline_coupling":
        numbers += [check_int("n_bins", layer["n_bins"], 2)]
        numbers += [check_real("tail_bound", layer["tail_bound"], 0, low_open=True)]
    elif kind == "permutation":
        numbers += check_permutation(_integers("permutation", layer, dim), dim)
    return numbers


def _integers(name, layer, n):
    """A list of n integers. Of anything else `numpy.asarray` could make an array that is much larger."""
    values = layer[name]
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise TypeError(f"{name} must be a list of integers, got {shown(values)}")
    if len(values) != n:
        raise ValueError(f"{name} must have shape ({n},), got ({len(values)},)")
    return values


def _index(name, value, choices):
    return choices.index(check_choice(name, value, choices))
