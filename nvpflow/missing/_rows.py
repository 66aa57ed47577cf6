"""Samples with missing cells, as they come in."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvpflow._training.dataset import check_numbers
from nvpflow._typing import ArrayLike, FloatDType, Floats, Ints, Names
from nvpflow._validation.arguments import FLOAT64
from nvpflow._validation.arrays import as_array, check_samples, column_label, without_masks
from nvpflow._warnings import warn_user

__all__ = ["has_missing", "rows_with_values", "warn_of_pairs_apart"]

MOST_PAIRS = 5  # that a warning names


def has_missing(X: ArrayLike) -> bool:
    """Whether X, which holds real numbers, has missing cells. What is wrong with X otherwise is for others to say."""
    try:
        array = as_array("X", without_masks(X))
        numbers = check_samples("X", array, FLOAT64, 0, missing=True) if array.dtype == object else array
    except (TypeError, ValueError):
        return False
    return bool(numbers.dtype.kind == "f" and np.isnan(numbers).any())


def rows_with_values(
    X: ArrayLike, dtype: FloatDType, codes: Ints | None = None, **of_rows: ArrayLike | None
) -> tuple[Floats, Ints | None, list[Any]]:
    """Check X, with NaN for missing cells. Leave out the rows that miss all cells: they say nothing of the density.

    `codes` (n, K) are those of categories beside the numbers of X; -1 is missing. `of_rows`, by name, are contexts, weights
    and whatever else belongs to the rows.

    Raises
    ------
    ValueError
        If a column has no values at all.
    """
    is_empty = codes is not None and as_array("X", X).shape[1] == 0
    x = np.empty((len(codes), 0)) if codes is not None and is_empty else check_numbers("X", X, dtype, 1, missing=True)
    missing = np.isnan(x)
    empty = np.flatnonzero(missing.all(axis=0))
    if len(empty):
        raise ValueError(
            f"X must have values in every column, and column {column_label(X, empty[0])} has none"
            + f", nor have {len(empty) - 1} more" * (len(empty) > 1)
        )
    known = np.asarray(~missing.all(axis=1))
    if codes is not None:
        known |= (codes >= 0).any(axis=1)
    if known.all():
        return x, codes, list(of_rows.values())
    kept = [_rows(name, values, known) for name, values in of_rows.items()]
    return x[known], None if codes is None else codes[known], kept


def warn_of_pairs_apart(x: Floats, names: Names | None) -> None:
    """Warn of pairs of columns of x (n, D) of which no row has both."""
    known = (~np.isnan(x)).astype(np.float32)
    pairs = np.argwhere(np.triu(known.T @ known == 0, 1))
    if len(pairs):
        labels: list[object] = list(range(x.shape[1])) if names is None else names.tolist()
        shown = ", ".join(f"{labels[i]!r:.50} and {labels[j]!r:.50}" for i, j in pairs[:MOST_PAIRS].tolist())
        shown += ", ..." * (len(pairs) > MOST_PAIRS)
        warn_user(
            f"no row of X has values of both columns {shown}: what they say of each other, given the other columns, is not in "
            "the data, and the model assumes that it is nothing"
        )


def _rows(name: str, values: ArrayLike | None, known: np.typing.NDArray[np.bool_]) -> Any:
    """The rows of an array. One of another length is left for the checks that follow."""
    if values is None:
        return None
    array = as_array(name, values)
    return array[known] if array.ndim and len(array) == len(known) else array
