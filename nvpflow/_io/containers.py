"""The two kinds of files that hold a text and named arrays: .npz and .safetensors.

A reader has `header`, the text, `names`, and ``read(name, dtype, n)``. It allocates nothing that the file does not
hold, and knows the dtype and the shape of an array before it reads it.
"""

import errno

from nvpflow._io.npz import open_npz, open_source
from nvpflow._io.safetensors import open_safetensors

__all__ = ["open_container"]


def open_container(source):
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
