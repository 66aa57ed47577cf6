"""The commands condition and explain, which ask a fitted density."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

import nvpflow
from nvpflow._warnings import kept_warnings, warn_user
from nvpflow.cli._arguments import (
    N_SAMPLES,
    SEED,
    TABLE_OUT,
    Commands,
    add_command,
    add_context,
    add_model,
    add_table,
    add_table_options,
    columns,
    named_values,
    numbers,
    real,
)
from nvpflow.cli._files import Model, check_place, load_beside
from nvpflow.cli._rows import context_rows, context_value, read_columns_of, read_rows
from nvpflow.cli.tables import write_table

if TYPE_CHECKING:
    from nvpflow.queries.conditional import ConditionalDensity

__all__ = ["add_condition", "add_explain"]

LEVEL = real(0, low_open=True, high=1)
FIELDS = ("value", "log_density", "p_value", "typical", "low", "high")  # of explanations
Table: TypeAlias = npt.NDArray[Any]


def add_condition(commands: Commands) -> None:
    parser = add_command(
        commands,
        "condition",
        "The density of some columns given others: mean, standard deviation and central interval of each free column, or\n"
        "quantiles, a density on a grid, or samples. Given are values (--given), the rows of a table, or both. Columns that\n"
        "are neither given nor free are integrated out. Of a category the probability of each value is written.",
        [
            "nvpflow condition model.npz --given x=1,y=2",
            "nvpflow condition model.npz --given colour=red --free price --quantiles 0.05,0.5,0.95",
            "nvpflow condition model.npz new.csv --free price -o prices.csv  # for each row of a table",
            "nvpflow condition model.npz --given 1=0.5 --free 2 --grid 0:10:101",
            "nvpflow condition model.npz --given x=1 -n 100 > samples.csv",
            "nvpflow condition model.npz --free price  # given nothing: the marginal density",
        ],
        help="the density of some columns given others",
    )
    add_model(parser)
    parser.add_argument("data", metavar="TABLE", nargs="?", help='rows of given columns; "-": standard input')
    parser.add_argument(
        "--given", type=named_values, default={}, metavar="LIST", help="values of columns, by name or number, as in x=1,2=0.5"
    )
    parser.add_argument("--free", type=columns, metavar="LIST", help="free columns (all that are not given)")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--level", type=LEVEL, default=0.9, metavar="X", help="of the intervals (0.9)")
    shape.add_argument("--quantiles", type=numbers, metavar="LIST", help="probabilities of quantiles, instead of the mean")
    shape.add_argument("--grid", type=_grid, metavar="A:B:N", help="the density at N values of the free column from A to B")
    shape.add_argument("-n", "--n-samples", type=N_SAMPLES, metavar="N", help="samples, for each row")
    parser.add_argument("-o", "--output", default="-", metavar="TABLE", help=TABLE_OUT)
    parser.add_argument(
        "--random-state", type=SEED, metavar="N", help="seed of samples (the one given to fit; without one, others every time)"
    )
    add_context(parser)
    add_table_options(parser, "columns of the table that are given", "those of the model that are not free, by their names")
    parser.set_defaults(run=_condition)


def _grid(text: str) -> npt.NDArray[np.float64]:
    parts = text.split(":")
    try:
        low, high, n = float(parts[0]), float(parts[1]), int(parts[2])
    except (ValueError, IndexError):
        raise argparse.ArgumentTypeError(f"must be two numbers and a count, as in 0:10:101, got {text!r:.60}") from None
    if len(parts) != 3 or not -np.inf < low < high < np.inf or not 2 <= n <= 10**6:
        raise argparse.ArgumentTypeError(f"must rise in at least 2 and at most 1000000 finite values, got {text!r:.60}")
    return np.linspace(low, high, n)


def _condition(options: argparse.Namespace) -> None:
    check_place(options.output, options.model, options.data)
    model = load_beside(options, options.data)
    density = _density_of(model, options)
    given = {_place(model, key, "--given"): _value(model, key, text) for key, text in options.given.items()}
    if len(given) < len(options.given):
        raise ValueError("--given must name each column once")
    free = None if options.free is None else [_place(model, key, "--free") for key in options.free]
    context, n = context_value(options, model), None
    if options.data is not None:
        rows, context_of_table = read_columns_of(options, model, _left(model, free, given))
        given |= {place: rows[:, i].tolist() for i, place in enumerate(_left(model, free, given))}
        n = len(rows)
        context = context_rows(context, n) if context_of_table is None else context_of_table
    elif model.context_dim and context is None:
        raise ValueError("the model is conditional: --context-values, or a table with its context, must be given")
    found = density.conditional(given, free, context=context)
    names = [model.names[place] if model.names else str(place + 1) for place in found._given.free]
    with kept_warnings() as kept:  # means, deviations and intervals have the same ones
        answer = _answer(options, found, names, model, n or 1)
    for message, category in dict.fromkeys(kept):
        warn_user(message, category)
    dtypes = None if options.n_samples is None else [model.dtypes[place] for place in found._given.free]
    write_table(options.output, *answer, dtypes)


def _left(model: Model, free: list[int] | None, given: dict[int, Any]) -> list[int]:
    """The columns that a table gives."""
    if free is None:
        raise ValueError("--free must say which columns of the model are free, where a table gives the others")
    return [place for place in range(model.data_dim) if place not in free and place not in given]


def _answer(
    options: argparse.Namespace, found: ConditionalDensity, names: list[str], model: Model, n: int
) -> tuple[Table, list[str]]:
    """The table to write, and the names of its columns."""
    free = found._given.free
    if options.n_samples is not None:
        samples = np.asarray(found.sample(options.n_samples, options.random_state))
        return samples.reshape(-1, len(free)), names
    if len(free) == 1 and free[0] in model.categories:
        return _with_rows(n, found.pdf(values := _values(model, free[0])), values, names, "probability")
    if options.grid is not None:
        return _with_rows(n, found.pdf(options.grid), options.grid.tolist(), names, "density")
    _refuse_categories(free, names, model)
    if options.quantiles is not None:
        fields = [f"q{q:g}" for q in options.quantiles]
        parts = [found.marginal(place).ppf(options.quantiles).reshape(n, -1) for place in free]
    else:
        fields = ["mean", "std", "low", "high"]
        moments = [part.reshape(n, len(free), -1) for part in (found.mean(), found.std(), found.interval(options.level))]
        parts = list(np.moveaxis(np.concatenate(moments, axis=2), 1, 0))
    table = np.empty((n, len(free), 2 + len(fields)), dtype=object)
    table[:, :, 0], table[:, :, 1] = np.arange(1, n + 1)[:, np.newaxis], names
    table[:, :, 2:] = np.stack(parts, axis=1)
    return table.reshape(n * len(free), -1), ["row", "column", *fields]


def _refuse_categories(free: Sequence[int], names: list[str], model: Model) -> None:
    of_texts = [name for place, name in zip(free, names) if place in model.categories]
    others = ",".join(name for name in names if name not in of_texts)
    if of_texts:
        raise ValueError(
            f"column {of_texts[0]!r} holds categories, which have no mean and no quantiles: --free {of_texts[0]} has their "
            f"probabilities, --free {others} the other columns"
        )


def _with_rows(n: int, p: Table, values: list[Any], names: list[str], word: str) -> tuple[Table, list[str]]:
    """A line for each row and value."""
    table = np.empty((n, len(values), 3), dtype=object)
    table[:, :, 0], table[:, :, 1], table[:, :, 2] = np.arange(1, n + 1)[:, np.newaxis], values, p.reshape(n, -1)
    return table.reshape(-1, 3), ["row", names[0], word]


def _values(model: Model, place: int) -> list[Any]:
    """The values of a category, each once."""
    return list(dict.fromkeys(model.categories[place].values()))


def _place(model: Model, key: str, option: str) -> int:
    """The column with a name, or a number from 1."""
    if model.names is not None and key in model.names:
        if model.names.count(key) > 1:
            raise ValueError(f"{option}: the model has {model.names.count(key)} columns {key!r:.60}: use their numbers")
        return model.names.index(key)
    if key.isascii() and key.isdigit() and 1 <= int(key) <= model.data_dim:
        return int(key) - 1
    known = "" if model.names is None else f"the names {', '.join(model.names[:20])}, or "
    raise ValueError(f"{option} must name columns of the model: {known}numbers from 1 to {model.data_dim}; got {key!r:.60}")


def _value(model: Model, key: str, text: str) -> Any:
    of_texts = model.categories.get(_place(model, key, "--given"))
    if of_texts is not None:
        return of_texts.get(text, text)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--given must have a number for {key}, got {text!r:.60}") from None


def _density_of(model: Model, options: argparse.Namespace) -> nvpflow.FlowDensity:
    if model.estimator is None:
        kind = type(model.fitted).__name__
        raise ValueError(f"{options.model} holds a {kind}: {options.command} needs an estimator, which fit writes")
    return model.estimator


def add_explain(commands: Commands) -> None:
    parser = add_command(
        commands,
        "explain",
        "Why rows are outliers: for each cell its log-density given the other cells of the row, the probability of values\n"
        "as far out (p_value), and what would be typical there: the conditional mean, or the most likely category, and a\n"
        "central interval. Cells may be empty.",
        [
            "nvpflow explain model.npz data.csv",
            "nvpflow explain detector.npz data.csv --p-value 0.01  # unusual cells alone",
            "nvpflow explain model.npz data.csv -o cells.parquet --level 0.99",
        ],
        help="which cells of a row are unusual",
    )
    add_model(parser)
    add_table(parser)
    add_context(parser)
    parser.add_argument("--level", type=LEVEL, default=0.9, metavar="X", help="of the intervals (0.9)")
    parser.add_argument("--p-value", type=LEVEL, metavar="X", help="write the cells whose p-value is at most this (all cells)")
    parser.add_argument("-o", "--output", default="-", metavar="TABLE", help=TABLE_OUT)
    parser.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> None:
    from nvpflow.queries._explain import explanations

    check_place(options.output, options.model, options.data)
    model = load_beside(options, options.data)
    density = _density_of(model, options)
    rows = read_rows(options, model, missing=True)
    found = explanations(density, rows.x, rows.context, options.level)
    n, names = len(rows.x), model.names or [str(place + 1) for place in range(model.data_dim)]
    table = np.empty((n * len(names), 2 + len(FIELDS)), dtype=object)
    table[:, 0], table[:, 1] = np.repeat(np.arange(1, n + 1), len(names)), np.tile(names, n)
    for i, field in enumerate(FIELDS):
        table[:, 2 + i] = found[field].tolist()
    if options.p_value is not None:
        with np.errstate(invalid="ignore"):
            table = table[found["p_value"] <= options.p_value]
    write_table(options.output, table, ["row", "column", *FIELDS])
