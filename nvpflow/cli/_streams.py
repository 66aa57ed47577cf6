"""Standard input, output and error, which may be closed or have no reader."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from nvpflow._typing import PathLike

__all__ = ["discard_output", "message_of", "naming", "open_closed_streams", "say", "show_warnings", "write_bytes"]


def open_closed_streams() -> None:
    """Open the null device in place of standard streams that were closed when the process started.

    Otherwise the next opened file would take the descriptor and receive the output of the stream. The null device is opened
    in the wrong direction, so that reading a closed input or writing a closed output remains an error, as in the module
    stdopen of gnulib. Messages to a closed standard error are lost.
    """
    for descriptor, (name, flag, mode) in enumerate(
        (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))
    ):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flag)  # gets the lowest free descriptor: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - it stays open


def say(text: str) -> None:
    """Print to standard error, if it can be written."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def message_of(error: Warning | Exception | str) -> str:
    """An error in one line."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename or repr('')}: {error.strerror}"
        if error.filename is None and error.errno == errno.EBADF:
            text = "standard input or standard output is closed"
    return " ".join(text.split())


@contextmanager
def show_warnings() -> Iterator[None]:
    """Show warnings on standard error afterwards, each in one line, except those for programmers.

    Those are also NumPy's of numbers that overflow: where that matters, the package has an error or a warning of its own.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for category in (DeprecationWarning, ImportWarning, PendingDeprecationWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", ".* encountered in ", RuntimeWarning)
        yield
    for warning in caught:
        say(f"nvpflow: warning: {message_of(warning.message)}")


@contextmanager
def naming(path: PathLike) -> Iterator[None]:
    """Let an error of the system name the file that is read, if it names none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def write_bytes(content: bytes) -> None:
    """Write to standard output."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def discard_output() -> None:
    """Give up a standard output that cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    """Drop the buffer, which Python would try to write again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
