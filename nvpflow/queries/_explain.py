"""Why a row is an outlier: how unusual each of its cells is, given the others, and what would be usual there."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._typing import ArrayLike, Floats
from nvpflow._validation.arguments import check_real
from nvpflow._warnings import kept_warnings, warn_user
from nvpflow.queries._given import Given
from nvpflow.queries.conditional import ConditionalDensity

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity

__all__ = ["FIELDS", "explain", "explanations"]

FIELDS = ("value", "log_density", "p_value", "typical", "low", "high")


def explain(model: FlowDensity, X: ArrayLike, context: ArrayLike | None, level: float) -> Any:
    """A frame, or a dict of arrays, with an entry for each row and column."""
    found = explanations(model, X, context, level)
    dim = model.n_features_in_
    names = getattr(model, "feature_names_in_", np.arange(dim))
    n = len(found["p_value"]) // dim
    fields: dict[str, Any] = {"row": np.repeat(np.arange(n), dim), "column": np.tile(names, n)} | found
    if importlib.util.find_spec("pandas") is None:
        return fields
    import pandas

    index = getattr(X, "index", None)
    if isinstance(X, pandas.DataFrame) and index is not None:
        fields["row"] = np.repeat(np.asarray(index), dim)
    return pandas.DataFrame(fields).set_index(["row", "column"])


def explanations(model: FlowDensity, X: ArrayLike, context: ArrayLike | None, level: float) -> dict[str, Any]:
    """The fields, each (n D,): the cells of one row after those of the other."""
    level = check_real("level", level, 0, 1, low_open=True)
    rows = model._check_incomplete(X).astype(np.float64)
    given = model._context_of_incomplete(context, len(rows))
    with kept_warnings() as kept:
        columns = [_explain_column(model, rows, given, column, level) for column in range(model.n_features_in_)]
    for message, category in dict.fromkeys(kept):  # columns have the same ones
        warn_user(message, category)
    fields: dict[str, Any] = {}
    for field in FIELDS:
        parts = [column[field] for column in columns]
        dtype = object if any(np.asarray(part).dtype == object for part in parts) else np.float64
        fields[field] = np.stack([np.asarray(part, dtype) for part in parts], axis=1).ravel()
    return fields


def _explain_column(model: FlowDensity, rows: Floats, context: Floats | None, column: int, level: float) -> dict[str, Any]:
    """The fields of one column, each (n,). Those of missing cells are NaN, but for what is usual there."""
    categories = model._known_categories()
    others = list(range(model.n_features_in_)) if categories is None else list(categories.coding.others)
    is_number = column in others
    place = others.index(column) if is_number else len(others) + sum(c < column and c not in others for c in range(column))
    opened = rows.copy()
    opened[:, place] = np.nan
    density = ConditionalDensity(model, Given(opened, (column,), False), context)
    value = rows[:, place]
    norm = density._checked(density._norm)
    with np.errstate(invalid="ignore"):  # outside of supports
        log_density = density._log_density(rows, np.arange(len(rows))) - norm
    found: dict[str, Any] = {"log_density": np.where(np.isnan(value), np.nan, log_density)}
    if is_number:
        of_column = density._line(column)
        low, high = of_column.interval(level).T
        p_value = of_column.two_sided(value[:, np.newaxis])[:, 0]
        return found | {"value": value, "p_value": p_value, "typical": of_column.moments()[0], "low": low, "high": high}
    assert categories is not None
    values = categories.coding.values[place - len(others)]
    p = density.pdf(list(values)).reshape(len(rows), -1)
    table = np.empty(len(values) + 1, dtype=object)
    table[:-1] = values
    code = np.where(np.isnan(value), len(values), value).astype(np.intp)
    own = np.exp(log_density)[:, np.newaxis]
    p_value = np.where(np.isnan(value), np.nan, (p * (p <= own * (1 + 1e-6))).sum(axis=1))
    nothing = np.full(len(rows), np.nan)
    return found | {
        "value": table[code], "p_value": p_value, "typical": table[p.argmax(axis=1)], "low": nothing, "high": nothing
    }  # fmt: skip
