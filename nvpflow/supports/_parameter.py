"""The parameter `support` of the estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeAlias

import numpy as np

from nvpflow._typing import Floats, Names
from nvpflow._validation.arguments import check_int, shown
from nvpflow._validation.cells import CellError
from nvpflow.supports._category import Category
from nvpflow.supports._frame import Frame
from nvpflow.supports._kinds import MOST, REALS, AnyKind, Integer, Kind, check_kind, number, on_bounds
from nvpflow.supports._tables import category_columns

__all__ = ["Declared", "Kinds", "Support", "check_support", "plain_support", "restore_kinds", "restore_support"]

# Kinds by name or number of a column, or one for each column.
Kinds: TypeAlias = "dict[str | int, AnyKind] | tuple[AnyKind, ...]"
# What the parameter can be.
Support: TypeAlias = "Mapping[str, Any] | Mapping[int, Any] | Sequence[Any] | None"
MOST_NAMES = 20  # in a message


def check_support(name: str, value: object) -> Kinds:
    """Check the parameter `support` of an estimator, without its data."""
    if isinstance(value, Mapping):
        keys = [_check_key(name, key) for key in value]
        return {key: check_kind(f"{name}[{key!r:.50}]", kind) for key, kind in zip(keys, value.values())}
    if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (str, bytes)) and np.iterable(value):
        return tuple(check_kind(f"{name}[{i}]", kind) for i, kind in enumerate(value))
    raise TypeError(f"{name} must be a dict of columns, a sequence with an entry for each column, or None, got {shown(value)}")


def _check_key(name: str, key: object) -> str | int:
    return str(key) if isinstance(key, str) else check_int(f"a key of {name} other than a name", key, 0)


class Declared:
    """The kinds of the columns of a table: those that a user declared, and those that a frame has by itself.

    Parameters
    ----------
    kinds : dict or tuple
        The result of `check_support`.
    names : ndarray of objects, shape (D,), or None
        Of the columns: texts, or other labels that a frame has. Where all are whole numbers, so are the keys of a dict.
    frame : Frame or None
        The table, if it is a frame.
    categories : tuple of int
        Columns that are categories unless `kinds` has something else.
    what : str
        The table and the parameter in messages.
    """

    is_beside_categories = False  # whether these are the other columns of a table with categories

    def __init__(
        self,
        kinds: Kinds,
        names: Names | None = None,
        frame: Frame | None = None,
        categories: tuple[int, ...] = (),
        what: tuple[str, str] = ("X", "support"),
    ) -> None:
        self._kinds, self.names, self.frame, self._categories = kinds, names, frame, categories
        self.table, self.parameter = what

    @classmethod
    def of(
        cls, kinds: Kinds | None, names: Names | None, X: object = None, what: tuple[str, str] = ("X", "support")
    ) -> Self | None:
        """None where nothing is declared, and X is no frame with categories."""
        categories = category_columns(X)
        if kinds is None and not categories:
            return None
        frame = Frame.of(X)
        if names is None and frame is not None and frame.labels is not None:
            names = np.fromiter(frame.labels, object, len(frame.labels))
        return cls({} if kinds is None else kinds, names, frame, categories, what)

    def of_all(self, n_columns: int) -> tuple[AnyKind, ...]:
        """The kind of each of the columns."""
        if isinstance(self._kinds, tuple):
            if len(self._kinds) != n_columns:
                raise ValueError(
                    f"{self.parameter} must have an entry for each of the {n_columns} columns of {self.table}, "
                    f"got {len(self._kinds)}"
                )
            kinds = {i: kind for i, kind in enumerate(self._kinds) if i not in self._categories or kind != REALS}
        else:
            kinds = {}
            for key, kind in self._kinds.items():
                column = self._find(key, n_columns)
                if column in kinds:
                    raise ValueError(f"{self.parameter} must name each column once, got column {self.label(column)} twice")
                kinds[column] = kind
        found = (kinds.get(i, Category() if i in self._categories else REALS) for i in range(n_columns))
        if self.frame is None or len(self.frame.dtypes) != n_columns:
            return tuple(found)
        return tuple(_within_type(kind, dtype) for kind, dtype in zip(found, self.frame.dtypes))

    def of_columns(self, n_columns: int) -> tuple[Kind, ...]:
        """The kind of each of the columns, none of which are categories."""
        return tuple(kind for kind in self.of_all(n_columns) if not isinstance(kind, Category))

    def of_numbers(self, n_columns: int) -> Self:
        """What is declared of the columns that are no categories."""
        kinds = self.of_all(n_columns)
        others = [i for i, kind in enumerate(kinds) if not isinstance(kind, Category)]
        if len(others) == n_columns:
            return self
        names = np.array(others, dtype=object) if self.names is None else self.names[others]  # numbers name columns as well
        found = type(self)(tuple(kinds[i] for i in others), names, self.frame, (), (self.table, self.parameter))
        found.is_beside_categories = True
        return found

    @property
    def is_random(self) -> bool:
        """Whether training sees random numbers in place of a column: whole numbers or angles."""
        kinds = self._kinds if isinstance(self._kinds, tuple) else self._kinds.values()
        return any(kind.is_whole or kind.turn for kind in kinds)

    @property
    def may_have_categories(self) -> bool:
        """Whether a column may be a category."""
        kinds = self._kinds if isinstance(self._kinds, tuple) else self._kinds.values()
        return bool(self._categories) or any(isinstance(kind, Category) for kind in kinds)

    def _find(self, key: str | int, n_columns: int) -> int:
        labels = None if self.frame is None else self.frame.labels
        numbers_are_names = labels is not None and all(type(label) is int for label in labels)
        if isinstance(key, int) and not numbers_are_names:
            if key < n_columns:
                return key
            raise ValueError(
                f"{self.parameter} must name columns of {self.table}, which has {n_columns}, counted from 0, got {key}"
            )
        if self.names is None:
            raise ValueError(
                f"{self.parameter} must have numbers of columns, because {self.table} has no names, got {shown(key)}"
            )
        places = np.flatnonzero(self.names == key)
        if len(places) != 1:
            known = ", ".join(repr(name) for name in self.names[:MOST_NAMES]) + ", ..." * (n_columns > MOST_NAMES)
            found = "has none of that name" if len(places) == 0 else "has several of that name"
            raise ValueError(
                f"{self.parameter} must name columns of {self.table}, which {found}: got {shown(key)}, "
                f"{self.table} has {known}"
            )
        return int(places[0])

    def label(self, column: int) -> str:
        """How a message names a column."""
        return str(column) if self.names is None else f"{self.names[column]!r:.50}"

    def check(self, x: Floats) -> Floats:
        """Raise a ValueError that names the first value of samples x (n, D) outside of the support of its column.

        Return the samples, with the exact bounds for values that equal them but for the rounding to float32.
        """
        kinds = self.of_columns(x.shape[1])
        x = on_bounds(kinds, x)
        for column, kind in enumerate(kinds):
            values = x[:, column].astype(np.float64)
            outside = np.flatnonzero(~(kind._holds(values) | np.isnan(values)))  # missing values are checked elsewhere
            if len(outside):
                row = outside[0]
                value = number(x[row, column])
                beyond = kind.is_whole and bool(abs(values[row]) >= MOST)
                raise CellError(
                    f"column {self.label(column)} of X must be in {kind}, its support, got {value} in ",
                    row,
                    f", and {len(outside) - 1} more" * (len(outside) > 1)
                    + ": subtract an offset first, or declare identifiers as 'category' or leave them out" * beyond,
                )
        return x


def _within_type(kind: AnyKind, dtype: str) -> AnyKind:
    """The kind of a column of a frame: whole numbers of an unsigned type begin at 0, so that samples fit into it."""
    is_unsigned = isinstance(kind, Integer) and kind.low is None and dtype.lower().startswith("uint")
    return Integer(0, kind.high) if is_unsigned and isinstance(kind, Integer) else kind


def plain_support(name: str, value: object) -> Any:
    """The parameter in types that JSON has. Its keys are numbers or names, so a dict becomes a list of pairs."""
    if value is None:
        return None
    kinds = check_support(name, value)
    if isinstance(kinds, tuple):
        return [kind._plain() for kind in kinds]
    return {"columns": [[key, kind._plain()] for key, kind in kinds.items()]}


def restore_support(name: str, value: Any) -> dict[str | int, Any] | list[Any] | None:
    """Undo `plain_support`, up to the short forms of kinds."""
    if value is None:
        return None
    if isinstance(value, list):
        return [check_kind(name, kind).shown for kind in value]
    if not isinstance(value, dict) or not isinstance(value.get("columns"), list):
        raise TypeError(f"{name} must be a list or an object with columns, got {shown(value)}")
    return {_check_key(name, key): check_kind(name, kind).shown for key, kind in value["columns"]}


def restore_kinds(value: Any, n_columns: int) -> tuple[Kind, ...]:
    """The kinds of a list of the results of `_plain`, one for each column."""
    if not isinstance(value, list) or len(value) != n_columns:
        raise ValueError(f"columns must be a list of {n_columns} supports, got {shown(value)}")
    kinds = tuple(check_kind(f"columns[{i}]", kind) for i, kind in enumerate(value))
    if any(isinstance(kind, Category) for kind in kinds):
        raise ValueError(f"columns must be those that are no categories, got {shown(value)}")
    return tuple(kind for kind in kinds if not isinstance(kind, Category))
