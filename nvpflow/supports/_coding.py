"""Categories as whole numbers, their codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from nvpflow._typing import Ints
from nvpflow._validation.arguments import shown
from nvpflow._validation.cells import CellError
from nvpflow.supports._category import Category, is_missing, listed, plain_value
from nvpflow.supports._tables import Parts, take_apart

__all__ = ["MISSING", "Coding"]

MISSING = -1  # the code of a missing value


class Coding(NamedTuple):
    """The categories of a table.

    Attributes
    ----------
    columns : tuple of int
        Their columns.
    labels : tuple of str
        How messages name these columns.
    values : tuple of tuple
        Their values. The code of a value is its place.
    n_columns : int
        The number of all columns.
    is_object : bool
        Whether the table was an array or a sequence of objects.
    """

    columns: tuple[int, ...]
    labels: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]
    n_columns: int
    is_object: bool

    @classmethod
    def of(cls, name: str, parts: Parts, kinds: Sequence[object], labels: Sequence[str]) -> Self:
        """The coding of a table whose columns are of these kinds: of the values declared, or else of those it has."""
        columns = tuple(i for i, kind in enumerate(kinds) if isinstance(kind, Category))
        values = []
        for column, given in zip(columns, parts.values):
            kind = kinds[column]
            declared = kind.values if isinstance(kind, Category) else None
            values.append(tuple(declared) if declared is not None else _seen(name, labels[column], given))
        of_columns = tuple(labels[column] for column in columns)
        return cls(columns, of_columns, tuple(values), len(kinds), parts.is_object)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of values of each."""
        return tuple(len(values) for values in self.values)

    @property
    def others(self) -> list[int]:
        """The columns that are no categories."""
        return [i for i in range(self.n_columns) if i not in self.columns]

    def read(self, name: str, X: Any, missing: bool = False) -> tuple[Any, Ints]:
        """The other columns of a table, not checked yet, and the codes (n, K)."""
        parts = take_apart(name, X, self.columns)
        width = parts.numbers.shape[1] + len(parts.values)
        if width != self.n_columns:
            raise ValueError(f"{name} has {width} features, but the model is expecting {self.n_columns} features as input")
        return parts.numbers, self.codes(name, parts, missing)

    def codes(self, name: str, parts: Parts, missing: bool = False) -> Ints:
        """The codes (n, K) of the values of a table. An unknown one is an error that names it; so is a missing one, or else
        it is `MISSING`."""
        rows = zip(self.labels, self.values, parts.values)
        if not self.columns:
            return np.empty((len(parts.numbers), 0), dtype=np.intp)
        return np.stack([_codes(name, label, values, given, missing) for label, values, given in rows], axis=1)

    def column(self, place: int, codes: Ints) -> list[Any]:
        """The values of the category at this place, from its codes."""
        values = self.values[place]
        return [values[code] for code in codes.tolist()]


def _seen(name: str, label: str, given: list[Any]) -> tuple[Any, ...]:
    """The different values of a column, without missing ones, in an order that does not depend on that of the rows."""
    try:
        values = {plain_value(value) for value in given if not is_missing(value)}
    except TypeError:
        value = next(value for value in given if type(value).__hash__ is None)
        raise TypeError(f"column {label} of {name} must hold hashable values, got {shown(value)}") from None
    if not values:
        raise ValueError(f"column {label} of {name} must hold categories, got missing values alone")
    try:
        return tuple(sorted(values, key=lambda value: (not isinstance(value, (bool, int, float)), value)))
    except TypeError:  # of values that have no order
        return tuple(sorted(values, key=lambda value: (type(value).__name__, repr(value))))


def _codes(name: str, label: str, values: tuple[Any, ...], given: list[Any], allow_missing: bool) -> Ints:
    places = {value: code for code, value in enumerate(values)}
    try:
        codes = np.array([places.get(value, MISSING) for value in given], dtype=np.intp)
    except TypeError:
        row = next(i for i, value in enumerate(given) if type(value).__hash__ is None)
        raise TypeError(f"column {label} of {name} must hold hashable values, got {shown(given[row])} in row {row}") from None
    absent = np.flatnonzero(codes == MISSING)
    if not len(absent):
        return codes
    missing = [row for row in absent if is_missing(given[row])]
    if allow_missing:
        absent = np.setdiff1d(absent, missing)
        missing = []
        if not len(absent):
            return codes
    more = f", and {len(absent) - 1} more" * (len(absent) > 1)
    if missing:
        raise CellError(
            f"column {label} of {name} must have no missing values, got {shown(given[missing[0]])} in ",
            int(missing[0]),
            more + ": missing='marginalize' takes them" * (name == "X"),
        )
    row = absent[0]
    raise CellError(
        f"column {label} of {name} must be one of the categories {listed(values)}, which fit has seen or Category(values) "
        f"declares, got {shown(plain_value(given[row]))} in ",
        int(row),
        more,
    )
