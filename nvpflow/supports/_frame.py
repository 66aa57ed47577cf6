"""The frame that a model was fitted to: samples are frames like it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Floats, Names
from nvpflow._validation.arguments import check_choice, shown

__all__ = ["Frame"]

LIBRARIES = ("pandas", "polars")
SIZES = {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (32, 64)}
# The types of columns that samples get back; "Int64" is a nullable type in pandas, and the plain one in polars.
NUMBERS = {f"{kind}{size}" for kind, sizes in SIZES.items() for size in sizes}
WIDEST = {"i": "int64", "u": "int64", "f": "float64"}


class Frame(NamedTuple):
    """The library of a frame, and the types of its columns by name: those in NUMBERS, or the same with other capitals."""

    library: str
    dtypes: tuple[str, ...]

    @classmethod
    def of(cls, X: Any) -> Self | None:
        """None unless X is a frame of pandas or polars."""
        for name in LIBRARIES:
            library = sys.modules.get(name)
            if library is not None and isinstance(X, library.DataFrame):
                return cls(name, tuple(str(dtype)[:40] for dtype in X.dtypes))
        return None

    @classmethod
    def restore(cls, value: Any, n_columns: int) -> Self:
        """Undo `list`, for what a file holds."""
        library, dtypes = value
        if not isinstance(dtypes, list) or len(dtypes) != n_columns or not all(isinstance(name, str) for name in dtypes):
            raise ValueError(f"frame must have {n_columns} names of types, got {shown(dtypes)}")
        return cls(check_choice("library of the frame", library, LIBRARIES), tuple(dtypes))

    def build(self, x: Floats, names: Names | Sequence[str], is_whole: npt.NDArray[np.bool_]) -> Any:
        """A frame of samples x (n, D) with the types of the columns: integers where `is_whole`, else floats."""
        columns = {
            name: _converted(column, dtype.lower(), whole)
            for name, column, dtype, whole in zip(names, x.T, self.dtypes, is_whole)
        }
        if self.library == "polars":
            import polars

            return polars.DataFrame(columns)
        import pandas

        frame = pandas.DataFrame(columns)
        return frame.astype({name: dtype for name, dtype in zip(names, self.dtypes) if _is_nullable(dtype, frame[name].dtype)})


def _converted(column: Floats, dtype: str, whole: bool) -> npt.NDArray[Any]:
    """The column in a type of NUMBERS. One of integers that does not hold all numbers gives way to a wider one."""
    if dtype not in NUMBERS or (not whole and not dtype.startswith("float")):
        return column
    found = np.dtype(dtype)
    if found.kind in "iu" and len(column):
        info = np.iinfo(found)
        if column.min() < info.min or column.max() > info.max:
            found = np.dtype(WIDEST[found.kind])
    return column.astype(found)


def _is_nullable(name: str, dtype: Any) -> bool:
    """Whether a name is that of a nullable type of pandas with the same numbers."""
    return name != name.lower() and name.lower() == str(dtype)
