"""What is given of the columns of a model: dicts, frames and arrays as rows with open cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nvpflow._sklearn.feature_names import feature_names
from nvpflow._training.dataset import check_numbers
from nvpflow._typing import Floats
from nvpflow._validation.arguments import check_int, shown
from nvpflow._validation.arrays import Labelled
from nvpflow.missing._table import with_codes
from nvpflow.supports._category import is_missing

if TYPE_CHECKING:
    from nvpflow._fitted import FittedModel

__all__ = ["Given", "check_columns", "read_given", "read_points"]

MOST_NAMES = 20  # in a message


class Given(NamedTuple):
    """Rows (n, R + K) as those of models for missing cells, NaN where cells are open; the free columns; whether the user gave
    numbers instead of rows, so that there is one row."""

    rows: Floats
    free: tuple[int, ...]
    is_single: bool


def check_columns(model: FittedModel, columns: object, name: str = "columns") -> tuple[int, ...]:
    """The numbers of columns given by name or number: one or several, each once."""
    is_one = isinstance(columns, (str, int, np.integer))
    if not is_one and (not np.iterable(columns) or isinstance(columns, (bytes, Mapping))):
        raise TypeError(f"{name} must be a name or a number of a column, or a sequence of them, got {shown(columns)}")
    keys: Sequence[object] = [columns] if is_one else list(columns)  # type: ignore[call-overload]
    found = tuple(_find(model, key, name) for key in keys)
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{name} must name one column or more, each once, got {shown(columns)}")
    return found


def _find(model: FittedModel, key: object, name: str) -> int:
    names = getattr(model, "feature_names_in_", None)
    if not isinstance(key, str):
        try:
            return check_int("a number of a column", key, 0, model.n_features_in_ - 1)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name} must be names or numbers of columns of X: {error}") from None
    places = [] if names is None else np.flatnonzero(names == key).tolist()
    if len(places) != 1:
        known = "none" if names is None else ", ".join(map(repr, names[:MOST_NAMES]))
        raise ValueError(f"{name} must be names or numbers of columns of X, got {key!r:.50}; the names are {known}")
    return int(places[0])


def read_given(model: FittedModel, given: Any, columns: object | None) -> Given:
    """Read what is given. Free columns are `columns`, or else those of which nothing is given."""
    free = None if columns is None else check_columns(model, columns)
    cells, n_rows = _cells(model, given, free)
    if free is None:
        free = tuple(i for i in range(model.n_features_in_) if i not in cells)
    if not free:
        raise ValueError("given must leave a column free, got values for all: name the free ones by columns")
    n = max((len(column) for column in cells.values()), default=1 if n_rows is None else n_rows)
    for column, values in cells.items():
        if len(values) not in (1, n):
            raise ValueError(f"given must have columns of one length, got {len(values)} and {n} values")
        cells[column] = values * n if len(values) == 1 else values
    return Given(_as_rows(model, cells, n, "given"), free, n_rows is None)


def read_points(model: FittedModel, X: Any, free: tuple[int, ...], name: str = "X") -> Floats:
    """Points of the free columns as rows (n, R + K), NaN elsewhere. All of their cells must have values."""
    names = feature_names(X)
    if names is not None and hasattr(model, "feature_names_in_"):
        own = model.feature_names_in_[list(free)]
        absent = [label for label in own if label not in names]
        if absent:
            raise ValueError(f"{name} must have the columns {', '.join(map(repr, own))}, and has no {absent[0]!r}")
        cells = {column: list(X[label]) for column, label in zip(free, own)}
    else:
        table = np.asarray(X, dtype=None if hasattr(X, "dtype") else object)
        if table.ndim == 1 and len(free) == 1:
            table = table[:, np.newaxis]
        if table.ndim != 2 or table.shape[1] != len(free):
            raise ValueError(f"{name} must have shape (n, {len(free)}), a column for each free one, got {table.shape}")
        cells = {column: table[:, i].tolist() for i, column in enumerate(free)}
    for column, values in cells.items():
        empty = [row for row, value in enumerate(values) if is_missing(value)]
        if empty:
            label = getattr(model, "feature_names_in_", range(model.n_features_in_))[column]
            raise ValueError(
                f"{name} must have values in all free columns, got {values[empty[0]]} in column {label!r:.50}, row {empty[0]}"
            )
    return _as_rows(model, cells, len(next(iter(cells.values()))), name)


def _cells(model: FittedModel, given: Any, free: tuple[int, ...] | None) -> tuple[dict[int, list[Any]], int | None]:
    """The values of given columns, and the number of rows: None if all are single values."""
    if isinstance(given, Mapping):
        columns = check_columns(model, list(given), "given") if len(given) else ()
        both = set(columns) & set(free or ())
        if both:
            label = getattr(model, "feature_names_in_", range(model.n_features_in_))[min(both)]
            raise ValueError(f"columns must not be given, got column {label!r:.50} in both")
        many = [_is_many(value) for value in given.values()]
        cells = {i: _listed(v) if m else [v] for i, v, m in zip(columns, given.values(), many)}
        return cells, max(map(len, cells.values())) if any(many) else None
    names = feature_names(given)
    if names is not None:
        columns = check_columns(model, list(names), "given")
        return {i: list(given[name]) for i, name in zip(columns, names) if i not in (free or ())}, len(given)
    table = given if isinstance(given, np.ndarray) else np.array(given, dtype=object)
    if table.ndim != 2 or table.shape[1] != model.n_features_in_:
        raise ValueError(
            f"given must be a dict of columns, a frame, or an array of shape (n, {model.n_features_in_}) with NaN in free "
            f"columns, got {shown(given)} of shape {table.shape}"
        )
    cells = {i: table[:, i].tolist() for i in range(table.shape[1]) if i not in (free or ())}
    if free is None:
        empty = {i: [is_missing(value) for value in column] for i, column in cells.items()}
        if any(any(flags) and not all(flags) for flags in empty.values()):
            raise ValueError("columns must name the free columns where a column of given has NaN in some rows alone")
        cells = {i: column for i, column in cells.items() if not all(empty[i])}
    return cells, len(table)


def _is_many(value: object) -> bool:
    return isinstance(value, (list, tuple)) or hasattr(value, "to_list") or np.ndim(value) > 0  # type: ignore[arg-type]


def _listed(values: Any) -> list[Any]:
    return values.tolist() if isinstance(values, np.ma.MaskedArray) else list(values)  # None where masked


def _as_rows(model: FittedModel, cells: dict[int, list[Any]], n: int, name: str) -> Floats:
    categories = model._known_categories()
    table = np.full((n, model.n_features_in_), None if categories is not None else np.nan, dtype=object)
    table = Labelled.of(table, getattr(model, "feature_names_in_", range(model.n_features_in_)))
    for column, values in cells.items():
        table[:, column] = values
    if categories is None:
        return check_numbers(name, table, model._flow_dtype(), 0, missing=True).astype(np.float64)
    numbers, codes = categories.coding.read(name, table, True)
    if numbers.shape[1]:
        return with_codes(check_numbers(name, numbers, model._flow_dtype(), 0, missing=True), codes)
    return with_codes(np.empty((n, 0)), codes)
