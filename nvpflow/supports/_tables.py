"""Tables of mixed columns: numbers, and the values of categories."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nvpflow._validation.arrays import Labelled, as_array
from nvpflow.supports._category import plain_value

__all__ = ["Parts", "category_columns", "count_columns", "library_of", "take_apart"]

LIBRARIES = ("pandas", "polars")


class Parts(NamedTuple):
    """The columns of a table.

    Attributes
    ----------
    numbers : array_like, shape (n, R)
        The columns that are no categories, not checked yet.
    values : list of list, K times n
        Those that are.
    is_object : bool
        Whether the table is an array or a sequence of objects.
    """

    numbers: Any
    values: list[list[Any]]
    is_object: bool


def library_of(X: object) -> str | None:
    """The library of a frame: None unless X is a frame of pandas or polars."""
    for name in LIBRARIES:
        library = sys.modules.get(name)
        if library is not None and isinstance(X, library.DataFrame):
            return name
    return None


def category_columns(X: Any) -> tuple[int, ...]:
    """The columns of a frame that are categories by themselves: categorical, boolean and text columns."""
    library = library_of(X)
    if library == "pandas":
        return tuple(i for i in range(X.shape[1]) if _is_category_in_pandas(X.iloc[:, i]))
    if library == "polars":
        polars = sys.modules["polars"]
        kinds = (polars.Categorical, polars.Enum, polars.Boolean, polars.String)
        return tuple(i for i, dtype in enumerate(X.dtypes) if dtype in kinds or isinstance(dtype, kinds))
    return ()


def _is_category_in_pandas(column: Any) -> bool:
    name = str(column.dtype)
    if name == "object":
        given = [value for value in column.tolist() if value is not None and value == value]
        return bool(given) and (all(isinstance(v, str) for v in given) or all(isinstance(v, (bool, np.bool_)) for v in given))
    return name in ("category", "bool", "boolean", "bool[pyarrow]", "str") or "string" in name


def count_columns(name: str, X: Any) -> int:
    """The number of columns of a table."""
    if library_of(X) is not None:
        return int(X.shape[1])
    return int(_as_table(name, X).shape[1])


def take_apart(name: str, X: Any, columns: Sequence[int]) -> Parts:
    """Separate the columns of categories from the others."""
    library = library_of(X)
    if library is not None:
        others = [i for i in range(X.shape[1]) if i not in columns]
        numbers = np.empty((X.shape[0], 0))
        if library == "pandas":
            return Parts(X.iloc[:, others] if others else numbers, [X.iloc[:, i].tolist() for i in columns], False)
        return Parts(X[:, others] if others else numbers, [X.to_series(i).to_list() for i in columns], False)
    table = _as_table(name, X)
    others = [i for i in range(table.shape[1]) if i not in columns]
    labels = X.labels if isinstance(X, Labelled) else None
    numbers = Labelled.of(table[:, others], others)
    numbers.labels = numbers.labels if labels is None else [labels[i] for i in others]
    return Parts(numbers, [table[:, i].tolist() for i in columns], table.dtype.kind not in "fiub")


def _as_table(name: str, X: Any) -> npt.NDArray[Any]:
    """X as an array of numbers if it holds nothing else, or else of objects."""
    if isinstance(X, (list, tuple)) and not _holds_numbers(X):
        try:
            table: npt.NDArray[Any] = np.array(X, dtype=object)  # without, numbers beside texts would become texts
        except ValueError as error:
            raise ValueError(f"{name} must have rows of the same length: {error}") from error
    else:
        table = as_array(name, X)
    if table.ndim != 2:
        raise ValueError(
            f"{name} must have shape (n, D), got {table.shape}. Reshape your data: {name}.reshape(-1, 1) makes one "
            f"column, {name}.reshape(1, -1) one sample"
        )
    return table


def _holds_numbers(rows: Sequence[Any]) -> bool:
    """Whether all cells of rows are numbers or bools, of which some are numbers."""
    try:
        cells = [plain_value(cell) for row in rows for cell in row]
    except TypeError:  # a row that is no sequence: the conversion to an array says more
        return True
    return all(isinstance(cell, (int, float)) for cell in cells) and not all(isinstance(cell, bool) for cell in cells)
