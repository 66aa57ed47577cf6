"""Points of a mixture of normal distributions as points of N(0, I), and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nvpflow import _core
from nvpflow._typing import Floats

if TYPE_CHECKING:
    from nvpflow.mixture_base import MixtureBase

__all__ = ["rosenblatt"]

NUMBERS_AT_A_TIME = 1_000_000  # whitened values, between which Ctrl-C is noticed


def rosenblatt(mixture: MixtureBase, points: Floats, context: Floats | None, *, backward: bool) -> tuple[Floats, Floats]:
    """Map points (n, D) of a mixture, given the context (n, C), to points of N(0, I). `backward`: these to those.

    Both are in float64, as is the log-determinant (n,) of the map.
    """
    n_given = mixture._n_columns - mixture.data_dim
    points = np.ascontiguousarray(points, np.float64)
    given: Floats = np.empty((len(points), 0)) if context is None else np.asarray(context, np.float64)
    log_weights = np.log(mixture.weights)
    if given.shape[1] > n_given:  # the last columns are indicators, which change the weights alone
        log_weights = log_weights + given[:, n_given:] @ mixture._logits_of_indicators().T
    given, means = np.ascontiguousarray(given[:, :n_given]), mixture.means.astype(np.float64)
    factors, found, log_det = mixture.precision_factors, np.empty_like(points), np.empty(len(points))
    rows = max(1, NUMBERS_AT_A_TIME // means.size)
    for start in range(0, len(points), rows):
        part = slice(start, start + rows)
        weights = log_weights if log_weights.ndim == 1 else log_weights[part]
        _core.rosenblatt(backward, points[part], given[part], weights, means, factors, found[part], log_det[part])
    return found, log_det
