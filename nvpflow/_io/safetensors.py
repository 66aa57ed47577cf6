"""Read and write a text and named arrays as a .safetensors file. containers.py describes the readers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from nvpflow._io.array_check import check_array
from nvpflow._typing import Floats

__all__ = ["open_safetensors", "write_safetensors"]


def write_safetensors(file: IO[bytes], header: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write the arrays, and the text as the entry "header" of the metadata.

    Further entries hold checksums. An .npz file has its own.
    """
    checksums = {f"crc32.{name}": _checksum(array) for name, array in arrays.items()}
    metadata = {"header": header, "crc32.header": _checksum(header.encode()), **checksums}
    file.write(_safetensors().numpy.save(arrays, metadata))


@contextlib.contextmanager
def open_safetensors(source: str | bytes) -> Iterator[SafeTensors]:
    safetensors = _safetensors()
    try:
        with _as_path(source) as path, safetensors.safe_open(os.fspath(path), framework="np") as archive:
            yield SafeTensors(archive)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error


@contextlib.contextmanager
def _as_path(source: str | bytes) -> Iterator[str]:
    """Write bytes to a temporary file: safetensors reads metadata only from files."""
    if not isinstance(source, bytes):
        yield source
        return
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        with open(path, "wb") as file:
            file.write(source)
        yield path


class SafeTensors:
    """Reader of files by `write_safetensors`."""

    def __init__(self, archive: Any) -> None:
        self.archive, self.names, self.metadata = archive, archive.keys(), archive.metadata() or {}

    @property
    def header(self) -> str:
        text: str = self.metadata["header"]
        self._check("header", text.encode())
        return text

    def read(self, name: str, dtype: npt.DTypeLike, n: int) -> Floats:
        """Read the array of this name, which must have this dtype and the shape (n,)."""
        if name not in self.names:
            raise KeyError(name)
        found = self.archive.get_slice(name)
        check_array(name, [found.get_dtype(), found.get_shape()], [_name_of(np.dtype(dtype)), [n]])
        array: Floats = self.archive.get_tensor(name)
        self._check(name, array)
        return array

    def _check(self, name: str, content: bytes | npt.NDArray[Any]) -> None:
        if self.metadata.get(f"crc32.{name}", _checksum(content)) != _checksum(content):  # the first files have none
            raise ValueError(f"{name} has another checksum than when it was saved")


def _checksum(content: bytes | npt.NDArray[Any]) -> str:
    """CRC-32, as in an .npz, of a text in UTF-8 or of an array."""
    import zlib

    return f"{zlib.crc32(cast(bytes, content)):08x}"


def _safetensors() -> ModuleType:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(f".safetensors files need that package: pip install safetensors ({error})") from error
    return safetensors


def _name_of(dtype: np.dtype[Any]) -> str:
    """The name of a dtype in the format: F32, F64, U8."""
    return f"{dtype.kind.upper()}{8 * dtype.itemsize}"
