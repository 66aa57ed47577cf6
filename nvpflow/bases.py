"""The base densities of flows besides N(0, I), which is represented by None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvpflow._base import Base
from nvpflow._typing import ArrayLike, DTypeLike
from nvpflow._validation.arguments import check_choice
from nvpflow.mixture_base import MixtureBase

__all__ = ["BASE_TYPES", "Base", "base_from_config", "base_from_state"]

BASE_TYPES: dict[str, type[MixtureBase]] = {base_type._kind: base_type for base_type in (MixtureBase,)}


def base_from_config(config: Mapping[str, Any] | None, dtype: DTypeLike) -> MixtureBase | None:
    """Create a base from the result of `config`, with placeholders as parameters. None gives None."""
    if config is None:
        return None
    return BASE_TYPES[check_choice("base type", config["type"], tuple(BASE_TYPES))]._from_config(config, dtype)


def base_from_state(state: dict[str, ArrayLike], dtype: DTypeLike) -> MixtureBase | None:
    """Create a base from the entries "base.<name>" of a flow's state dict, and remove them from it. None if it has none."""
    names = {key.removeprefix("base.") for key in state if key.startswith("base.")}
    if not names:
        return None
    base_type = max(BASE_TYPES.values(), key=lambda base_type: len(names.intersection(base_type._state_names)))
    return base_type._from_state(state, dtype)
