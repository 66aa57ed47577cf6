"""The supports of columns, as options of `nvpflow fit`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import nvpflow
from nvpflow.cli._arguments import columns, integer, real
from nvpflow.cli._rows import Rows
from nvpflow.supports import Declared, check_support

__all__ = ["add_support", "context_support_of", "support_of"]


class _Bounded(NamedTuple):
    """A column and its bounds, None for an open end."""

    column: str
    low: Any = None
    high: Any = None


def add_support(parser: argparse.ArgumentParser) -> None:
    """Add the options. Each names columns of the model."""
    parser.add_argument("--positive", type=columns, metavar="LIST", default=[], help="columns of numbers >= 0 (none)")
    parser.add_argument("--unit", type=columns, metavar="LIST", default=[], help="columns of numbers from 0 to 1 (none)")
    parser.add_argument(
        "--category", type=columns, metavar="LIST", default=[], help="columns of texts, or of other unordered values (none)"
    )
    parser.add_argument(
        "--context-category",
        type=columns,
        metavar="LIST",
        default=[],
        help="columns of the context that are categories (none)",
    )
    number, whole = real(-np.inf, low_open=True), integer(1 - 2**53, 2**53 - 2)
    for option, convert, needed, words in (
        ("--bounds", number, True, "columns of numbers between bounds, as in x:0:10,y:5:"),
        (
            "--angle",
            number,
            False,
            "periodic columns, with a range other than 0 to 2 pi or without, as in heading:0:360,phase",
        ),
        ("--integer", whole, False, "columns of whole numbers, with bounds or without, as in n,k:0:10,m:0:"),
    ):
        parser.add_argument(option, type=_list_of(convert, needed), metavar="LIST", default=[], help=f"{words} (none)")


def _list_of(convert: Callable[[str], Any], needed: bool) -> Callable[[str], list[_Bounded]]:
    """A type for argparse: columns with bounds, low:high after the name, where an open end is empty."""

    def parse(text: str) -> list[_Bounded]:
        return [bounded(part) for part in columns(text)]

    def bounded(text: str) -> _Bounded:
        name, *ends = text.rsplit(":", 2) if text.count(":") >= 2 else [text]
        if not name or (needed and not ends):
            raise argparse.ArgumentTypeError(f"must be columns with bounds, as in x:0:10, got {text!r}")
        return _Bounded(name, *(convert(end) if end else None for end in ends))

    return parse


def support_of(options: argparse.Namespace, rows: Rows) -> dict[int, Any] | None:
    """The parameter `support`, by the number of the column of the rows. None where there is no option."""
    named: list[tuple[str, Any]] = [(name, "positive") for name in options.positive]
    named += [(name, "unit") for name in options.unit]
    named += [(column, (low, high)) for column, low, high in options.bounds]
    named += [(column, _angle(column, low, high)) for column, low, high in options.angle]
    named += [(name, "category") for name in options.category]
    named += [(column, nvpflow.Integer(low, high)) for column, low, high in options.integer]
    support: dict[int, Any] = {}
    for name, kind in named:
        column = find_column(name, rows.names, rows.x.shape[1])
        if column in support:
            raise ValueError(f"column {name!r:.60} has two supports")
        support[column] = kind
    if support:  # here, for the names of the columns
        names = np.array(range(1, rows.x.shape[1] + 1) if rows.names is None else rows.names, dtype=object)
        declared = Declared(check_support("support", support), names)
        kinds = declared.of_all(rows.x.shape[1])
        others = [i for i, kind in enumerate(kinds) if not isinstance(kind, nvpflow.Category)]
        declared.of_numbers(len(kinds)).check(rows.x[:, others].astype(np.float64))
    return support or None


def context_support_of(options: argparse.Namespace, rows: Rows) -> dict[int, Any] | None:
    """The parameter `context_support`, by the number of the column. None where there is no option."""
    if rows.context is None or not options.context_category:
        return None
    return {
        find_column(name, rows.context_names, rows.context.shape[1], "the context"): "category"
        for name in options.context_category
    }


def _angle(column: str, low: float | None, high: float | None) -> nvpflow.Angle:
    if (low is None) != (high is None):
        raise ValueError(f"--angle must have both ends of the range of {column!r:.60}, or none")
    return nvpflow.Angle() if low is None or high is None else nvpflow.Angle(low, high)


def find_column(name: str, names: list[str] | None, width: int, what: str = "the model") -> int:
    """The number of a column of the model, from 0, by its name or by its number from 1."""
    names = names or []
    if names.count(name) == 1:
        return names.index(name)
    if name.isascii() and name.isdigit() and len(name) < 10 and 1 <= int(name) <= width and name not in names:
        return int(name) - 1
    known = ", ".join(shown[:60] for shown in names[:20]) if names else f"1 to {width}"
    raise ValueError(f"{what} has no column {name!r:.60}; it has {known}")
