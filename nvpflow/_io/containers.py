"""The two container formats, .npz and .safetensors: a file holds a text and named arrays.

A reader has the text `header`, the `names`, and ``read(name, dtype, n)``. It checks the dtype and the shape of an array
before it reads it, and allocates no more than the file holds.
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
    """An open file of either format."""

    @property
    def names(self) -> Collection[str]: ...
    @property
    def header(self) -> str: ...
    def read(self, name: str, dtype: npt.DTypeLike, n: int) -> Floats: ...


def open_container(source: str | bytes) -> AbstractContextManager[Reader]:
    """Open a path or bytes with the reader for their content, as a context manager.

    Raises
    ------
    ValueError
        If the content has neither format, or is damaged. The methods of the reader raise this as well.
    OSError
        If the file cannot be read.
    ImportError
        If it is a .safetensors file and the package safetensors is not installed.
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
