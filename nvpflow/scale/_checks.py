"""Checks of the rows of a source, which name column and row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nvpflow._training.degenerate import CONSTANT
from nvpflow._typing import FloatDType, Floats, Ints
from nvpflow._validation.cells import CellError

if TYPE_CHECKING:
    from nvpflow._training.settings import Settings
    from nvpflow.scale._source import RowSource
    from nvpflow.supports import Declared

__all__ = ["check_constant", "check_finite", "check_support"]


def check_finite(source: RowSource, dtype: FloatDType, numbers: Ints, rows: Floats) -> None:
    """Raise a ValueError that names the first value that is not finite in the dtype of the model."""
    with np.errstate(over="ignore"):
        good = np.isfinite(rows.astype(dtype, copy=False))
    if good.all():
        return
    row, column = np.argwhere(~good)[0]
    hint = ": missing cells need a table in memory" if np.isnan(rows[row, column]) else ""
    raise CellError(
        f"X must be finite in {dtype}, got {rows[row, column]} in column {_label(source, int(column))}, ", numbers[row], hint
    )


def check_support(declared: Declared, numbers: Ints, rows: Floats) -> None:
    """Raise a ValueError that names the first value outside of the support of its column."""
    try:
        declared.check(rows)
    except CellError as error:  # it counts rows from the first one of the batch
        raise error.at(numbers[error.row]) from None


def check_constant(source: RowSource, settings: Settings, low: Floats, high: Floats) -> None:
    constant = np.flatnonzero(low == high)
    if len(constant) and settings.constant_columns == "error":
        labels = ", ".join(_label(source, column) for column in constant[:10].tolist())
        raise ValueError(CONSTANT.format(labels))


def _label(source: RowSource, column: int) -> str:
    return str(column) if source.names is None else f"{source.names[column]!r:.50}"
