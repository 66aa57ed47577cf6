"""Read and write a text and named arrays as an .npz file. containers.py describes the readers."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nvpflow._io.array_check import check_array
from nvpflow._typing import Floats

if TYPE_CHECKING:
    from zipfile import ZipFile

__all__ = ["open_npz", "open_source", "write_npz"]


def write_npz(file: IO[bytes], header: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write with numpy.savez, uncompressed. The text is an array of 0 dimensions."""
    members: dict[str, Any] = {"header": np.array(header, dtype=f"<U{len(header)}"), **arrays}
    np.savez(file, **members)


def open_source(source: str | bytes) -> IO[bytes]:
    """Open a path, or bytes as a file."""
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")


@contextlib.contextmanager
def open_npz(source: str | bytes) -> Iterator[Npz]:
    import struct
    import zipfile

    try:
        with open_source(source) as file, zipfile.ZipFile(file) as archive:
            yield Npz(archive, file.seek(0, os.SEEK_END))
    except (EOFError, NotImplementedError, OverflowError, struct.error, zipfile.BadZipFile) as error:
        raise ValueError(f"the archive is damaged: {error or type(error).__name__}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError("the archive is damaged: an offset is negative") from error  # zipfile tried to seek to it


class Npz:
    """Reader of files by `write_npz`. Members are not compressed, so none can be larger than the file."""

    def __init__(self, archive: ZipFile, file_size: int) -> None:
        self.archive = archive
        self.members: dict[str, Any] = {}
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name in self.members:
                raise ValueError(f"it holds {name!r} twice")
            if member.compress_type or member.flag_bits & 1:
                raise ValueError(f"{name!r} is compressed or encrypted")
            if not member.file_size == member.compress_size <= file_size:
                raise ValueError(
                    f"{name!r} claims {member.file_size} bytes, {member.compress_size} packed, in a file of {file_size}"
                )
            self.members[name] = member
        # Models of several densities hold archives: the end of one may be that of a file which is cut off.
        first = min((member.header_offset for member in archive.infolist()), default=0)
        if first:
            raise ValueError(f"the archive is damaged: its first member begins after {first} bytes")
        total = sum(member.file_size for member in self.members.values())
        if total > file_size:
            raise ValueError(f"its members overlap: they claim {total} bytes in a file of {file_size}")
        self.names = self.members.keys()

    @property
    def header(self) -> str:
        content, dtype, shape = self._open("header")
        if not re.fullmatch(r"<U\d+", dtype) or shape != "()":
            raise ValueError(f"header must be a text, got an array of dtype {dtype!r} and shape {shape}")
        with content:
            return content.read().decode("utf-32-le")

    def read(self, name: str, dtype: npt.DTypeLike, n: int) -> Floats:
        """Read the array of this name, which must have this dtype and the shape (n,)."""
        content, *found = self._open(name)
        dtype = np.dtype(dtype).newbyteorder("<")
        check_array(name, found, [dtype.str, f"({n},)"])
        with content:
            data = content.read(n * dtype.itemsize)
            if len(data) != n * dtype.itemsize or content.read(1):
                raise ValueError(f"{name} does not have the size that its shape ({n},) needs")
        return np.frombuffer(data, dtype)

    def _open(self, name: str) -> tuple[IO[bytes], str, str]:
        """Open a member at the beginning of its data. Also return dtype and shape, as NumPy writes them."""
        content = self.archive.open(self.members[name])
        start = content.read(10)
        text = content.read(int.from_bytes(start[8:], "little")).decode("latin-1")
        match = re.fullmatch(r"\{'descr': '([^']*)', 'fortran_order': False, 'shape': (\([\d, ]*\)), \} *\n", text)
        if start[:8] != b"\x93NUMPY\1\0" or not match:
            raise ValueError(f"{name} does not begin as a NumPy array: {(start + text.encode())[:80]!r}")
        return content, match[1], match[2]
