"""What `impute` returns: arrays or frames like those that came in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from nvpflow._typing import ArrayLike, Bools
from nvpflow._validation.arrays import without_masks
from nvpflow.supports._frame import pandas_numbers, polars_numbers
from nvpflow.supports._kinds import Kind
from nvpflow.supports._number_types import number_type

__all__ = ["filled_like"]


def filled_like(X: ArrayLike, missing: Bools, filled: Sequence[Sequence[Any]], kinds: Sequence[Kind | None]) -> Any:
    """Copies of X with filled cells, one for each of the N draws, or the only one.

    Parameters
    ----------
    X : array_like, shape (n, D)
        As it came in.
    missing : ndarray of bool, shape (n, D)
    filled : list of list of ndarray or list, N times D columns of n cells
        What to put into missing cells.
    kinds : sequence of Kind or None, length D
        None for categories.
    """
    for name, fill in (("pandas", _fill_pandas), ("polars", _fill_polars)):
        library = sys.modules.get(name)
        if library is not None and isinstance(X, library.DataFrame):
            frames = [fill(X, missing, columns, kinds) for columns in filled]
            return frames if len(frames) > 1 else frames[0]
    is_category = np.array([kind is None for kind in kinds])
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


def _nearest(cells: Any, dtype: str, kind: Kind) -> Any:
    """Cells as numbers that the type of their column holds."""
    of_column = number_type(dtype)
    return cells if of_column is None else of_column.nearest(cells, kind)


def _fill_pandas(X: Any, missing: Bools, columns: Sequence[Any], kinds: Sequence[Kind | None]) -> Any:
    import pandas

    copy = X.copy()
    for i in np.flatnonzero(missing.any(axis=0)).tolist():
        column, rows, kind = X.iloc[:, i].copy(), missing[:, i], kinds[i]
        if kind is None:
            cells = pandas.array([columns[i][row] for row in np.flatnonzero(rows).tolist()], dtype=column.dtype)
        else:
            column = column.astype(np.float64) if column.dtype.kind == "O" else column
            dtype = str(column.dtype)
            cells = pandas_numbers(pandas, _nearest(columns[i][rows], dtype, kind), dtype).array
        if isinstance(column.dtype, pandas.SparseDtype):  # which takes no single cells
            dense = column.sparse.to_dense()
            dense.iloc[rows] = cells.to_dense()
            column = dense.astype(column.dtype)
        else:
            column.iloc[rows] = cells
        copy.isetitem(i, column)
    return copy


def _fill_polars(X: Any, missing: Bools, columns: Sequence[Any], kinds: Sequence[Kind | None]) -> Any:
    import polars

    found = []
    for i, (column, kind) in enumerate(zip(X.get_columns(), kinds)):
        rows = np.flatnonzero(missing[:, i])
        if len(rows):
            if kind is None:
                cells = polars.Series([columns[i][row] for row in rows.tolist()]).cast(column.dtype)
            else:
                dtype = str(column.dtype)
                cells = polars_numbers(polars, column.name, _nearest(columns[i][rows], dtype, kind), dtype)
            column = column.clone().scatter(rows, cells)
        found.append(column)
    return polars.DataFrame(found)
