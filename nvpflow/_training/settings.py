"""The checked parameters of `FlowDensity` as one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from nvpflow._typing import (
    Activation,
    Base,
    BatchSize,
    ConstantColumns,
    CouplingKind,
    FloatDType,
    Latent,
    Missing,
    Schedule,
    Seed,
)
from nvpflow.supports import Kinds

__all__ = ["Settings"]

# Samples of an update by default: so many for every SAMPLES_OF_BATCH training samples, up to MOST_BATCHES times as many. In as
# many updates, 64 were as good as 256 on 1000 samples of 21 densities (within 0.001 nats in the mean), 0.004 better on
# conditional tasks, and training took a third of the time. Over N(0, I) the mean of seven densities was 0.004 better, with a
# checkerboard 0.03 worse, at 3000 samples 0.07. At 10,000 samples layers over a checkerboard were lost with 128.
# 256 are as good as twice as many in half as many updates.
BATCH, SAMPLES_OF_BATCH, MOST_BATCHES = 64, 1600, 4


@dataclass(frozen=True)
class Settings:
    """The parameters of `FlowDensity`, which documents them. None stands for a default that depends on other parameters."""

    n_layers: int | None
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
    batch_size: BatchSize
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
    # None of the parameters: what held-out samples would say otherwise. Whether trained layers stay, and of which columns few
    # values are spread.
    keeps_layers: bool | None = None
    spread: tuple[bool, ...] | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Create settings from the checked values of an estimator, which may have further parameters."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name not in ("keeps_layers", "spread")})

    def batch_of(self, n: int) -> int:
        """The number of samples of an update, for n training samples."""
        if self.batch_size != "auto":
            return min(n, self.batch_size or n)
        most = BATCH * min(max(round(n / SAMPLES_OF_BATCH), 1), MOST_BATCHES)
        return -(-n // -(-n // most))  # all of about the same size
