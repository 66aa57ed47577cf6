"""Samples with missing cells, as they come in."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvpflow._training.dataset import check_numbers
from nvpflow._typing import ArrayLike, FloatDType, Floats, Ints
from nvpflow._validation.arguments import FLOAT64
from nvpflow._validation.arrays import as_array, check_samples, column_label, without_masks

__all__ = ["has_missing", "rows_with_values"]


def has_missing(X: ArrayLike) -> bool:
    """Whether X, which holds real numbers, has missing cells. What is wrong with X otherwise is for others to say."""
    try:
        array = as_array("X", without_masks(X))
        numbers = check_samples("X", array, FLOAT64, 0, missing=True) if array.dtype == object else array
    except (TypeError, ValueError):
        return False
    return bool(numbers.dtype.kind == "f" and np.isnan(numbers).any())


def rows_with_values(
    X: ArrayLike,
    context: ArrayLike | None,
    sample_weight: ArrayLike | None,
    dtype: FloatDType,
    codes: Ints | None = None,
) -> tuple[Floats, Any, Any, Ints | None]:
    """Check X, with NaN for missing cells. Leave out the rows that miss all cells: they say nothing of the density.

    `codes` (n, K) are those of categories beside the numbers of X; -1 is missing.

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
        return x, context, sample_weight, codes
    rows = _rows("context", context, known), _rows("sample_weight", sample_weight, known)
    return x[known], *rows, None if codes is None else codes[known]


def _rows(name: str, values: ArrayLike | None, known: np.typing.NDArray[np.bool_]) -> Any:
    """The rows of context or weights. One of another length is left for the checks that follow."""
    if values is None:
        return None
    array = as_array(name, values)
    return array[known] if array.ndim and len(array) == len(known) else array
