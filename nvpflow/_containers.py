"""The two kinds of files that hold a text and named arrays: .npz and .safetensors.

A reader has `header`, the text, `names`, and ``read(name, dtype, n)``. It allocates nothing that the file does not
hold, and knows the dtype and the shape of an array before it reads it.
"""

import contextlib
import errno
import os
import re
from typing import Any

import numpy as np

__all__ = ["open_container", "write_npz", "write_safetensors"]


def write_npz(file, header, arrays):
    """As numpy.savez does: members are not compressed. The text is an array of no dimensions."""
    np.savez(file, header=np.array(header, dtype=f"<U{len(header)}"), **arrays)


def write_safetensors(file, header, arrays):
    """The text is the entry "header" of the metadata, which that package keeps beside the arrays; further entries are the
    checksums, which an .npz has of itself."""
    checksums = {f"crc32.{name}": _checksum(array) for name, array in arrays.items()}
    metadata = {"header": header, "crc32.header": _checksum(header.encode()), **checksums}
    file.write(_safetensors().numpy.save(arrays, metadata))


def open_container(path):
    """A context manager that gives the reader for a file, by its content.

    Raises
    ------
    ValueError
        If it is neither kind, or damaged. The readers raise this, too.
    OSError
        If it cannot be read.
    ImportError
        If it is a .safetensors file and that package is not there.
    """
    with open(path, "rb") as file:
        if not file.seekable():
            raise OSError(errno.ESPIPE, "a model is read from a file, in any order, not from a pipe", path)
        start = file.read(9)
    if start.startswith(b"PK\3\4"):
        return _open_npz(path)
    if start[8:] == b"{":
        return _open_safetensors(path)
    raise ValueError("it is neither an .npz nor a .safetensors file")


@contextlib.contextmanager
def _open_npz(path):
    import struct
    import zipfile

    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            yield Npz(archive, os.fstat(file.fileno()).st_size)
    except (EOFError, NotImplementedError, OverflowError, struct.error, zipfile.BadZipFile) as error:
        raise ValueError(f"the archive is damaged: {error or type(error).__name__}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError("the archive is damaged: an offset is negative") from error  # that zipfile went to


@contextlib.contextmanager
def _open_safetensors(path):
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(os.fspath(path), framework="np") as archive:
            yield SafeTensors(archive)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error


class Npz:
    """What `write_npz` wrote. As members are not compressed, none can be larger than the file."""

    def __init__(self, archive, file_size):
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
        total = sum(member.file_size for member in self.members.values())
        if total > file_size:
            raise ValueError(f"its members overlap: they claim {total} bytes in a file of {file_size}")
        self.names = self.members.keys()

    @property
    def header(self):
        content, dtype, shape = self._open("header")
        if not re.fullmatch(r"<U\d+", dtype) or shape != "()":
            raise ValueError(f"header must be a text, got an array of dtype {dtype!r} and shape {shape}")
        with content:
            return content.read().decode("utf-32-le")

    def read(self, name, dtype, n):
        """The array of this name, if it has this dtype and the shape (n,)."""
        content, *found = self._open(name)
        dtype = np.dtype(dtype).newbyteorder("<")
        _check_array(name, found, [dtype.str, f"({n},)"])
        with content:
            data = content.read(n * dtype.itemsize)
            if len(data) != n * dtype.itemsize or content.read(1):
                raise ValueError(f"{name} does not have the size that its shape ({n},) needs")
        return np.frombuffer(data, dtype)

    def _open(self, name):
        """A member, read up to its data, and the dtype and shape of them as NumPy writes them."""
        content = self.archive.open(self.members[name])
        start = content.read(10)
        text = content.read(int.from_bytes(start[8:], "little")).decode("latin-1")
        match = re.fullmatch(r"\{'descr': '([^']*)', 'fortran_order': False, 'shape': (\([\d, ]*\)), \} *\n", text)
        if start[:8] != b"\x93NUMPY\1\0" or not match:
            raise ValueError(f"{name} does not begin as a NumPy array: {(start + text.encode())[:80]!r}")
        return content, *match.groups()


class SafeTensors:
    """What `write_safetensors` wrote."""

    def __init__(self, archive):
        self.archive, self.names, self.metadata = archive, archive.keys(), archive.metadata() or {}

    @property
    def header(self):
        text = self.metadata["header"]
        self._check("header", text.encode())
        return text

    def read(self, name, dtype, n):
        """The array of this name, if it has this dtype and the shape (n,)."""
        if name not in self.names:
            raise KeyError(name)
        found = self.archive.get_slice(name)
        _check_array(name, [found.get_dtype(), found.get_shape()], [f"F{8 * np.dtype(dtype).itemsize}", [n]])
        array = self.archive.get_tensor(name)
        self._check(name, array)
        return array

    def _check(self, name, content):
        if self.metadata.get(f"crc32.{name}", _checksum(content)) != _checksum(content):  # the first files had none
            raise ValueError(f"{name} has another checksum than when it was saved")


def _checksum(content):
    """CRC-32, as an .npz has it, of text in UTF-8 or of an array."""
    import zlib

    return f"{zlib.crc32(content):08x}"


def _check_array(name, found, expected):
    if found != expected:
        raise ValueError(
            f"{name} must have dtype {expected[0]} and shape {expected[1]}, got {found[0]} and {found[1]}"
        )


def _safetensors():
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(f".safetensors files need that package: pip install safetensors ({error})") from error
    return safetensors
