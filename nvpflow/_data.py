"""What an estimator is fitted to: samples, and for each a row of the context and a weight."""

from typing import NamedTuple

import numpy as np

from nvpflow._arrays import as_array, check_samples

__all__ = ["Data", "check_data", "check_numbers", "effective_size", "moments"]


class Data(NamedTuple):
    """Samples x (n, D), context (n, C) or None, weight (n,) or None, as `Flow.fit` takes them."""

    x: np.ndarray
    context: np.ndarray | None = None
    weight: np.ndarray | None = None

    def rows(self, index):
        """The part that `index` selects."""
        return Data(*(None if array is None else array[index] for array in self))  # type: ignore[arg-type]

    def and_those(self, other):
        """These and other samples of the same kind."""
        parts = zip(self, other)
        return Data(*(None if part is None else np.concatenate([part, rest]) for part, rest in parts))  # type: ignore[arg-type]


def check_data(X, context, sample_weight, dtype, minimum=1):
    """Arguments of `fit` as Data, in an order of their own: the same for the same rows in any order.

    Rows of weight 0, which count for nothing, are dropped, and equal rows become one with the sum of their weights, so that
    a row that comes twice is a row of weight 2, also to what is drawn at random. The mean weight is 1. The dtype is that of
    the model, and X and context must be finite in it, but they keep their own precision, up to float64.
    """
    x = check_numbers("X", X, dtype, minimum)
    context = None if context is None else check_numbers("context", context, dtype)
    if context is not None and len(context) != len(x):
        raise ValueError(f"context must have one row for each of {len(x)} samples, got shape {context.shape}")
    if sample_weight is None:
        return _canonical(Data(x, context))
    weight = _check_weights(sample_weight, len(x))
    data = Data(x, context, weight) if weight.all() else Data(x, context, weight).rows(weight > 0)
    if len(data.x) < minimum:
        raise ValueError(
            f"sample_weight must be more than zero for a minimum of {minimum} sample(s), got {len(data.x)} such weights"
        )
    largest = data.weight.max()  # type: ignore[union-attr]
    return _canonical(data._replace(weight=data.weight / largest))  # whose sum cannot overflow


def _canonical(data):
    """The rows sorted, equal ones put together."""
    rows = data.x if data.context is None else np.hstack([data.x, data.context])
    order = np.lexsort(rows.T[::-1])
    rows = rows[order]
    first = np.ones(len(rows), bool)
    first[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    data = data.rows(order)
    if data.weight is None and first.all():
        return data
    weight = np.ones(len(rows)) if data.weight is None else data.weight
    weight = np.add.reduceat(weight, np.flatnonzero(first))
    return data.rows(first)._replace(weight=weight / weight.mean())


def effective_size(data):
    """The number of samples, or of equal weights that have the entropy of these: Martino, Elvira and Louzada
    (2017), "Effective sample size for importance sampling based on discrepancy measures".

    By the size of Kish, (sum w)^2 / sum w^2, 700 samples and one of weight 300, a row that came so often, would count as 11.
    """
    if data.weight is None:
        return len(data.x)
    share = data.weight[data.weight > 0] / data.weight.sum(dtype=np.float64)
    return np.exp(-(share * np.log(share)).sum())


def moments(x, weight=None):
    """Mean and standard deviation of each column, in float64."""
    if weight is None:
        return x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    mean = np.average(x, axis=0, weights=weight)
    return mean, np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weight))


def check_numbers(name, X, dtype, minimum=1):
    """X in its own precision, at most float64, finite also in that dtype: what is subtracted from large numbers is not to be
    rounded before."""
    X = as_array(name, X)
    checked = check_samples(name, X, dtype, minimum)
    own = np.float64 if X.dtype.kind not in "fiub" else np.promote_types(X.dtype, dtype)
    own = np.dtype(np.float64) if own not in (np.float32, np.float64) else own
    return checked if own == dtype else check_samples(name, X, own, minimum)


def _check_weights(sample_weight, n):
    """The weights in float64: finite, >= 0, not all zero."""
    weight = as_array("sample_weight", sample_weight)
    if weight.dtype.kind not in "fiub":
        raise TypeError(f"sample_weight must be an array of real numbers, got dtype {weight.dtype}")
    if weight.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), one weight for each sample, got {weight.shape}")
    weight = weight.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if len(bad):
        raise ValueError(f"sample_weight must be finite and >= 0, got {weight[bad[0]]} in row {bad[0]}")
    if not weight.any():
        raise ValueError("sample_weight must not be zero everywhere")
    return weight
