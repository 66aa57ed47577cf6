"""The rows of a table for a model: samples and, for a conditional model, their context."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nvpflow._typing import DTypeLike, Floats, PathLike
from nvpflow.cli._arguments import count_of
from nvpflow.cli._files import Model
from nvpflow.cli._table_text import MISSING
from nvpflow.cli.tables import Columns, TableError, read_mixed, read_typed

__all__ = ["Rows", "context_rows", "context_value", "read_columns_of", "read_context", "read_rows", "read_training_rows"]

TEXTS = ": --category names columns of texts"


class Rows(NamedTuple):
    """Rows of a table; names are None where the table has none."""

    x: Any  # (n, D), of numbers, or of objects where some columns are categories
    names: list[str] | None
    context: Any = None  # (n, C), likewise
    context_names: list[str] | None = None
    weight: Floats | None = None  # (n,)
    dtypes: Sequence[str] = ()  # of the columns of x, as far as they are known


def read_training_rows(options: argparse.Namespace, dtype: DTypeLike) -> Rows:
    """Read training rows. By default, all columns but context and weight are samples."""
    missing = getattr(options, "missing", "error") == "marginalize"
    groups = [Columns(options.columns, categories=options.category, missing=missing)]
    if options.context is not None:
        groups.append(Columns(options.context, categories=options.context_category))
    elif options.context_category:
        raise ValueError("--context-category needs --context")
    if options.weight is not None:
        groups.append(Columns(options.weight))
    try:
        tables, categories, types = read_typed(
            options.data, groups, delimiter=options.delimiter, header=options.header, dtype=dtype
        )
    except TableError as error:
        marks = (f"'{mark}' is not a number" for mark in MISSING if mark)
        if str(error).endswith(("the cell is empty", "nan is not a finite number", *marks)):
            raise TableError(f"{error} (--missing marginalize allows missing cells)") from None
        # A text in the first row is that of a column of texts; one further down may be a slip.
        hint = TEXTS if re.search(r", line [12], column .* is not a number$", str(error)) else ""
        raise TableError(f"{error}{hint}") from None
    (x, names), *others = [(_with_values(values, of, {}), names) for (values, names), of in zip(tables, categories)]
    context, context_names = others.pop(0) if options.context is not None else (None, None)
    weight = others.pop(0)[0] if options.weight is not None else None
    if weight is not None and weight.shape[1] != 1:
        raise ValueError(f"--weight must be one column, got {weight.shape[1]}")
    if weight is not None and weight.min() < 0:
        row = int(np.argmax(weight < 0))
        raise ValueError(f"--weight must be a column of numbers >= 0, got {weight[row, 0]:g} in row {row + 1}")
    return Rows(x, names, context, context_names, None if weight is None else weight[:, 0], types[0])


def read_rows(options: argparse.Namespace, model: Model, *, missing: bool = False) -> Rows:
    """Read the columns that a model was fitted to, by name if both table and model have names.

    `missing`: cells may be missing.
    """
    value = context_value(options, model)
    groups = [Columns(options.columns, model.names, categories=tuple(model.categories), missing=missing)]
    if model.context_dim and value is None:
        groups.append(_context_columns(options, model))
    elif options.context is not None:
        raise ValueError("the model is not conditional: --context cannot be given")
    known = [model.categories, model.context_categories]
    (x, names), *others = _read(options.data, groups, options, model.dtype, known)
    _check_width("the model", model.data_dim, x, options.data, "--columns")
    if not others:
        return Rows(x, names, context_rows(value, len(x)))
    ((context, names_of_context),) = others
    _check_width("the context", model.context_dim, context, options.data, "--context")
    return Rows(x, names, context, names_of_context)


def read_columns_of(options: argparse.Namespace, model: Model, places: Sequence[int]) -> tuple[Any, Any]:
    """Read some of the columns of a model, by name if both table and model have names, and the context if the model has one.

    Cells may be missing.
    """
    names = None if model.names is None else [model.names[place] for place in places]
    known = {i: model.categories[place] for i, place in enumerate(places) if place in model.categories}
    groups = [Columns(options.columns, names, categories=tuple(known), missing=True)]
    if model.context_dim and options.context_values is None:
        groups.append(_context_columns(options, model))
    elif options.context is not None:
        raise ValueError("the model is not conditional: --context cannot be given")
    (x, _), *others = _read(options.data, groups, options, model.dtype, [known, model.context_categories])
    _check_width("what is given of the model", len(places), x, options.data, "--columns")
    return x, others[0][0] if others else None


def context_rows(value: Any, n: int) -> Any:
    """One context, repeated for n rows."""
    return None if value is None else np.tile(value, (n, 1))


def context_value(options: argparse.Namespace, model: Model) -> Any:
    """The --context-values, shape (C,), or None."""
    if options.context_values is None:
        return None
    n_columns = model.context_dim
    if n_columns == 0:
        raise ValueError("the model is not conditional: --context-values cannot be given")
    value = options.context_values
    row: npt.NDArray[Any] = _named(value, model) if isinstance(value, dict) else np.array(value)
    if len(row) != n_columns:
        raise ValueError(f"--context-values must be {count_of(n_columns, 'number')} for this model, got {len(row)}")
    numbers = [number for place, number in enumerate(row) if place not in model.context_categories]
    with np.errstate(over="ignore"):
        if not np.isfinite(np.array(numbers, np.float64).astype(model.dtype)).all():
            raise ValueError(f"--context-values must be finite in {model.dtype}")
    return row


def _named(values: dict[str, str], model: Model) -> npt.NDArray[Any]:
    """A context whose columns are named."""
    names = model.context_names or [str(place + 1) for place in range(model.context_dim)]
    if set(values) != set(names):
        raise ValueError(f"--context-values must name {', '.join(names[:20])}, got {', '.join(values):.200}")
    row = np.empty(len(names), dtype=object)
    for place, name in enumerate(names):
        text, of_texts = values[name], model.context_categories.get(place)
        row[place] = _number(name, text) if of_texts is None else of_texts.get(text, text)
    return row if model.context_categories else row.astype(np.float64)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--context-values must have a number for {name}, got {text!r:.60}") from None


def read_context(options: argparse.Namespace, model: Model) -> Any:
    """Read a table of contexts."""
    if model.context_dim == 0:
        raise ValueError("the model is not conditional: --context cannot be given")
    groups = [Columns(options.columns, model.context_names, categories=tuple(model.context_categories))]
    ((context, _),) = _read(options.context, groups, options, model.dtype, [model.context_categories])
    _check_width("the context", model.context_dim, context, options.context, "--columns")
    return context


def _context_columns(options: argparse.Namespace, model: Model) -> Columns:
    names = model.context_names
    if options.context is None and names is None:
        raise ValueError(
            f"the model is conditional on {count_of(model.context_dim, 'column')} whose names it does not know: "
            "--context says where they are in the table, --context-values gives one context for all rows"
        )
    return Columns(options.context, names, or_rest=False, categories=tuple(model.context_categories))


def _read(
    path: PathLike,
    groups: list[Columns],
    options: argparse.Namespace,
    dtype: DTypeLike,
    known: Sequence[dict[int, dict[str, Any]]],
) -> list[tuple[Any, list[str] | None]]:
    """The tables of groups of columns, with the values of categories: those known by their texts, or else the texts."""
    tables, categories = read_mixed(path, groups, delimiter=options.delimiter, header=options.header, dtype=dtype)
    of_groups = [*known, *({} for _ in tables)]
    return [(_with_values(x, found, of), names) for (x, names), found, of in zip(tables, categories, of_groups)]


def _with_values(codes: Floats, found: dict[int, list[Any]], known: dict[int, dict[str, Any]]) -> Any:
    """The table with the values of categories instead of their codes."""
    if not found:
        return codes
    table = codes.astype(object)
    for place, texts in found.items():
        of_texts = known.get(place, {})
        values = [of_texts.get(str(text), text) for text in texts]
        table[:, place] = [None if np.isnan(code) else values[int(code)] for code in codes[:, place]]
    return table


def _check_width(what: str, expected: int, values: Any, path: str, option: str) -> None:
    if values.shape[1] != expected:
        raise ValueError(
            f"{what} has {count_of(expected, 'column')}, got {values.shape[1]} from {path}: {option} chooses some of a table"
        )
