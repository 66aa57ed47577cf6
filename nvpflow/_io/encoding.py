"""Encode the configuration of a flow as numbers, which the C library reads.

The core's table lists the fields of each layer type: their order, form and allowed values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nvpflow import _core
from nvpflow._typing import FloatDType
from nvpflow._validation.arguments import (
    check_bounds,
    check_choice,
    check_hidden,
    check_int,
    check_mask,
    check_permutation,
    check_real,
    shown,
)

__all__ = ["allowed", "describe", "encode_flow"]

# The first version that names the base; before, the version number implies it. Then the first that has fields which were added
# to a base. Where they are 0, the lowest version leaves them out.
FIRST_WITH_KIND, FIRST_WITH_ADDED = 3, 4
DTYPES = ("float32", "float64")
LAYER_KINDS, BASE_KINDS = tuple(_core.LAYER_KINDS), tuple(_core.BASE_KINDS)
STANDARD_NORMAL, *OTHER_BASES = BASE_KINDS


Fields: TypeAlias = tuple[tuple[str, str, tuple[Any, ...]], ...]  # name, form, allowed values


def allowed(kind: str, field: str) -> tuple[Any, ...]:
    """The allowed names of a field of a layer type, or the minimum and maximum of a count."""
    return next(allowed for name, _, allowed in _core.LAYER_KINDS[kind] if name == field)


def describe(config: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """Encode a configuration as the numbers that ``nvp_flow_decode`` reads. nvpflow.h documents their order.

    Parameters
    ----------
    config : dict
        A result of `Flow.config`. It need not be trusted: nothing of a claimed size is allocated.

    Returns
    -------
    numbers : ndarray of float64

    Raises
    ------
    KeyError, TypeError, ValueError
        If a value that determines the size of the flow is missing, has a wrong type, or is out of range.
    """
    layers = config["layers"]
    if not (isinstance(layers, list) and layers and all(isinstance(layer, dict) for layer in layers)):
        raise TypeError(f"layers must be a list of at least one layer, got {shown(layers)}")
    dims = {check_int("data_dim", layer["data_dim"], 1) for layer in layers}
    contexts = {check_int("context_dim", layer.get("context_dim", 0), 0) for layer in layers if "mask" in layer} or {0}
    for name, values in (("data_dim", dims), ("context_dim", contexts)):
        if len(values) > 1:
            raise ValueError(f"layers must agree in {name}, got {sorted(values)}")
    dtype, base = check_choice("dtype", config["dtype"], DTYPES), config.get("base")
    if base is not None and check_choice("base type", base["type"], OTHER_BASES) and base["data_dim"] not in dims:
        raise ValueError(f"base and layers must agree in data_dim, got {shown(base['data_dim'])} and {sorted(dims)}")
    if base is not None and "context_dim" in base:  # of a base that depends on the context; layers without networks have none
        of_base = check_int("context_dim", base["context_dim"], 1)
        if any("mask" in layer for layer in layers) and of_base not in contexts:
            raise ValueError(f"base and layers must agree in context_dim, got {of_base} and {sorted(contexts)}")
        contexts = {of_base}
    (data_dim,), (context_dim,) = dims, contexts
    return encode_flow(dtype, data_dim, context_dim, layers, base)


def encode_flow(
    dtype: str | FloatDType,
    data_dim: int,
    context_dim: int,
    layers: Sequence[Mapping[str, Any]],
    base: Mapping[str, Any] | None = None,
) -> npt.NDArray[np.float64]:
    """Encode a flow whose dimensions are known.

    Parameters
    ----------
    dtype : str or numpy.dtype
    data_dim, context_dim : int
    layers : list of dict
        For each layer its "type" and its fields by name, as plain Python values.
    base : dict, optional
        Likewise for the base.
    """
    base = base or {"type": STANDARD_NORMAL}
    version, base_fields = _core.BASE_KINDS[base["type"]]
    added = [name for name, form, _ in base_fields if form == "added"]
    if any(base.get(name, 0) for name in added):
        version = FIRST_WITH_ADDED
    elif version < FIRST_WITH_ADDED:
        base_fields = tuple(field for field in base_fields if field[0] not in added)
    numbers: list[float] = [version, DTYPES.index(np.dtype(dtype).name), data_dim, context_dim]
    if version >= FIRST_WITH_KIND:
        numbers.append(BASE_KINDS.index(base["type"]))
    numbers += _encode_fields(base_fields, base, data_dim)
    numbers.append(len(layers))
    for layer in layers:
        kind = check_choice("layer type", layer["type"], LAYER_KINDS)
        numbers.append(LAYER_KINDS.index(kind))
        numbers += _encode_fields(_core.LAYER_KINDS[kind], layer, data_dim)
    return np.array(numbers, dtype=np.float64)


def _encode_fields(fields: Fields, config: Mapping[str, Any], data_dim: int) -> list[float]:
    numbers: list[float] = []
    for name, form, values in fields:
        numbers += ENCODERS[form](name, config[name], values, data_dim)
    return numbers


# -- one encoder for each form of a field: from its value to its numbers --


def _encode_choice(name: str, value: object, choices: tuple[str, ...], data_dim: int) -> list[int]:
    return [choices.index(check_choice(name, value, choices))]


def _encode_real(name: str, value: object, _: None, data_dim: int) -> list[float]:
    if type(value) is float and 0 < value < math.inf:  # nearly always: the check below takes microseconds
        return [value]
    return [check_real(name, value, 0, low_open=True)]


def _encode_count(name: str, value: object, limits: tuple[int, int], data_dim: int) -> list[int]:
    return [check_int(name, value, limits[0])]  # the core checks the maximum


def _encode_widths(name: str, value: object, _: None, data_dim: int) -> list[int]:
    widths = check_hidden(name, value)
    return [len(widths), *widths]


def _encode_mask(name: str, value: object, _: None, data_dim: int) -> list[int]:
    mask = _integers(name, value, data_dim)
    if not {0, 1}.issuperset(mask):
        check_mask(mask, data_dim)  # says what is wrong
    return mask


def _encode_order(name: str, value: object, _: None, data_dim: int) -> list[int]:
    order = _integers(name, value, data_dim)
    if sorted(order) != list(range(data_dim)):
        check_permutation(order, data_dim)  # says what is wrong
    return order


def _encode_bounds(name: str, value: object, _: None, data_dim: int) -> list[float]:
    pairs = _listed(name, value, data_dim)
    return [bound for i, pair in enumerate(pairs) for bound in check_bounds(f"{name}[{i}]", pair)]


def _encode_reals(name: str, value: object, _: None, data_dim: int) -> list[float]:
    return [check_real(name, number) for number in _listed(name, value, data_dim)]


# Arguments: name, value, allowed values, data_dim.
ENCODERS: dict[str, Callable[[str, Any, Any, int], Sequence[float]]] = {
    "choice": _encode_choice,
    "real": _encode_real,
    "count": _encode_count,
    "added": _encode_count,
    "widths": _encode_widths,
    "mask": _encode_mask,
    "order": _encode_order,
    "bounds": _encode_bounds,
    "reals": _encode_reals,
}


def _listed(name: str, values: object, n: int) -> list[Any]:
    """Check for a list of n entries."""
    if not isinstance(values, list):
        raise TypeError(f"{name} must be a list, got {shown(values)}")
    if len(values) != n:
        raise ValueError(f"{name} must have {n} entries, one for each column, got {len(values)}")
    return values


def _integers(name: str, values: object, n: int) -> list[int]:
    """Check for a list of n integers. From other values `numpy.asarray` could make a much larger array."""
    if not isinstance(values, list) or not all(type(value) is int for value in values):
        raise TypeError(f"{name} must be a list of integers, got {shown(values)}")
    if len(values) != n:
        raise ValueError(f"{name} must have shape ({n},), got ({len(values)},)")
    return values
