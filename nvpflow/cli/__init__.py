"""The command line: ``nvpflow <command>``, or ``python -m nvpflow <command>``.

Results go to standard output; progress, warnings and errors go to standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

import nvpflow
from nvpflow._validation.cells import CellError
from nvpflow.cli import _ask, _check, _models, _moons, _plot
from nvpflow.cli._streams import discard_output, message_of, open_closed_streams, say, show_warnings

__all__ = ["main"]

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130

EPILOG = """\
examples:
  nvpflow fit data.csv -o model.npz               # learn the density of a table
  nvpflow score model.npz new.csv -o scores.csv   # log-density of every row
  nvpflow check model.npz new.csv                 # does the model fit these rows?
  nvpflow explain model.npz new.csv               # which cells are unusual?
  nvpflow condition model.npz --given x=1,y=2     # the other columns, given these
  nvpflow impute model.npz data.csv > full.csv    # fill empty cells
  nvpflow sample model.npz -n 1000 > samples.csv  # new rows
  nvpflow plot model.npz data.csv -o model.png    # density and data
  nvpflow fit - -o - < data.csv | nvpflow info -  # "-" is standard input and output

Tables are CSV, NPY or Parquet files. `nvpflow <command> --help` says more.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : list of str, optional
        Default: the arguments of the process.

    Returns
    -------
    int
        Exit code: 0; 1 after an error; 130 after Ctrl-C.

    Raises
    ------
    SystemExit
        With code 2 after wrong usage, with 0 after --help and --version.

    Examples
    --------
    >>> from nvpflow.cli import main
    >>> main(["fit", "data.csv", "-o", "model.npz"])  # doctest: +SKIP
    0
    """
    open_closed_streams()
    try:
        options = _parse(arguments)
        with show_warnings():
            options.run(options)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        say("\ninterrupted")
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads standard output any more
        pass
    except (ImportError, MemoryError, OSError, TypeError, ValueError) as error:
        counted = error.at(error.row + 1) if isinstance(error, CellError) else error  # rows of files count from 1, as columns
        say(f"nvpflow: error: {message_of(counted)}")
    discard_output()
    return FAILED


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        return _parser().parse_args(arguments)
    except SystemExit:
        sys.stdout.flush()  # the help, which may have no reader
        raise


class _Parser(argparse.ArgumentParser):
    """Reports errors in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USAGE, f"nvpflow: error: {' '.join(message.split())} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="nvpflow",
        description="Real NVP normalizing flows: density estimation and sampling.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nvpflow {nvpflow.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    _models.add_fit(commands)
    _models.add_score(commands)
    _check.add_check(commands)
    _ask.add_explain(commands)
    _ask.add_condition(commands)
    _models.add_impute(commands)
    _models.add_sample(commands)
    _plot.add_plot(commands)
    _models.add_info(commands)
    _moons.add_moons(commands)
    return parser
