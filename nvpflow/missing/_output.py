"""What `impute` returns: arrays or frames like those that came in."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from nvpflow._typing import ArrayLike, Bools, Floats

__all__ = ["filled_like"]


def filled_like(X: ArrayLike, x: Floats, filled: Floats, is_whole: Bools) -> Any:
    """Copies of X with filled cells, one for each of the N draws, or the only one.

    Parameters
    ----------
    X : array_like, shape (n, D)
        As it came in.
    x : ndarray, shape (n, D)
        The same as numbers, NaN where a cell is missing.
    filled : ndarray of float64, shape (N, n, D)
    is_whole : ndarray of bool, shape (D,)
        The columns of whole numbers.
    """
    missing = np.isnan(x)
    for name, fill in (("pandas", _fill_pandas), ("polars", _fill_polars)):
        library = sys.modules.get(name)
        if library is not None and isinstance(X, library.DataFrame):
            frames = [fill(X, missing, one, is_whole) for one in filled]
            return frames if len(frames) > 1 else frames[0]
    own = getattr(X, "dtype", None)
    dtype = own if own in (np.float32, np.float64) else np.float64
    arrays = np.where(missing, filled, x).astype(dtype)
    return arrays if len(arrays) > 1 else arrays[0]


def _fill_pandas(X: Any, missing: Bools, filled: Floats, is_whole: Bools) -> Any:
    import pandas

    copy = X.copy()
    for i in np.flatnonzero(missing.any(axis=0)):
        column = X.iloc[:, i]
        if column.dtype.kind in "iu" and not is_whole[i]:  # a nullable type
            column = column.astype("Float64")
        elif column.dtype.kind == "O":
            column = column.astype(np.float64)
        cells = filled[missing[:, i], i]
        values = cells.astype(np.int64) if column.dtype.kind in "iu" else cells
        column = column.copy()
        column.iloc[missing[:, i]] = pandas.array(values, dtype=column.dtype)
        copy.isetitem(i, column)
    return copy


def _fill_polars(X: Any, missing: Bools, filled: Floats, is_whole: Bools) -> Any:
    import polars

    columns = []
    for i, column in enumerate(X.get_columns()):
        rows = np.flatnonzero(missing[:, i])
        if len(rows):
            column = column if is_whole[i] or not column.dtype.is_integer() else column.cast(polars.Float64)
            column = column.clone().scatter(rows, polars.Series(filled[rows, i]).cast(column.dtype))
        columns.append(column)
    return polars.DataFrame(columns)
