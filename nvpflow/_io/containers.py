"""The two kinds of files that hold a text and named arrays: .npz and .safetensors.

A reader has `header`, the text, `names`, and ``read(name, dtype, n)``. It allocates nothing that the file does not
hold, and knows the dtype and the shape of an array before it reads it.
"""

from __future__ import annotations

import errno
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Protocol

import numpy.typing as npt

from nvpflow._io.npz import open_npz, open_source
from nvpflow._io.safetensors import open_safetensors
from nvpflow._typing import Floats

__all__ = ["Reader", "open_container"]


class Reader(Protocol):
    """An open file, of either kind."""

    @property
    def names(self) -> Collection[str]: ...
    @property
    def header(self) -> str: ...
    def read(self, name: str, dtype: npt.DTypeLike, n: int) -> Floats: ...


def open_container(source: str | bytes) -> AbstractContextManager[Reader]:
    """A context manager that gives the reader for a file, a path or bytes, by its content.

    Raises
    ------
    ValueError
        If it is neither kind, or damaged. The readers raise this, too.
    OSError
        If it cannot be read.
    ImportError
        If it is a .safetensors file and that package is not there.
    """
    with open_source(source) as file:
        if not file.seekable():
            raise OSError(errno.ESPIPE, "a model is read from a file, in any order, not from a pipe", source)
        start = file.read(9)
    if start.startswith(b"PK\3\4"):
        return open_npz(source)
    if start[8:] == b"{":
        return open_safetensors(source)
    raise ValueError("it is neither an .npz nor a .safetensors file")
