"""Scores and samples as lazy arrays and frames of Dask."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import cloudpickle
import dask.array
import numpy as np
from dask.base import tokenize
from dask.delayed import delayed

from nvpflow._lazy import is_lazy
from nvpflow._sklearn.feature_names import check_feature_names
from nvpflow._typing import ArrayLike, Floats, Seed
from nvpflow._validation.arguments import check_int, draw_seeds, shown
from nvpflow._validation.arrays import as_array

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.outliers import FlowOutlierDetector

    Model: TypeAlias = FlowDensity | FlowOutlierDetector

__all__ = ["lazy_rows", "lazy_samples", "lazy_score", "lazy_scores", "sample"]


def sample(
    model: Model,
    n_samples: int,
    random_state: Seed = None,
    *,
    chunks: int | str = "auto",
    temperature: float = 1.0,
) -> Any:
    """Draw samples lazily, with Dask.

    Parameters
    ----------
    model : FlowDensity or FlowOutlierDetector
        Fitted without a context. With one, ``model.sample(n, context=context)`` takes the context as an array of Dask.
    n_samples : int
    random_state : int, Generator, RandomState or None
        As in `FlowDensity.sample`. Each chunk has a seed of its own, so the samples depend on `chunks`, but not on the
        scheduler.
    chunks : int or str, default "auto"
        Rows of a chunk, or its size, such as "64 MiB"; "auto": about as large as the configuration of Dask says.
    temperature : float, default 1.0
        As in `FlowDensity.sample`.

    Returns
    -------
    X : dask.array.Array, shape (n_samples, D), or dask.dataframe.DataFrame
        A frame where `FlowDensity.sample` returns one. Its index counts the samples.

    Raises
    ------
    NotFittedError, TypeError, ValueError

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> from nvpflow.scale.dask import sample
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> model = nvpflow.FlowDensity(max_iter=50, random_state=0).fit(X)
    >>> x = sample(model, 10_000_000, chunks=1_000_000)
    >>> x.shape, x.numblocks
    ((10000000, 2), (10, 1))
    """
    n_samples, options = check_int("n_samples", n_samples, 0), {"temperature": temperature}
    meta = model.sample(0, 0, **options)  # type: ignore[arg-type] # which also checks the model and the options
    sizes = _chunks(n_samples, model.n_features_in_, chunks, meta)
    seeds = draw_seeds(model.random_state if random_state is None else random_state, len(sizes))
    if not isinstance(meta, np.ndarray):
        return _frame_of_samples(model, sizes, seeds, options, meta)
    return dask.array.blockwise(
        _draw, "ij", _one_per_block(sizes), "i", _one_per_block(seeds), "i", _shared(model), None, options, None,
        new_axes={"j": meta.shape[1]}, adjust_chunks={"i": tuple(sizes)}, dtype=meta.dtype, meta=meta,
    )  # fmt: skip


def lazy_rows(
    model: Model, method: str, X: Any, context: Any, names: tuple[str, ...], dtype: Any, options: dict[str, Any]
) -> Any:
    """The results of a method for the rows of X: a number for each row and name.

    Parameters
    ----------
    model : FlowDensity or FlowOutlierDetector
        As it is now: later fits do not matter.
    method : str
    X : dask.array.Array or dask.dataframe.DataFrame
    context : array_like, or array or frame of Dask, or None
        An array of NumPy has one row for all samples, or as many rows as X.
    names : tuple of str
        Of the results.
    dtype : dtype
        Of the results.
    options : dict
        Other arguments of the method.

    Returns
    -------
    results : array or series of Dask, or tuple of them
        Lazy, with the chunks of an array, or the index and the divisions of a frame. One for each name.
    """
    if isinstance(X, dask.array.Array):
        found = _of_array(model, method, X, context, len(names), dtype, options)
        results = tuple(found[:, i] for i in range(len(names))) if len(names) > 1 else (found[:, 0],)
    else:
        found = _of_frame(model, method, X, context, names, dtype, options)
        results = tuple(found[name] for name in names)
    return results[0] if len(names) == 1 else results


def lazy_scores(model: Model, X: Any, context: Any, **options: Any) -> Any:
    """What `score_samples` returns, lazily. The options are its other arguments, checked."""
    names = ("log_density", *(["std"] * options["return_std"]), *(["error"] * options["return_error"]))
    dtype = np.dtype(np.float64) if hasattr(model, "offset_") else model._flow_dtype()
    return lazy_rows(model, "score_samples", X, context, names, dtype, options)


def lazy_score(model: Model, X: Any, context: Any, sample_weight: Any) -> Any:
    """The mean log-density of X, weighted if there are weights, as an array of Dask without dimensions, in float64."""
    log_density = _flat(model.score_samples(X, context=context)).astype(np.float64)
    if sample_weight is None:
        return log_density.mean()
    weight = _one_per_row(_flat(_rows_like(log_density, "sample_weight", sample_weight)), log_density)
    weight = weight.map_blocks(_checked_weight, dtype=np.float64)
    # A sample of weight 0 may have no density.
    products = dask.array.map_blocks(_weighted, log_density, weight, dtype=np.float64)
    return dask.array.map_blocks(_ratio, products.sum(), weight.sum(), dtype=np.float64)


def lazy_samples(model: Model, n_samples: int, random_state: Seed, context: Any, per_context: bool, temperature: float) -> Any:
    """Samples given a context of Dask, in its chunks."""
    if not isinstance(context, dask.array.Array):
        context = _array_of_numbers(context)
    n, columns = context.shape
    if not per_context and not np.isnan(n) and check_int("n_samples", n_samples, 0) != n:
        raise ValueError(f"context must have shape ({n_samples}, {columns}), one row for each sample, got {context.shape}")
    context = context.rechunk({1: -1})
    options = {"per_context": per_context, "temperature": temperature}
    meta = model.sample(n_samples if per_context else 0, 0, context=np.empty((0, columns)), **options)  # type: ignore[arg-type]
    density: Any = getattr(model, "estimator_", model)
    if density._output_kind() is None:  # the samples may be a frame like that of the fit
        meta = np.asarray(meta)
    if not isinstance(meta, np.ndarray):
        raise ValueError("set_output must be the default where the context is one of Dask: the samples are an array")
    draws = draw_seeds(model.random_state if random_state is None else random_state, len(context.chunks[0]))
    new_axes = {"s": n_samples, "j": meta.shape[-1]} if per_context else {"j": meta.shape[-1]}
    return dask.array.blockwise(
        _draw_given, "isj" if per_context else "ij", context, "ic", _one_per_block(draws), "i", _shared(model), None,
        n_samples if per_context else None, None, options, None,
        new_axes=new_axes, align_arrays=False, concatenate=True, dtype=meta.dtype, meta=meta,
    )  # fmt: skip


def _shared(model: Model) -> Any:
    """The model as it is now, as one task whose result all tasks of a worker share."""
    content = cloudpickle.dumps(model)
    return delayed(pickle.loads)(content, dask_key_name=f"{type(model).__name__}-{tokenize(content)}")


def _of_array(model: Model, method: str, X: Any, context: Any, n_results: int, dtype: Any, options: dict[str, Any]) -> Any:
    model._check_fitted()
    if X.ndim != 2:
        raise ValueError(f"X must have shape (n, D), got {X.shape}")
    if X.shape[1] != model.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(model).__name__} is expecting {model.n_features_in_} features as input"
        )
    rows = _context_of_rows(X, context)
    index = "ic" if is_lazy(rows) else None
    return dask.array.blockwise(
        _results, "ik", X, "ij", rows, index, _shared(model), None, method, None, n_results, None, dtype, None, options, None,
        new_axes={"k": n_results}, concatenate=True, dtype=dtype, meta=np.empty((0, 0), dtype),
    )  # fmt: skip


def _of_frame(
    model: Model, method: str, X: Any, context: Any, names: tuple[str, ...], dtype: Any, options: dict[str, Any]
) -> Any:
    import pandas

    model._check_fitted()
    check_feature_names(model, X._meta)
    if len(X.columns) != model.n_features_in_:
        raise ValueError(
            f"X has {len(X.columns)} features, but {type(model).__name__} is expecting {model.n_features_in_} features as "
            "input"
        )
    meta = pandas.DataFrame({name: np.empty(0, dtype) for name in names}, index=X._meta.index)
    rows = _context_of_rows(X, context)
    return X.map_partitions(
        _partition_of_results, rows, _shared(model), method, names, dtype, options, meta=meta, align_dataframes=False
    )


def _context_of_rows(X: Any, context: Any) -> Any:
    """A context of Dask for the rows of X, or one row for all of them, or None."""
    if context is None:
        return None
    if is_lazy(context):
        return _aligned(X, context)
    if isinstance(context, Mapping):
        if any(np.ndim(value) for value in context.values()):
            raise ValueError("context must be a dict of single values where X is one of Dask, got columns")
        return context
    rows = as_array("context", context)
    if rows.ndim == 1 or (rows.ndim == 2 and len(rows) == 1):
        return context
    return _rows_like(X, "context", rows)


def _aligned(X: Any, context: Any) -> Any:
    """A context of Dask in the partitions of X."""
    if isinstance(X, dask.array.Array) != isinstance(context, dask.array.Array):
        raise TypeError(f"X and context must both be arrays or both frames of Dask, got a context of {type(context).__name__}")
    if isinstance(X, dask.array.Array):
        return context
    if X.known_divisions and context.known_divisions and X.divisions != context.divisions:
        return context.repartition(divisions=X.divisions, force=True)
    if X.npartitions != context.npartitions:
        raise ValueError(f"context must have the {X.npartitions} partitions of X, got {context.npartitions}")
    return context


def _rows_like(X: Any, name: str, rows: Any) -> Any:
    """Rows of NumPy in the chunks of X. What is of Dask stays as it is."""
    if hasattr(rows, "__dask_graph__"):
        return rows
    rows, n = as_array(name, rows), X.shape[0] if isinstance(X, dask.array.Array) else np.nan
    if np.isnan(n):
        raise ValueError(f"{name} must be an array or a frame of Dask, in the partitions of X, got a {type(rows).__name__}")
    if len(rows) != n:
        raise ValueError(f"{name} must have one row for each of {n} samples, got shape {rows.shape}")
    return dask.array.from_array(rows, chunks=(X.chunks[0], *rows.shape[1:]))


def _one_per_row(weight: Any, log_density: Any) -> Any:
    """Weights of Dask in the chunks of the log-densities. Where lengths are unknown, the workers check them."""
    if weight.ndim != 1 or not np.isnan(weight.shape + log_density.shape).any():
        if weight.shape != log_density.shape:
            raise ValueError(f"sample_weight must have one weight for each sample, got {weight.shape} for {log_density.shape}")
        return weight.rechunk(log_density.chunks)
    if weight.numblocks != log_density.numblocks:
        raise ValueError(f"sample_weight must have the {log_density.numblocks[0]} partitions of X, got {weight.numblocks[0]}")
    return weight


def _flat(values: Any) -> Any:
    """A series of Dask as an array."""
    return values if isinstance(values, dask.array.Array) else values.to_dask_array()


def _array_of_numbers(frame: Any) -> Any:
    if not is_lazy(frame):
        raise TypeError(f"context must be an array or a frame of Dask, got {shown(frame)}")
    return frame.to_dask_array()


def _chunks(n: int, dim: int, chunks: int | str, meta: Any) -> list[int]:
    """The numbers of rows of the chunks of n samples."""
    if not isinstance(chunks, str):
        chunks = check_int("chunks", chunks, 1)
    dtype = meta.dtype if isinstance(meta, np.ndarray) and meta.dtype != object else np.dtype(np.float64)
    return list(dask.array.core.normalize_chunks((chunks, -1), (n, dim), dtype=dtype)[0])


def _one_per_block(numbers: list[int]) -> Any:
    return dask.array.from_array(np.array(numbers, np.uint64), chunks=1)


def _frame_of_samples(model: Model, sizes: list[int], seeds: list[int], options: dict[str, Any], meta: Any) -> Any:
    import dask.dataframe
    import pandas

    if not isinstance(meta, pandas.DataFrame):
        raise ValueError(f"the samples of the model must be arrays or frames of pandas for Dask, got {type(meta).__name__}")
    shared, ends = _shared(model), np.cumsum(sizes)
    part = delayed(_frame_of_draws)
    parts = [part(end - size, size, seed, shared, options) for end, size, seed in zip(ends.tolist(), sizes, seeds)]
    divisions = (*(ends - sizes).tolist(), max(0, int(ends[-1]) - 1))
    return dask.dataframe.from_delayed(parts, meta=meta, divisions=divisions, verify_meta=False)


# What workers run.


def _results(
    rows: Any, context: Any, model: Model, method: str, n_results: int, dtype: Any, options: dict[str, Any]
) -> Floats:
    """Results (n, n_results) of a method for a block of rows, which may be empty."""
    if not len(rows):
        return np.empty((0, n_results), dtype)
    found = (
        getattr(model, method)(rows, context=context, **options)
        if context is not None
        else getattr(model, method)(rows, **options)
    )
    table: Floats = np.stack(found if isinstance(found, tuple) else (found,), axis=-1).astype(dtype, copy=False)
    return table


def _partition_of_results(
    rows: Any, context: Any, model: Model, method: str, names: tuple[str, ...], dtype: Any, options: dict[str, Any]
) -> Any:
    import pandas

    table = _results(rows, context, model, method, len(names), dtype, options)
    return pandas.DataFrame(table, index=rows.index, columns=list(names))


def _draw(size: ArrayLike, seed: ArrayLike, model: Model, options: dict[str, Any]) -> Floats:
    (n,), (state,) = np.asarray(size).tolist(), np.asarray(seed).tolist()
    return np.asarray(model.sample(n, state, **options))


def _frame_of_draws(first: int, size: int, seed: int, model: Model, options: dict[str, Any]) -> Any:
    import pandas

    frame: Any = model.sample(size, seed, **options)
    return frame.set_axis(pandas.RangeIndex(first, first + size), axis=0)


def _draw_given(context: Floats, seed: ArrayLike, model: Model, n_samples: int | None, options: dict[str, Any]) -> Floats:
    (state,) = np.asarray(seed).tolist()
    return np.asarray(model.sample(len(context) if n_samples is None else n_samples, state, context=context, **options))


def _checked_weight(weight: Any) -> Floats:
    weight = np.asarray(weight, np.float64)
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError("sample_weight must be finite and >= 0")
    return weight


def _weighted(log_density: Floats, weight: Floats) -> Floats:
    if log_density.shape != weight.shape:
        raise ValueError(f"sample_weight must have one weight for each sample, got {len(weight)} for {len(log_density)}")
    return np.where(weight > 0, weight * np.where(weight > 0, log_density, 0), 0)


def _ratio(total: Any, weight: Any) -> Any:
    if weight == 0:
        raise ValueError("sample_weight must not be zero everywhere")
    return total / weight
