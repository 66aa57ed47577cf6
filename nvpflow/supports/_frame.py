"""The frame that a model was fitted to: samples are frames like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from nvpflow._sklearn.feature_names import other_labels
from nvpflow._typing import Floats, Names
from nvpflow._validation.arguments import check_bool, check_choice, shown
from nvpflow.supports._category import plain_values, restore_values
from nvpflow.supports._tables import LIBRARIES, library_of

__all__ = ["Frame"]

SIZES = {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (32, 64)}
# The types of columns that samples get back; "Int64" is a nullable type in pandas, and the plain one in polars.
NUMBERS = {f"{kind}{size}" for kind, sizes in SIZES.items() for size in sizes}
OF_ARROW = {f"{name}[pyarrow]" for name in (*NUMBERS, "double", "float")}
WIDEST = {"i": "int64", "u": "int64", "f": "float64"}
# Further types that columns of categories get back.
OF_CATEGORIES = {
    "pandas": ("bool", "boolean", "bool[pyarrow]", "object", "str", "string", "string[pyarrow]", "large_string[pyarrow]"),
    "polars": ("Boolean", "String", "Categorical"),
}


class Frame(NamedTuple):
    """The library of a frame, and the types and labels of its columns.

    Attributes
    ----------
    library : str
    dtypes : tuple of str
        By name: those in NUMBERS, or the same with other capitals, and those of categories.
    declared : tuple of (values, bool) or None for each column
        The values that a categorical type of pandas or an Enum of polars declares, and whether they are ordered.
    labels : tuple or None
        Of the columns, if they are no texts. Texts are feature names, which the model has.
    """

    library: str
    dtypes: tuple[str, ...]
    declared: tuple[tuple[tuple[Any, ...], bool] | None, ...]
    labels: tuple[Any, ...] | None = None

    @classmethod
    def of(cls, X: Any) -> Self | None:
        """None unless X is a frame of pandas or polars."""
        library = library_of(X)
        if library is None:
            return None
        dtypes = list(X.dtypes)
        return cls(library, tuple(str(dtype)[:40] for dtype in dtypes), tuple(map(_declared, dtypes)), other_labels(X))

    def plain(self) -> list[Any]:
        """The frame in types that JSON has."""
        labels = None if self.labels is None else _plain_labels(self.labels)
        if not any(self.declared) and labels is None:
            return [self.library, list(self.dtypes)]
        declared = [of and [plain_values("the categories of a column", of[0]), of[1]] for of in self.declared]
        return [self.library, list(self.dtypes), declared] + [labels] * (labels is not None)

    @classmethod
    def restore(cls, value: Any, n_columns: int) -> Self:
        """Undo `plain`, for what a file holds."""
        library, dtypes, *rest = value
        if not isinstance(dtypes, list) or len(dtypes) != n_columns or not all(isinstance(name, str) for name in dtypes):
            raise ValueError(f"frame must have {n_columns} names of types, got {shown(dtypes)}")
        declared = rest[0] if rest else [None] * n_columns
        if not isinstance(declared, list) or len(declared) != n_columns or len(rest) > 2:
            raise ValueError(f"frame must have the categories of {n_columns} columns, got {shown(declared)}")
        of_columns = tuple(None if of is None else _restore_declared(of) for of in declared)
        labels = _restore_labels(rest[1], n_columns) if len(rest) > 1 else None
        return cls(check_choice("library of the frame", library, LIBRARIES), tuple(dtypes), of_columns, labels)

    def build(self, columns: Sequence[Any], names: Names | Sequence[Any], is_whole: npt.NDArray[np.bool_]) -> Any:
        """A frame of columns with their types: arrays of numbers, integers where `is_whole`, or lists of values.

        A type that does not hold the values of its column gives way to another.
        """
        if self.library == "polars":
            return self._build_polars(columns, names, is_whole)
        import pandas

        found = {}  # by number, as names may repeat
        for i, (column, dtype, declared, whole) in enumerate(zip(columns, self.dtypes, self.declared, is_whole)):
            if isinstance(column, list):
                found[i] = _series(pandas, column, dtype, declared)
                continue
            numbers = _converted(column, dtype.lower(), whole)
            found[i] = pandas.Series(numbers, dtype=dtype if _is_nullable(dtype, numbers.dtype) else None)
            if dtype.startswith("Sparse[") or dtype in OF_ARROW:
                found[i] = _of_type(found[i], dtype)
        frame = pandas.DataFrame(found)
        if all(isinstance(name, tuple) for name in names):
            frame.columns = pandas.MultiIndex.from_tuples(list(names))
        elif list(names) != list(range(len(names))):
            frame.columns = list(names)
        return frame

    def _build_polars(self, columns: Sequence[Any], names: Names | Sequence[Any], is_whole: npt.NDArray[np.bool_]) -> Any:
        import polars

        found = []
        for name, column, dtype, declared, whole in zip(names, columns, self.dtypes, self.declared, is_whole):
            name = str(name)
            if isinstance(column, list):
                found.append(_polars_series(polars, name, column, dtype, declared))
            else:
                found.append(polars.Series(name, _converted(column, dtype.lower(), whole)))
        return polars.DataFrame(found)


def _plain_labels(labels: tuple[Any, ...]) -> list[Any] | None:
    """Labels in types that JSON has: numbers, and tuples of them and of texts. None if there are others, such as dates."""
    plain = [list(label) if isinstance(label, tuple) else label for label in labels]
    cells = [cell for label in plain for cell in (label if isinstance(label, list) else [label])]
    return plain if all(type(cell) in (str, int) for cell in cells) else None


def _restore_labels(value: Any, n_columns: int) -> tuple[Any, ...]:
    """Undo `_plain_labels`."""
    if not isinstance(value, list) or len(value) != n_columns or _plain_labels(tuple(value)) is None:
        raise ValueError(f"frame must have the labels of {n_columns} columns, got {shown(value)}")
    return tuple(tuple(label) if isinstance(label, list) else label for label in value)


def _declared(dtype: Any) -> tuple[tuple[Any, ...], bool] | None:
    """What a categorical type declares; None for other types and where the values are not fixed."""
    categories = getattr(dtype, "categories", None)
    if categories is None or callable(categories) or type(dtype).__name__ == "Categorical":  # of polars, which grows
        return None
    return tuple(categories.to_list() if hasattr(categories, "to_list") else categories), bool(
        getattr(dtype, "ordered", False)
    )


def _restore_declared(value: Any) -> tuple[tuple[Any, ...], bool]:
    values, ordered = value
    return restore_values("the categories of a column", values), check_bool("ordered", ordered)


def _series(pandas: Any, column: list[Any], dtype: str, declared: tuple[tuple[Any, ...], bool] | None) -> Any:
    """A series of categories."""
    if declared is not None and set(column) <= set(declared[0]):
        values, ordered = declared
        return pandas.Series(pandas.Categorical(column, categories=list(values), ordered=ordered))
    known = dtype in OF_CATEGORIES["pandas"] or dtype.lower() in NUMBERS
    try:
        return pandas.Series(column, dtype=dtype if known else None)
    except (ImportError, OverflowError, TypeError, ValueError):
        return pandas.Series(column)


def _of_type(series: Any, dtype: str) -> Any:
    """The numbers in another type of pandas, if it is known there and holds all of them."""
    try:
        converted = series.astype(dtype)
    except (ArithmeticError, ImportError, TypeError, ValueError):
        return series
    return converted if bool((converted.to_numpy() == series.to_numpy()).all()) else series


def _polars_series(
    polars: Any, name: str, column: list[Any], dtype: str, declared: tuple[tuple[Any, ...], bool] | None
) -> Any:
    """The same for polars."""
    kind = dtype.partition("(")[0]
    known = kind in OF_CATEGORIES["polars"] or (kind != kind.lower() and kind.lower() in NUMBERS)
    try:
        wanted = polars.Enum(list(declared[0])) if declared is not None else getattr(polars, kind) if known else None
        return polars.Series(name, column, dtype=wanted)
    except (OverflowError, TypeError, ValueError, polars.exceptions.PolarsError):
        return polars.Series(name, column, strict=False)


def _converted(column: Floats, dtype: str, whole: bool) -> npt.NDArray[Any]:
    """The column in a type of NUMBERS. One of integers that does not hold all numbers gives way to a wider one."""
    if whole and (dtype in OF_ARROW or dtype.startswith("sparse[")):
        return column.astype(np.float64 if "float" in dtype or "double" in dtype else np.int64)
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
