"""pyarrow, which is imported when it is needed, and the floats that hold the numbers of its types."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvpflow._validation.arrays import TIMES
from nvpflow.scale._source import NO_CATEGORIES

__all__ = ["float_type", "import_arrow"]


def import_arrow() -> Any:
    """pyarrow with its modules dataset and parquet."""
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.dataset
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"this needs pyarrow: pip install 'nvpflow[scale]' ({error})") from error
    return pyarrow


def float_type(name: str, kind: Any) -> type[np.floating[Any]]:
    """The dtype for a column of a type of pyarrow. Raise a TypeError if it has no numbers."""
    types = import_arrow().types
    if kind in ("float", "halffloat", "int8", "int16", "uint8", "uint16"):
        return np.float32
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return np.float64
    if types.is_null(kind):
        raise TypeError(f"column {name!r} of X must hold real numbers, got no value in any row")
    hint = TIMES if types.is_temporal(kind) else f": {NO_CATEGORIES}"
    raise TypeError(f"column {name!r} of X must hold real numbers, got {kind!s:.100}{hint}")
