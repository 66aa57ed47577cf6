"""The frame that a model was fitted to: samples are frames like it."""

from __future__ import annotations

import decimal
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from nvpflow._sklearn.feature_names import other_labels
from nvpflow._typing import Floats, Names
from nvpflow._validation.arguments import check_bool, check_choice, shown
from nvpflow.supports._category import plain_values, restore_values
from nvpflow.supports._kinds import Kind
from nvpflow.supports._number_types import DECIMAL, NumberType, holds_whole, number_type
from nvpflow.supports._tables import LIBRARIES, library_of

__all__ = ["ARRAY", "Frame", "pandas_numbers", "polars_numbers"]

ARRAY = "array"  # the library of a table that is no frame, whose columns have types all the same
# Types that columns of categories get back, beside those of numbers.
OF_CATEGORIES = {
    "pandas": ("bool", "boolean", "bool[pyarrow]", "object", "str", "string", "string[pyarrow]", "large_string[pyarrow]"),
    "polars": ("Boolean", "String", "Categorical"),
}


class Frame(NamedTuple):
    """The library of a frame, and the types and labels of its columns.

    Attributes
    ----------
    library : str
        Or `ARRAY`.
    dtypes : tuple of str
        By their names in this library.
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
        """None unless X is a frame of pandas or polars, or a table of Arrow with whole numbers, whose samples are arrays."""
        library, arrow = library_of(X), sys.modules.get("pyarrow")
        if library is None:
            is_table = arrow is not None and isinstance(X, arrow.Table)
            return cls.of_types([str(dtype) for dtype in X.schema.types]) if is_table else None
        dtypes = list(X.dtypes)
        return cls(library, tuple(str(dtype)[:40] for dtype in dtypes), tuple(map(_declared, dtypes)), other_labels(X))

    @classmethod
    def of_query(cls, X: Any) -> Self | None:
        """The frame of a LazyFrame of polars, whose columns hold numbers. None for anything else."""
        polars = sys.modules.get("polars")
        if polars is None or not isinstance(X, polars.LazyFrame):
            return None
        dtypes = X.collect_schema().dtypes()
        return cls("polars", tuple(str(dtype)[:40] for dtype in dtypes), (None,) * len(dtypes))

    @classmethod
    def of_types(cls, dtypes: Sequence[str]) -> Self | None:
        """A table that is no frame. None if none of its types is one of whole numbers."""
        return cls(ARRAY, tuple(dtypes), (None,) * len(dtypes)) if any(map(holds_whole, dtypes)) else None

    def as_array(self) -> Self:
        """The types alone, without labels: samples are arrays then."""
        return self._replace(library=ARRAY, labels=None)

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
        return cls(check_choice("library of the frame", library, (*LIBRARIES, ARRAY)), tuple(dtypes), of_columns, labels)

    def nearest(self, x: Floats, kinds: Sequence[Kind], columns: Sequence[int]) -> Floats:
        """The nearest numbers that the types of columns hold, within their supports, to numbers x (..., R) of R columns."""
        found = x.astype(np.float64)
        for place, (kind, column) in enumerate(zip(kinds, columns)):
            of_column = number_type(self.dtypes[column])
            if of_column is not None:
                found[..., place] = of_column.nearest(found[..., place], kind)
        return found

    def build(self, columns: Sequence[Any], names: Names | Sequence[Any]) -> Any:
        """A frame of columns with their types: arrays of numbers, as `nearest` gives them, or lists of values.

        A type that does not hold the values of its column, or that is not known where a file is read, gives way to another.
        """
        if self.library == "polars":
            return self._build_polars(columns, names)
        import pandas

        found = {}  # by number, as names may repeat
        for i, (column, dtype, declared) in enumerate(zip(columns, self.dtypes, self.declared)):
            is_category = isinstance(column, list)
            found[i] = _series(pandas, column, dtype, declared) if is_category else pandas_numbers(pandas, column, dtype)
        frame = pandas.DataFrame(found)
        if all(isinstance(name, tuple) for name in names):
            frame.columns = pandas.MultiIndex.from_tuples(list(names))
        elif list(names) != list(range(len(names))):
            frame.columns = list(names)
        return frame

    def _build_polars(self, columns: Sequence[Any], names: Names | Sequence[Any]) -> Any:
        import polars

        found = []
        for name, column, dtype, declared in zip(map(str, names), columns, self.dtypes, self.declared):
            if isinstance(column, list):
                found.append(_polars_series(polars, name, column, dtype, declared))
            else:
                found.append(polars_numbers(polars, name, column, dtype))
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
    known = dtype in OF_CATEGORIES["pandas"] or number_type(dtype) is not None
    try:
        return pandas.Series(column, dtype=dtype if known else None)
    except (ImportError, OverflowError, TypeError, ValueError):
        return pandas.Series(column)


def pandas_numbers(pandas: Any, column: Floats, dtype: str) -> Any:
    """A series of numbers."""
    of_column = number_type(dtype)
    if of_column is None:
        return pandas.Series(column)
    try:
        if of_column.name == DECIMAL:
            import pyarrow

            arrow = pyarrow.decimal128(of_column.precision, of_column.digits)
            return pandas.Series(_decimals(column, of_column), dtype=pandas.ArrowDtype(arrow))
        return pandas.Series(column.astype(of_column.name)).astype(dtype)
    except (ImportError, TypeError, ValueError):
        return pandas.Series(column)


def _decimals(column: Floats, of_column: NumberType) -> list[decimal.Decimal]:
    return [decimal.Decimal(f"{number:.{of_column.digits}f}") for number in column.tolist()]


def _polars_series(
    polars: Any, name: str, column: list[Any], dtype: str, declared: tuple[tuple[Any, ...], bool] | None
) -> Any:
    """The same for polars."""
    kind = dtype.partition("(")[0]
    known = kind in OF_CATEGORIES["polars"] or (kind != kind.lower() and number_type(kind) is not None)
    try:
        wanted = polars.Enum(list(declared[0])) if declared is not None else getattr(polars, kind) if known else None
        return polars.Series(name, column, dtype=wanted)
    except (OverflowError, TypeError, ValueError, polars.exceptions.PolarsError):
        return polars.Series(name, column, strict=False)


def polars_numbers(polars: Any, name: str, column: Floats, dtype: str) -> Any:
    """A series of numbers in polars."""
    of_column = number_type(dtype)
    if of_column is None:
        return polars.Series(name, column)
    try:
        if of_column.name == DECIMAL:
            wanted = polars.Decimal(of_column.precision, of_column.digits)
            return polars.Series(name, _decimals(column, of_column), dtype=wanted)
        return polars.Series(name, column.astype(of_column.name)).cast(getattr(polars, dtype))
    except (AttributeError, TypeError, ValueError, polars.exceptions.PolarsError):
        return polars.Series(name, column)
