"""Standard input, output and error, some of which may be closed or have no reader."""

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["discard_output", "message_of", "open_closed_streams", "say", "show_warnings", "write_bytes"]


def open_closed_streams() -> None:
    """Put the null device where standard input, output or error was closed when the process started.

    The next file to be opened would take its descriptor otherwise, and get what is meant for the stream. It is opened the
    wrong way round, so that reading from a closed input or writing to a closed output remains an error, as in the module
    stdopen of gnulib. What goes to a closed standard error is lost.
    """
    for descriptor, (name, flag, mode) in enumerate(
        (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))
    ):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flag)  # gets the lowest descriptor that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - it stays open


def say(text: str) -> None:
    """Print to standard error, if anything can be printed there."""
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def message_of(error: Warning | Exception | str) -> str:
    """An error in one line."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
        if error.filename is None and error.errno == errno.EBADF:
            text = "standard input or standard output is closed"
    return " ".join(text.split())


@contextmanager
def show_warnings() -> Iterator[None]:
    """Show warnings on standard error afterwards, each in one line, but for those that are meant for programmers."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for category in (DeprecationWarning, ImportWarning, PendingDeprecationWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        yield
    for warning in caught:
        say(f"nvpflow: warning: {message_of(warning.message)}")


def write_bytes(content: bytes) -> None:
    """To standard output."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def discard_output() -> None:
    """Give up a standard output that takes nothing."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard(sys.stdout)


def _discard(stream: TextIO) -> None:
    """Drop what is buffered: Python would try to write it again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
