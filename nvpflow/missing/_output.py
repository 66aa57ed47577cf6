"""What `impute` returns: arrays or frames like those that came in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from nvpflow._typing import ArrayLike, Bools
from nvpflow._validation.arrays import without_masks

__all__ = ["filled_like"]


def filled_like(X: ArrayLike, missing: Bools, filled: Sequence[Sequence[Any]], is_whole: Bools, is_category: Bools) -> Any:
    """Copies of X with filled cells, one for each of the N draws, or the only one.

    Parameters
    ----------
    X : array_like, shape (n, D)
        As it came in.
    missing : ndarray of bool, shape (n, D)
    filled : list of list of ndarray or list, N times D columns of n cells
        What to put into missing cells.
    is_whole, is_category : ndarray of bool, shape (D,)
        The columns of whole numbers, and those of categories.
    """
    for name, fill in (("pandas", _fill_pandas), ("polars", _fill_polars)):
        library = sys.modules.get(name)
        if library is not None and isinstance(X, library.DataFrame):
            frames = [fill(X, missing, columns, is_whole, is_category) for columns in filled]
            return frames if len(frames) > 1 else frames[0]
    arrays = np.stack([_fill_array(X, missing, columns, is_category) for columns in filled])
    return arrays if len(arrays) > 1 else arrays[0]


def _fill_array(X: ArrayLike, missing: Bools, columns: Sequence[Any], is_category: Bools) -> Any:
    own = getattr(X, "dtype", None)
    if is_category.any() and (own is None or own.kind not in "fiub"):
        table = np.array(X, dtype=object)
        for i, column in enumerate(columns):
            for row in np.flatnonzero(missing[:, i]).tolist():
                table[row, i] = column[row] if is_category[i] else float(column[row])
        return table
    x = np.where(missing, 0, np.asarray(without_masks(X))).astype(np.float64)
    dtype = own if own in (np.float32, np.float64) else np.float64
    return np.where(missing, np.stack([np.asarray(column, np.float64) for column in columns], axis=1), x).astype(dtype)


def _fill_pandas(X: Any, missing: Bools, columns: Sequence[Any], is_whole: Bools, is_category: Bools) -> Any:
    import pandas

    copy = X.copy()
    for i in np.flatnonzero(missing.any(axis=0)).tolist():
        column, rows = X.iloc[:, i].copy(), missing[:, i]
        if is_category[i]:
            column.iloc[rows] = pandas.array([columns[i][row] for row in np.flatnonzero(rows).tolist()], dtype=column.dtype)
        else:
            if column.dtype.kind in "iu" and not is_whole[i]:  # a nullable type
                column = column.astype("Float64")
            elif column.dtype.kind == "O":
                column = column.astype(np.float64)
            cells = columns[i][rows]
            values = cells.astype(np.int64) if column.dtype.kind in "iu" else cells
            column.iloc[rows] = pandas.array(values, dtype=column.dtype)
        copy.isetitem(i, column)
    return copy


def _fill_polars(X: Any, missing: Bools, columns: Sequence[Any], is_whole: Bools, is_category: Bools) -> Any:
    import polars

    found = []
    for i, column in enumerate(X.get_columns()):
        rows = np.flatnonzero(missing[:, i])
        if len(rows):
            as_float = column.dtype.is_integer() and not is_whole[i] and not is_category[i]
            column = column.cast(polars.Float64) if as_float else column
            cells = [columns[i][row] for row in rows.tolist()] if is_category[i] else columns[i][rows]
            column = column.clone().scatter(rows, polars.Series(cells).cast(column.dtype))
        found.append(column)
    return polars.DataFrame(found)
