"""The log-density of a target, called with batches and checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from nvpflow._typing import ArrayLike, Floats
from nvpflow._validation.arguments import check_int, shown

__all__ = ["LogProb", "evaluate"]

# The points have the shape (n, D), and what it returns (n,).
LogProb: TypeAlias = Callable[[Floats], ArrayLike]


def evaluate(log_prob: LogProb, x: Floats, batch_size: int | None) -> Floats:
    """The log-density of the target at each row of x, (n,) of float64. -inf: no density."""
    if not callable(log_prob):
        raise TypeError(f"log_prob must be a function of points (n, D), got {shown(log_prob)}")
    step = len(x) if batch_size is None else check_int("batch_size", batch_size, 1)
    found = np.concatenate([_batch(log_prob, x[start : start + step]) for start in range(0, len(x), step)])
    bad = np.isnan(found) | (found == np.inf)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            "log_prob must return finite log-densities, or -inf where there is no density, "
            f"got {found[row]} at {x[row].tolist()}"
        )
    if not np.isfinite(found).any():
        raise ValueError(f"log_prob must be finite at some draw of the model, got -inf at all {len(x)}")
    return found


def _batch(log_prob: LogProb, x: Floats) -> Floats:
    """What the target says of a batch, on a copy that it may change."""
    returned: Any = log_prob(x.copy())
    try:
        values = np.asarray(returned, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"log_prob must return real numbers of shape ({len(x)},), got {shown(returned)}") from None
    if values.shape != (len(x),):
        raise ValueError(
            f"log_prob must return shape ({len(x)},) for points of shape {x.shape}, got {values.shape}: a function f of one "
            "point becomes one of many as lambda x: np.array([f(point) for point in x])"
        )
    return values
