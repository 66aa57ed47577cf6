"""Selection of columns of a table, and the check that they hold finite numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from nvpflow._typing import DTypeLike, Floats

__all__ = ["Columns", "Table", "TableError", "Wanted", "shorten"]

LONGEST = 60  # characters of a cell or a name in a message
MOST_NAMES = 20  # in a message


Table: TypeAlias = tuple[npt.NDArray[np.float64], list[str] | None]  # values (n, D), and names where the table has some


class TableError(ValueError):
    """A file does not hold the expected table."""


class Columns(NamedTuple):
    """A group of columns.

    Parameters
    ----------
    wanted : sequence of str, optional
        Names of columns, or numbers such as "3" and "2-4", counted from 1. Default: `known`.
    known : sequence of str, optional
        Names of the columns to take if the table has names and `wanted` is None.
    or_rest : bool, default True
        Whether the group takes the remaining columns if there is no `wanted`, and no names on both sides. If False, this is an
        error.
    categories : sequence of str or int, default ()
        The columns of the group that hold texts of categories: by name, by number in the group from 1 as a str, or by place
        from 0. Their values are codes, which stand for the texts in the order of their first rows.
    missing : bool, default False
        Whether cells may be missing. They are NaN.

    Examples
    --------
    >>> from nvpflow.cli.tables import Columns
    >>> Columns(["height", "3-5"]).wanted
    ['height', '3-5']
    """

    wanted: Sequence[str] | None = None
    known: Sequence[str] | None = None
    or_rest: bool = True
    categories: Sequence[str | int] = ()
    missing: bool = False


class Wanted:
    """Groups of columns of the file `source`, at most one of which is the rest."""

    def __init__(self, source: str, groups: Sequence[Columns], dtype: DTypeLike, with_types: bool = False) -> None:
        self.source, self.groups, self.dtype = source, groups, np.dtype(dtype)
        self.with_types = with_types  # whether to look which columns of a text hold whole numbers

    @property
    def named(self) -> set[str]:
        """The names that the groups ask for."""
        return {name for group in self.groups for name in (*(group.wanted or ()), *(group.known or ()))}

    def find(self, width: int, names: list[str] | None) -> Found:
        """Find the groups in a table with this number of columns. Its names may be None."""
        if width == 0:
            raise TableError(f"{self.source} has no columns")
        found = _find_groups(self.groups, _Header(self.source, width, names))
        categories = {
            indices[_place(category, indices, names)]: Texts()
            for group, indices in zip(self.groups, found)
            for category in group.categories
        }
        missing = [group.missing for group in self.groups]
        self.found = Found(self.source, found, names, self.dtype, categories, missing)
        return self.found


class Texts:
    """Codes of texts, or of other values, in the order in which they come.

    Attributes
    ----------
    codes : dict of object to int
    """

    def __init__(self) -> None:
        self.codes: dict[Any, int] = {}

    def __call__(self, text: str) -> int:
        """The code of a cell."""
        text = text.strip()
        if not text:
            raise ValueError("the cell is empty")
        return self.codes.setdefault(text, len(self.codes))

    def of(self, values: Sequence[Any]) -> list[float]:
        """The codes of values; NaN for None."""
        return [np.nan if value is None else self.codes.setdefault(value, len(self.codes)) for value in values]


class Found:
    """Groups of columns in a table whose header has been read.

    Attributes
    ----------
    indices : list of int
        Indices of the columns of all groups, one group after the other, from 0.
    labels : list of str
        Names of these columns in messages.
    categories : dict of int to Texts
        Of the columns of categories, by their index.
    dtypes : dict of int to str
        The types of columns, by their index, as far as the reader knows them.
    """

    def __init__(
        self,
        source: str,
        groups: list[list[int]],
        names: list[str] | None,
        dtype: np.dtype[Any],
        categories: dict[int, Texts],
        missing: list[bool],
    ) -> None:
        self.source, self.groups, self.names, self.dtype, self.categories = source, groups, names, dtype, categories
        self.indices = [index for group in groups for index in group]
        self.missing = np.repeat(missing, [len(group) for group in groups])
        self.labels = [_label(index, names) for index in self.indices]
        self.dtypes: dict[int, str] = {}

    def tables(
        self, values: npt.NDArray[np.float64], place: Callable[[int], str] = lambda row: f"row {row + 1}"
    ) -> list[Table]:
        """[(values, names)] for each group, from the values of the columns `indices`, which must be finite in the dtype."""
        self._check(values, place)
        tables, start = [], 0
        for group in self.groups:
            part = np.ascontiguousarray(values[:, start : start + len(group)])
            tables.append((part, self.names and [self.names[index] for index in group]))
            start += len(group)
        return tables

    @property
    def may_miss(self) -> set[int]:
        """The indices of the columns in which cells may be missing."""
        return {index for index, missing in zip(self.indices, self.missing) if missing}

    def values(self, group: int) -> dict[int, list[Any]]:
        """The values of the categories of a group, in the order of their codes, by the place of the column."""
        indices = self.groups[group]
        return {place: list(self.categories[i].codes) for place, i in enumerate(indices) if i in self.categories}

    def types(self, group: int) -> list[str]:
        """The types of the columns of a group, "" where unknown."""
        return [self.dtypes.get(index, "") for index in self.groups[group]]

    def _check(self, values: Floats, place: Callable[[int], str]) -> None:
        if len(values) == 0:
            raise TableError(f"{self.source} has no rows")
        with np.errstate(over="ignore"):
            finite = np.isfinite(values.astype(self.dtype, copy=False)) | (np.isnan(values) & self.missing)
        if finite.all():
            return
        row, column = np.argwhere(~finite)[0]
        value = values[row, column]
        where = f" in {self.dtype}" if np.isfinite(value) else ""
        raise TableError(f"{self.source}, {place(row)}, column {self.labels[column]}: {value} is not a finite number{where}")


class _Header:
    """The columns of a table, found by name or by number."""

    def __init__(self, source: str, width: int, names: list[str] | None) -> None:
        self.source, self.width, self.names = source, width, names
        self.places: dict[str, list[int]] = {}
        for index, name in enumerate(names or ()):
            self.places.setdefault(name, []).append(index)

    def by_name(self, name: str) -> int:
        places = self.places.get(name, ())
        if len(places) > 1:
            raise TableError(f"{self.source} has {len(places)} columns {shorten(name)}: use their numbers")
        if not places:
            raise self._missing(name)
        return places[0]

    def by_name_or_number(self, text: str) -> Sequence[int]:
        """The indices of a name, a number or a range."""
        if text in self.places:
            return [self.by_name(text)]
        first, dash, last = text.partition("-")
        if _is_count(first) and (_is_count(last) or not dash):
            start, stop = int(first), int(last or first)
            if 1 <= start <= stop <= self.width:
                return range(start - 1, stop)
        raise self._missing(text)

    def _missing(self, text: str) -> TableError:
        has = f"1 to {self.width}"
        if self.names is not None:
            has = ", ".join(name[:LONGEST] for name in self.names[:MOST_NAMES])
            has += f", ... ({self.width})" if self.width > MOST_NAMES else ""
        return TableError(f"{self.source} has no column {shorten(text)}; it has {has}")


def _find_groups(groups: Sequence[Columns], header: _Header) -> list[list[int]]:
    found = [_find(group, header) for group in groups]
    counts = Counter(index for indices in found if indices is not None for index in indices)
    for index, count in counts.items():
        if count > 1:
            raise TableError(f"{header.source}, column {_label(index, header.names)} is chosen {count} times")
    rest = [index for index in range(header.width) if index not in counts]
    if None in found and not rest:
        raise TableError(f"{header.source} has no columns but those chosen for other purposes")
    return [rest if indices is None else indices for indices in found]


def _find(group: Columns, header: _Header) -> list[int] | None:
    """The indices of a group; None for the rest."""
    if group.wanted is not None:
        return [index for text in group.wanted for index in header.by_name_or_number(text)]
    if group.known is None or header.names is None:
        if group.or_rest:
            return None
        raise TableError(f"{header.source} has no names of columns: use numbers for {', '.join(group.known or ())}")
    if list(group.known) == list(header.names):  # even if a name occurs twice
        return list(range(header.width))
    return [header.by_name(name) for name in group.known]


def _place(category: str | int, indices: list[int], names: Sequence[str] | None) -> int:
    """The place in a group of a column that is named, or has a number in the group."""
    if isinstance(category, int):
        if category >= len(indices):
            raise TableError(f"the model has categories in column {category + 1}, got {len(indices)} column(s)")
        return category
    known = [None if names is None else names[index] for index in indices]
    if known.count(category) == 1:
        return known.index(category)
    if _is_count(category) and 1 <= int(category) <= len(indices) and category not in known:
        return int(category) - 1
    has = f"1 to {len(indices)}" if names is None else ", ".join(str(name)[:LONGEST] for name in known[:MOST_NAMES])
    raise TableError(f"the model has no column {shorten(category)}; it has {has}")


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def _label(index: int, names: Sequence[str] | None) -> str:
    return str(index + 1) if names is None else shorten(names[index])


def shorten(text: str) -> str:
    """A text as quoted in messages."""
    return repr(text) if len(text) <= LONGEST else f"{text[:LONGEST]!r}..."
