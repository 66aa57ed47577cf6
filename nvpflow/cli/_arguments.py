"""Arguments that several commands share, their types, and training with progress."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np

import nvpflow
from nvpflow._typing import Ints
from nvpflow.cli._streams import show_warnings

__all__ = [
    "N_SAMPLES",
    "SEED",
    "TABLE_OUT",
    "Commands",
    "add_command",
    "add_context",
    "add_context_values",
    "add_model",
    "add_table",
    "add_table_options",
    "add_tables",
    "columns",
    "count_of",
    "epochs",
    "fit_model",
    "integer",
    "named_values",
    "numbers",
    "or_none",
    "real",
]


T = TypeVar("T")
# The class is not public, but it is what `add_subparsers` returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_command(commands: Commands, name: str, description: str, examples: list[str], **texts: Any) -> argparse.ArgumentParser:
    """Add a command, with examples at the end of its help."""
    return commands.add_parser(
        name,
        description=description,
        epilog="examples:\n" + "".join(f"  {line}\n" for line in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **texts,
    )


def integer(low: int, high: int | None = None) -> Callable[[str], int]:
    """A type for argparse: an integer in a range."""

    def convert(text: str) -> int:
        value = _parse(int, text, "an integer")
        if value < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, got {text}")
        if high is not None and value > high:
            raise argparse.ArgumentTypeError(f"must be at most {high}, got {text}")
        return value

    return convert


def real(low: float, *, low_open: bool = False, high: float = np.inf) -> Callable[[str], float]:
    """A type for argparse: a number in low <= x < high, or low < x < high."""

    def convert(text: str) -> float:
        value = _parse(float, text, "a number")
        if not (low < value if low_open else low <= value) or not value < high:
            bound = f"greater than {low:g}" if low_open else f"at least {low:g}"
            upper = "finite" if high == np.inf else f"below {high:g}"
            raise argparse.ArgumentTypeError(f"must be {upper} and {bound}, got {text}")
        return value

    return convert


def _parse(convert: Callable[[str], T], text: str, what: str) -> T:
    """Convert a text to a number. As in tables, 1_000 and digits of other scripts are refused."""
    try:
        if text.isascii() and "_" not in text:
            return convert(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be {what}, got {text!r:.60}")


def or_none(word: str, convert: Callable[[str], T]) -> Callable[[str], T | None]:
    """A type for argparse: a value for `convert`, or a word for None."""
    return lambda text: None if text == word else convert(text)


SEED = integer(0, 2**32 - 2)
TABLE_OUT = 'CSV, or what ends in .npy, .parquet or .tsv; "-": standard output (-)'
N_SAMPLES = integer(1, 2**48)  # small enough that the request for memory fails cleanly


ALL_OTHERS = "those of the model, by their names, or all but the context"


def add_tables(parser: argparse.ArgumentParser, default: str = ALL_OTHERS) -> None:
    """Add the table that a command reads, which may be several files, or a folder of them."""
    parser.add_argument(
        "data",
        metavar="TABLE",
        nargs="+",
        help="CSV, NPY or Parquet file; several Parquet files, a folder of them, or a file of more than 256 MB are read in "
        'batches; "-": standard input',
    )
    add_table_options(parser, "columns to use", default)


def add_table(parser: argparse.ArgumentParser, default: str = ALL_OTHERS, **options: Any) -> None:
    """Add the table that a command reads."""
    parser.add_argument("data", metavar="TABLE", help='CSV, NPY or Parquet file; "-": standard input', **options)
    add_table_options(parser, "columns to use", default)


def add_table_options(parser: argparse.ArgumentParser, which: str, default: str) -> None:
    """Add options for reading the table. `default` describes the columns used without the option."""
    parser.add_argument(
        "--columns",
        type=columns,
        metavar="LIST",
        help=f"{which}: names, numbers from 1, ranges, as in x,y or 1,3-5 ({default})",
    )
    parser.add_argument(
        "--delimiter",
        type=_delimiter,
        metavar="C",
        help='what separates the cells of a CSV, "tab" for tabs (found in the first line)',
    )
    parser.add_argument(
        "--header",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="whether the first line of a CSV holds the names of the columns (yes, if none of its cells is a number)",
    )


def add_context(parser: argparse.ArgumentParser) -> None:
    """Add the context of a conditional model: columns of the table, or one context for all rows."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--context",
        type=columns,
        metavar="LIST",
        help="columns of the table that are the context of a conditional model (those with the names of its context)",
    )
    add_context_values(group)


def add_context_values(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--context-values",
        type=_values,
        metavar="LIST",
        help="one context for all rows, as in 0.5,1 (--context-values=-0.5,1 where the first one is negative), or by the "
        "names of its columns, as in age=30,colour=red",
    )


def columns(text: str) -> list[str]:
    """A type for argparse: names and numbers of columns."""
    names = [name.strip() for name in text.split(",")]
    if "" in names:
        raise argparse.ArgumentTypeError(f"must be names or numbers with commas between them, got {text!r}")
    return names


def named_values(text: str) -> dict[str, str]:
    """A type for argparse: texts by the names of their columns."""
    parts = text.split(",")
    if not all("=" in part for part in parts):
        raise argparse.ArgumentTypeError(f"must be columns and their values, as in x=1,y=2, got {text!r:.60}")
    named = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in parts)}
    if len(named) < len(parts):
        raise argparse.ArgumentTypeError(f"must name each column once, got {text!r}")
    return named


def numbers(text: str) -> list[float]:
    """A type for argparse: finite numbers."""
    values = [_parse(float, part, "numbers with commas between them") for part in text.split(",")]
    if not np.isfinite(values).all():
        raise argparse.ArgumentTypeError(f"must be finite, got {text}")
    return values


def _values(text: str) -> list[float] | dict[str, str]:
    """Numbers in order, or texts by the names of their columns."""
    return named_values(text) if "=" in text else numbers(text)


def _delimiter(text: str) -> str:
    text = {"tab": "\t", "\\t": "\t"}.get(text, text)
    if len(text) != 1 or text in '"\r\n':
        raise argparse.ArgumentTypeError(f"must be one character or tab, got {text!r}")
    return text


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help='file that fit wrote; "-": standard input')


def fit_model(model: nvpflow.FlowDensity | nvpflow.FlowOutlierDetector, data: Any, verbose: int = 1, **options: Any) -> float:
    """Fit with progress on standard error, and return the time in seconds."""
    start = time.perf_counter()
    with show_warnings():  # after the progress
        model.set_params(verbose=verbose).fit(data, **options)
    seconds = time.perf_counter() - start
    for fitted in (model, getattr(model, "estimator_", model)):
        fitted.set_params(verbose=0)  # a setting of this command, not of the model
    return seconds


def count_of(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def epochs(model: nvpflow.FlowDensity) -> str:
    """The number of epochs and the one that was kept, in words."""
    best = model.best_iter_
    if not isinstance(best, int):
        flows = f"{len(best)} flows of {_listed(np.bincount(model.history_['member']))} epochs"
        if model.validation_fraction is None:
            return flows
        kept = f"the parameters of epochs {_listed(best)}" if best.any() else "the starts, since no epoch improved on them,"
        return f"{flows}, {kept} kept"
    if model.validation_fraction is None:
        return f"{model.n_iter_} epochs"
    kept = f"the parameters of epoch {best}" if best else "the start, since no epoch improved on it,"
    return f"{model.n_iter_} epochs, {kept} kept"


def _listed(counts: Ints) -> str:
    """Counts with commas; a single one if all are equal."""
    return ", ".join(map(str, counts if (counts != counts[0]).any() else counts[:1]))
