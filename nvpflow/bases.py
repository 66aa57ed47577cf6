"""The base densities of flows besides N(0, I), which is represented by None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from nvpflow._base import Base
from nvpflow._typing import ArrayLike, DTypeLike
from nvpflow._validation.arguments import check_choice
from nvpflow._validation.arrays import as_array
from nvpflow.circular_base import CircularBase
from nvpflow.conditional_mixture_base import ConditionalMixtureBase
from nvpflow.mixture_base import MixtureBase, mixture_of
from nvpflow.student_t_base import StudentTBase

__all__ = ["BASE_TYPES", "Base", "FittedBase", "base_from_config", "base_from_state", "fitted_base"]

FittedBase: TypeAlias = MixtureBase | StudentTBase  # of the flow of an estimator, unless it is N(0, I)

BASE_TYPES: dict[str, type[Base]] = {
    base_type._kind: base_type for base_type in (MixtureBase, ConditionalMixtureBase, CircularBase, StudentTBase)
}


def base_from_config(config: Mapping[str, Any] | None, dtype: DTypeLike) -> Base | None:
    """Create a base from the result of `config`, with placeholders as parameters. None gives None."""
    if config is None:
        return None
    return BASE_TYPES[check_choice("base type", config["type"], tuple(BASE_TYPES))]._from_config(config, dtype)


def fitted_base(base: Base | None) -> FittedBase | None:
    """The base of a flow as an estimator makes it: a mixture, Student t, or None for N(0, I)."""
    return base if isinstance(base, StudentTBase) else mixture_of(base)


def base_from_state(state: dict[str, ArrayLike], dtype: DTypeLike, data_dim: int, context_dim: int) -> Base | None:
    """Create a base from the entries "base.<name>" of a flow's state dict, and remove them from it. None if it has none.

    The dimensions are those of the layers. Means of as many columns as both together, or an entry of indicators, are those of
    a conditional mixture.
    """
    if not any(key.startswith("base.") for key in state):
        return None
    if "base.log_excess" in state:
        return StudentTBase._from_state(state, dtype, data_dim)
    shape = np.shape(as_array("base.means", state.get("base.means", ())))
    if context_dim and (shape[1:] == (context_dim + data_dim,) or "base.indicator_logits" in state):
        return ConditionalMixtureBase._from_state(state, dtype, context_dim)
    return MixtureBase._from_state(state, dtype)
