"""The command line: ``nvpflow <command>``, or ``python -m nvpflow <command>``.

Results go to stdout; progress, warnings and errors go to stderr.
"""

import argparse
import os
import sys
from collections.abc import Sequence

import nvpflow
from nvpflow.cli import _models, _moons, _plot

__all__ = ["main"]

FAILED, INTERRUPTED = 1, 130  # argparse itself exits with 2

EPILOG = """\
examples:
  nvpflow fit data.csv -o model.npz               # learn the density of a table
  nvpflow score model.npz new.csv -o scores.csv   # log-density of every row
  nvpflow sample model.npz -n 1000 > samples.csv  # new rows
  nvpflow plot model.npz data.csv -o model.png    # samples over data
  nvpflow fit - -o - < data.csv | nvpflow info -  # "-" is standard input and output

Tables are CSV, NPY or Parquet files. `nvpflow <command> --help` says more.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : list of str, optional
        Default: those of the process.

    Returns
    -------
    int
        Exit code: 0; 1 after an error; 130 after Ctrl-C. A wrong usage exits at once, with 2.

    Examples
    --------
    >>> from nvpflow.cli import main
    >>> main(["fit", "data.csv", "-o", "model.npz"])  # doctest: +SKIP
    0
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # nobody reads stdout any more, so nothing may be flushed to it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (ImportError, MemoryError, OSError, TypeError, ValueError) as error:
        print(f"nvpflow: error: {_message(error)}", file=sys.stderr)
        return FAILED


def _message(error):
    """In one line."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _parser():
    parser = argparse.ArgumentParser(
        prog="nvpflow",
        description="Real NVP normalizing flows: density estimation and sampling.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nvpflow {nvpflow.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    _models.add_fit(commands)
    _models.add_score(commands)
    _models.add_sample(commands)
    _plot.add_plot(commands)
    _models.add_info(commands)
    _moons.add_moons(commands)
    return parser
