"""The rows of a table for a model: samples and, for a conditional model, their context."""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np

from nvpflow._typing import DTypeLike, Floats, PathLike
from nvpflow.cli._arguments import count_of
from nvpflow.cli._files import Model
from nvpflow.cli._table_columns import Table, TableError
from nvpflow.cli.tables import Columns, read_columns

__all__ = ["Rows", "context_rows", "context_value", "read_context", "read_rows", "read_training_rows"]


class Rows(NamedTuple):
    """Rows of a table; names are None where the table has none."""

    x: Floats  # (n, D)
    names: list[str] | None
    context: Floats | None = None  # (n, C)
    context_names: list[str] | None = None
    weight: Floats | None = None  # (n,)


def read_training_rows(options: argparse.Namespace, dtype: DTypeLike) -> Rows:
    """Read training rows. By default, all columns but context and weight are samples."""
    groups = [Columns(options.columns, missing=getattr(options, "missing", "error") == "marginalize")]
    if options.context is not None:
        groups.append(Columns(options.context))
    if options.weight is not None:
        groups.append(Columns(options.weight))
    try:
        (x, names), *others = _read(options.data, groups, options, dtype)
    except TableError as error:
        if str(error).endswith(("the cell is empty", "nan is not a finite number")):
            raise TableError(f"{error} (--missing marginalize allows missing cells)") from None
        raise
    context, context_names = others.pop(0) if options.context is not None else (None, None)
    weight = others.pop(0)[0] if options.weight is not None else None
    if weight is not None and weight.shape[1] != 1:
        raise ValueError(f"--weight must be one column, got {weight.shape[1]}")
    if weight is not None and weight.min() < 0:
        row = int(np.argmax(weight < 0))
        raise ValueError(f"--weight must be a column of numbers >= 0, got {weight[row, 0]:g} in row {row + 1}")
    return Rows(x, names, context, context_names, None if weight is None else weight[:, 0])


def read_rows(options: argparse.Namespace, model: Model, *, missing: bool = False) -> Rows:
    """Read the columns that a model was fitted to, by name if both table and model have names.

    `missing`: cells may be missing.
    """
    flow, value = model.flow, context_value(options, model)
    groups = [Columns(options.columns, model.names, missing=missing)]
    if flow.context_dim and value is None:
        groups.append(_context_columns(options, model))
    elif options.context is not None:
        raise ValueError("the model is not conditional: --context cannot be given")
    (x, names), *others = _read(options.data, groups, options, flow.dtype)
    _check_width("the model", flow.data_dim, x, options.data, "--columns")
    if not others:
        return Rows(x, names, context_rows(value, len(x)))
    ((context, names_of_context),) = others
    _check_width("the context", flow.context_dim, context, options.data, "--context")
    return Rows(x, names, context, names_of_context)


def context_rows(value: Floats | None, n: int) -> Floats | None:
    """One context, repeated for n rows."""
    return None if value is None else np.tile(value, (n, 1))


def context_value(options: argparse.Namespace, model: Model) -> Floats | None:
    """The --context-values, shape (C,), or None."""
    if options.context_values is None:
        return None
    flow = model.flow
    value = np.array(options.context_values)
    if flow.context_dim == 0:
        raise ValueError("the model is not conditional: --context-values cannot be given")
    if len(value) != flow.context_dim:
        raise ValueError(f"--context-values must be {count_of(flow.context_dim, 'number')} for this model, got {len(value)}")
    with np.errstate(over="ignore"):
        if not np.isfinite(value.astype(flow.dtype)).all():
            raise ValueError(f"--context-values must be finite in {flow.dtype}")
    return value


def read_context(options: argparse.Namespace, model: Model) -> Floats:
    """Read a table of contexts."""
    flow = model.flow
    if flow.context_dim == 0:
        raise ValueError("the model is not conditional: --context cannot be given")
    groups = [Columns(options.columns, model.context_names)]
    ((context, _),) = _read(options.context, groups, options, flow.dtype)
    _check_width("the context", flow.context_dim, context, options.context, "--columns")
    return context


def _context_columns(options: argparse.Namespace, model: Model) -> Columns:
    names = model.context_names
    if options.context is None and names is None:
        raise ValueError(
            f"the model is conditional on {count_of(model.flow.context_dim, 'column')} whose names it does not know: "
            "--context says where they are in the table, --context-values gives one context for all rows"
        )
    return Columns(options.context, names, or_rest=False)


def _read(path: PathLike, groups: list[Columns], options: argparse.Namespace, dtype: DTypeLike) -> list[Table]:
    return read_columns(path, groups, delimiter=options.delimiter, header=options.header, dtype=dtype)


def _check_width(what: str, expected: int, values: Floats, path: str, option: str) -> None:
    if values.shape[1] != expected:
        raise ValueError(
            f"{what} has {count_of(expected, 'column')}, got {values.shape[1]} from {path}: {option} chooses some of a table"
        )
