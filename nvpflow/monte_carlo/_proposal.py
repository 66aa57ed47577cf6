"""A fitted model as the proposal of a Monte Carlo method."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from nvpflow._typing import ArrayLike, Floats, Seed
from nvpflow._validation.arguments import shown
from nvpflow._validation.arrays import as_array

__all__ = ["Draws", "Sampler", "draw"]


class Sampler(Protocol):
    """A `FlowDensity`, a `Flow`, a `FlowEnsemble`, or anything with their `sample_and_log_prob`."""

    def sample_and_log_prob(self, n_samples: int, random_state: Seed, **options: Any) -> tuple[Any, Any]: ...


class Draws(NamedTuple):
    """Draws of a proposal, in float64."""

    x: Floats  # (n, D)
    log_proposal: Floats  # (n,)
    names: tuple[str, ...]  # of the D columns


def draw(model: Sampler, n: int, seed: int, context: ArrayLike | None, temperature: float) -> Draws:
    """Draw n samples of `model` with their log-densities."""
    if not callable(getattr(model, "sample_and_log_prob", None)):
        raise TypeError(f"model must be a FlowDensity, a Flow or a FlowEnsemble, got {shown(model)}")
    shape = () if context is None else as_array("context", context).shape
    if len(shape) == 2 and shape[0] != 1:
        raise ValueError(f"context must be one row, of shape (C,) or (1, C), got shape {shape}")
    found, log_proposal = model.sample_and_log_prob(n, seed, context=context, temperature=temperature)
    x, log_proposal = _numbers(found), np.asarray(log_proposal, np.float64)
    lost = ~np.isfinite(x).all(axis=1) | ~np.isfinite(log_proposal)
    if lost.any():
        raise ValueError(f"model must have a finite log-density at its own draws, but {lost.sum()} of {n} have none")
    names = getattr(model, "feature_names_in_", [f"x{column}" for column in range(x.shape[1])])
    return Draws(x, log_proposal, tuple(map(str, names)))


def _numbers(samples: Any) -> Floats:
    """Samples as float64. They may be a frame."""
    try:
        return np.ascontiguousarray(samples, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("model must have columns of numbers, but it draws categories") from None
