"""The checked parameters of `FlowDensity` as one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from nvpflow._typing import Activation, Base, ConstantColumns, CouplingKind, FloatDType, Latent, Missing, Schedule, Seed
from nvpflow.supports import Kinds

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """The parameters of `FlowDensity`, which documents them. None stands for a default that depends on other parameters."""

    n_layers: int
    hidden_dim: tuple[int, ...]
    activation: Activation
    coupling: CouplingKind
    scale_bound: float | None
    n_bins: int | None
    tail_bound: float | None
    base: Base
    standardize: bool
    support: Kinds | None
    context_support: Kinds | None
    missing: Missing
    latent: Latent
    constant_columns: ConstantColumns
    n_init: int
    n_models: int
    max_iter: int | None
    time_limit: float | None
    batch_size: int | None
    learning_rate: float | None
    schedule: Schedule
    warmup: float
    average: float
    noise: float
    validation_fraction: float | None
    n_iter_no_change: int | None
    tol: float
    warm_start: bool
    dtype: FloatDType
    n_jobs: int
    verbose: int
    random_state: Seed
    keeps_layers: bool | None = None  # none of the parameters: whether trained layers stay, where held-out samples would say

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Create settings from the checked values of an estimator, which may have further parameters."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name != "keeps_layers"})
