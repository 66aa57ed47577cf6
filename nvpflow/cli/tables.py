"""Tables of numbers in files: CSV, NPY and Parquet.

The format of an input is detected from its content, and that of an output from its file name. "-" is standard input and
standard output.
"""

from __future__ import annotations

import csv
import errno
import io
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any, BinaryIO, TextIO, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from nvpflow._io.writing import replacing
from nvpflow._typing import DTypeLike, PathLike
from nvpflow.cli._streams import naming
from nvpflow.cli._table_columns import Columns, Table, TableError, Wanted
from nvpflow.cli._table_text import read_text
from nvpflow.supports._kinds import REALS
from nvpflow.supports._number_types import NumberType, number_type

__all__ = ["Columns", "TableError", "read_columns", "read_mixed", "read_table", "read_typed", "write_table"]

CATEGORY_CELLS = (str, bool, int, float, type(None))  # in a Parquet file
CHUNK = 10_000  # values to format at once
WHOLE_FORMAT = "%d"
# With this many significant digits, reading gives the same float.
FORMATS = {np.dtype(np.float32): "%.9g", np.dtype(np.float64): "%.17g"}

Whole: TypeAlias = "Sequence[NumberType | None] | None"


def read_table(
    path: PathLike,
    columns: Sequence[str] | None = None,
    *,
    delimiter: str | None = None,
    header: bool | None = None,
    known: Sequence[str] | None = None,
    dtype: DTypeLike = "float64",
) -> tuple[npt.NDArray[np.float64], list[str] | None]:
    """Read a table of finite numbers.

    Parameters
    ----------
    path : str or path-like
        "-" is standard input.
    columns : sequence of str, optional
        Names of columns, or numbers such as "3" and "2-4", counted from 1. Default: all, or `known`.
    delimiter : str, optional
        The character between the cells of a CSV. Default: the first of tab, semicolon, bar and comma that the first line has
        outside of quotes, else white space.
    header : bool, optional
        Whether the first line of a CSV holds names. Default: True if none of its cells is a number. If only some are numbers,
        or one may be a number, such as 1_000, this is an error.
    known : sequence of str, optional
        Names of the columns to take if the table has names and `columns` is None.
    dtype : {"float64", "float32"}, default "float64"
        The numbers must be finite in this dtype: 1e300 is not finite in float32.

    Returns
    -------
    values : ndarray of float64, shape (n, D)
    names : list of str or None
        Names of the columns, if the table has names.

    Raises
    ------
    ImportError
        If the file is a Parquet file and pyarrow is missing.
    OSError
        If it cannot be read.
    TableError
        If it has no rows, rows of different lengths, a cell that is not a finite number in this dtype (the message names
        row and column), if a column is missing, or if a column is chosen twice.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nvpflow.cli.tables import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "data.csv")
    ...     _ = path.write_text("age,name,height\\n30,Ada,1.7\\n")
    ...     read_table(path, ["height", "1"])
    (array([[ 1.7, 30. ]]), ['height', 'age'])
    """
    groups = [Columns(columns, known)]
    return read_columns(path, groups, delimiter=delimiter, header=header, dtype=dtype)[0]


def read_columns(
    path: PathLike,
    groups: Sequence[Columns],
    *,
    delimiter: str | None = None,
    header: bool | None = None,
    dtype: DTypeLike = "float64",
) -> list[tuple[npt.NDArray[np.float64], list[str] | None]]:
    """Read several groups of columns of a table in one pass.

    Parameters
    ----------
    path : str or path-like
        "-" is standard input.
    groups : sequence of Columns
        They must not overlap.
    delimiter, header, dtype
        As for `read_table`.

    Returns
    -------
    tables : list of (values, names)
        For each group, the result of `read_table`.

    Raises
    ------
    ImportError, OSError, TableError
        As `read_table`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nvpflow.cli.tables import Columns, read_columns
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "data.csv")
    ...     _ = path.write_text("x,y,count\\n0.5,1.5,7\\n")
    ...     read_columns(path, [Columns(), Columns(["count"])])
    [(array([[0.5, 1.5]]), ['x', 'y']), (array([[7.]]), ['count'])]
    """
    return read_mixed(path, groups, delimiter=delimiter, header=header, dtype=dtype)[0]


def read_mixed(
    path: PathLike,
    groups: Sequence[Columns],
    *,
    delimiter: str | None = None,
    header: bool | None = None,
    dtype: DTypeLike = "float64",
) -> tuple[list[Table], list[dict[int, list[Any]]]]:
    """Read groups of columns, some of which are categories.

    Parameters
    ----------
    path, groups, delimiter, header, dtype
        As for `read_columns`.

    Returns
    -------
    tables : list of (values, names)
        As `read_columns` returns them, with the codes of categories.
    categories : list of dict of int to list
        For each group the values of its categories in the order of their codes, by the place of the column in the group.

    Raises
    ------
    ImportError, OSError, TableError
        As `read_table`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nvpflow.cli.tables import Columns, read_mixed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "data.csv")
    ...     _ = path.write_text("x,colour\\n0.5,red\\n0.7,blue\\n")
    ...     read_mixed(path, [Columns(categories=["colour"])])
    ([(array([[0.5, 0. ],
           [0.7, 1. ]]), ['x', 'colour'])], [{1: ['red', 'blue']}])
    """
    return _read_groups(path, Wanted(_source(path), groups, dtype), delimiter, header)


def read_typed(
    path: PathLike,
    groups: Sequence[Columns],
    *,
    delimiter: str | None = None,
    header: bool | None = None,
    dtype: DTypeLike = "float64",
) -> tuple[list[Table], list[dict[int, list[Any]]], list[list[str]]]:
    """As `read_mixed`, and the types of the columns of each group.

    Parameters
    ----------
    path, groups, delimiter, header, dtype
        As for `read_columns`.

    Returns
    -------
    tables, categories : list
        As `read_mixed` returns them.
    types : list of list of str
        For each column of a group the name of its type, as in "int64". In a text it is "int64" where all numbers are whole and
        without a decimal point, and "" elsewhere.

    Raises
    ------
    ImportError, OSError, TableError
        As `read_table`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nvpflow.cli.tables import Columns, read_typed
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "data.csv")
    ...     _ = path.write_text("x,count\\n0.5,3\\n7,4\\n")
    ...     read_typed(path, [Columns()])[2]
    [['', 'int64']]
    """
    wanted = Wanted(_source(path), groups, dtype, with_types=True)
    tables, categories = _read_groups(path, wanted, delimiter, header)
    return tables, categories, [wanted.found.types(group) for group in range(len(groups))]


def _read_groups(
    path: PathLike, wanted: Wanted, delimiter: str | None, header: bool | None
) -> tuple[list[Table], list[dict[int, list[Any]]]]:
    """What `read_mixed` returns."""
    tables = _read(path, wanted, delimiter, header)
    return tables, [wanted.found.values(group) for group in range(len(wanted.groups))]


def _source(path: PathLike) -> str:
    return "standard input" if os.fspath(path) == "-" else os.fspath(path)


def _read(path: PathLike, wanted: Wanted, delimiter: str | None, header: bool | None) -> list[Table]:
    with _open(path) as stream:
        start = stream.peek(6)[:6]
        if start and not start.strip(b"\0"):  # such as of a device, without an end of the line
            raise TableError(f"{_source(path)}, line 1: a NUL character, so this is no text in UTF-8")
        if start.startswith(b"\x93NUMPY"):
            return _read_npy(_seekable(stream), wanted)
        if start.startswith(b"PAR1"):
            return _read_parquet(_seekable(stream), wanted)
        return read_text(stream, wanted, delimiter, header)


def write_table(
    path: PathLike, values: npt.NDArray[Any], names: Sequence[str] | None = None, dtypes: Sequence[str] | None = None
) -> None:
    """Write a table of numbers, or of numbers and values of categories, without loss of precision.

    Parameters
    ----------
    path : str or path-like
        The ending sets the format: .npy is NPY, .parquet and .pq are Parquet, .tsv is a text with tabs, and everything else
        is CSV. "-" is standard output, as CSV.
    values : ndarray of float32, float64 or objects, shape (n, D)
        An .npy file takes numbers alone.
    names : sequence of str, optional
        Names of the columns, for the first line of a CSV.
    dtypes : sequence of str, optional
        Names of types. Columns of whole numbers, as "int64" and "uint8", are written as such; of an .npy file, if all are.

    Raises
    ------
    ImportError
        If the format is Parquet and pyarrow is missing.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> from nvpflow.cli.tables import write_table
    >>> write_table("-", np.array([[0.5, 2.0]]), ["a", "b"])
    a,b
    0.5,2
    """
    if values.dtype == object and Path(path).suffix.lower() == ".npy":
        raise TableError(f"{os.fspath(path)} cannot hold categories, which an .npy file has no type for: write a .csv")
    with writing_table(path, names, len(values), _whole_types(dtypes, values.shape[1])) as write:
        write(values)


def _whole_types(dtypes: Sequence[str] | None, n_columns: int) -> list[NumberType | None]:
    """The types of the columns of whole numbers; None for others."""
    found = [None] * n_columns if dtypes is None else [number_type(dtype) for dtype in dtypes]
    return [one if one is not None and one.digits == 0 else None for one in found]


def _as_whole(values: npt.NDArray[Any], whole: Whole) -> npt.NDArray[Any]:
    """An array of whole numbers, if all columns are of them."""
    whole = whole or [None] * values.shape[1]
    columns = [column if of is None else _converted(column, of) for column, of in zip(values.T, whole)]
    return np.stack(columns, axis=1) if columns and None not in whole else values


def _converted(column: npt.NDArray[Any], of: NumberType) -> npt.NDArray[Any]:
    return of.nearest(column, REALS).astype(of.name)


def _arrow_column(column: npt.NDArray[Any], of: NumberType | None) -> Any:
    if of is not None:
        return _converted(column, of)
    return column.tolist() if column.dtype == object else np.ascontiguousarray(column)


@contextmanager
def writing_table(
    path: PathLike, names: Sequence[str] | None, n: int | None, whole: Whole = None
) -> Iterator[Callable[[npt.NDArray[Any]], None]]:
    """A function that writes parts (m, D) of a table, one after the other. The formats are those of `write_table`.

    The file replaces an old one once it is whole: after an exception the old one is unchanged.

    `n`: the number of all rows, which an NPY file has to know. `whole`: the types of the columns of whole
    numbers, None for others.
    """
    suffix, place = Path(path).suffix.lower(), os.fspath(path)
    if place == "-":
        yield _text_writer(_standard_stream("stdout", "standard output"), names, ",", whole)
        return
    if suffix == ".npy" and n is None:
        raise TableError(f"{place} cannot be written in parts: write a .parquet or a .csv")
    with replacing(place) as file:
        if suffix in (".parquet", ".pq"):
            with _parquet_writer(file, names, whole) as write:
                yield write
        elif suffix == ".npy":
            yield _npy_writer(file, cast(int, n), whole)
        else:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            yield _text_writer(text, names, "\t" if suffix == ".tsv" else ",", whole)
            text.detach()  # its end, and so an error there, is that of the file


def _text_writer(
    file: TextIO, names: Sequence[str] | None, delimiter: str, whole: Whole
) -> Callable[[npt.NDArray[Any]], None]:
    if names is not None:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerow(names)
    return lambda part: _write_rows(file, part, delimiter, whole)


@contextmanager
def _parquet_writer(
    file: IO[bytes], names: Sequence[str] | None, whole: Whole
) -> Iterator[Callable[[npt.NDArray[Any]], None]]:
    arrow, parquet = _pyarrow()
    writers: list[Any] = []

    def write(part: npt.NDArray[Any]) -> None:
        columns = [_arrow_column(column, of) for column, of in zip(part.T, whole or [None] * part.shape[1])]
        table = arrow.table(columns, names=[f"x{i + 1}" for i in range(len(columns))] if names is None else list(names))
        if not writers:
            writers.append(parquet.ParquetWriter(file, table.schema))
        writers[0].write_table(table)

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()


def _npy_writer(file: IO[bytes], n: int, whole: Whole) -> Callable[[npt.NDArray[Any]], None]:
    is_first = True

    def write(part: npt.NDArray[Any]) -> None:
        nonlocal is_first
        part = _as_whole(part, whole)
        if is_first:
            header = np.lib.format.header_data_from_array_1_0(part[:0])
            np.lib.format.write_array_header_1_0(file, header | {"shape": (n, part.shape[1]), "fortran_order": False})
        is_first = False
        file.write(np.ascontiguousarray(part).data)

    return write


@contextmanager
def _open(path: PathLike) -> Iterator[io.BufferedReader]:
    if os.fspath(path) == "-":
        yield cast(io.BufferedReader, _standard_stream("stdin", "standard input").buffer)
    else:
        with naming(path), open(path, "rb") as stream:
            yield stream


def _standard_stream(name: str, words: str) -> TextIO:
    """A standard stream. It is None in Python if it was closed at the start."""
    stream: TextIO | None = getattr(sys, name)
    if stream is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), words)
    return stream


def _seekable(stream: BinaryIO) -> BinaryIO:
    """The stream, or a copy in memory if it is a pipe."""
    return stream if stream.seekable() else io.BytesIO(stream.read())


def _read_npy(stream: BinaryIO, wanted: Wanted) -> list[Table]:
    start = stream.tell()
    shape, dtype = _read_npy_header(stream, wanted.source)
    if dtype.kind not in "fiub" or len(shape) != 2:
        raise TableError(
            f"{wanted.source} must hold an array of real numbers of shape (n, D), got dtype {dtype!s:.100}, shape {shape}"
        )
    size, place = math.prod(shape) * dtype.itemsize, stream.tell()
    if stream.seek(0, io.SEEK_END) - place < size:
        raise TableError(f"{wanted.source} is not a whole NPY file of numbers: its array should take {size} bytes")
    found = wanted.find(shape[1], None)
    found.dtypes |= dict.fromkeys(found.indices, dtype.name)
    stream.seek(start)
    values = np.lib.format.read_array(stream, allow_pickle=False)
    chosen = np.ascontiguousarray(values[:, found.indices], np.float64)
    for column, index in zip(chosen.T, found.indices):
        if index in found.categories and not np.isinf(column).any():
            column[:] = found.categories[index].of([None if np.isnan(value) else value for value in column.tolist()])
    return found.tables(chosen)


def _read_npy_header(stream: BinaryIO, source: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of the array."""
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)
        if version not in read_header:
            raise ValueError(f"it has format version {version}")
        shape, _, dtype = read_header[version](stream)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        if min(shape, default=0) < 0:
            raise ValueError(f"shape {shape}")
    except Exception as error:  # NumPy evaluates the header as Python code, which can fail in any way
        said = str(error.args[0]) if error.args else ""
        reason = re.split(r"\.\s", said)[0] or type(error).__name__  # the rest is advice to programmers
        raise TableError(f"{source} is not a whole NPY file of numbers: {reason:.200}") from error
    return shape, dtype


def _read_parquet(stream: BinaryIO, wanted: Wanted) -> list[Table]:
    from nvpflow.scale._arrow_files import without_index

    arrow, parquet = _pyarrow()
    try:
        file = parquet.ParquetFile(stream)
        names = file.schema_arrow.names
        unique = len(set(names)) == len(names)
        if unique:
            names = without_index(file.schema_arrow, wanted.named)
        found = wanted.find(len(names), names)
        table = file.read(columns=[names[index] for index in found.indices] if unique else None)
    except (arrow.ArrowException, OSError) as error:
        raise TableError(f"{wanted.source} is not a whole Parquet file: {error}") from error
    values = np.empty((table.num_rows, len(found.indices)))
    for i, (index, label) in enumerate(zip(found.indices, found.labels)):
        place = names[index] if unique else index
        if index in found.categories:
            cells = table.column(place).to_pylist()
            _check_categories(cells, index in found.may_miss, wanted.source, label)
            values[:, i] = found.categories[index].of(cells)
            continue
        found.dtypes[index] = str(table.schema.field(place).type)
        column = table.column(place).to_numpy()  # missing values become NaN, or None in a column of objects
        if column.dtype.kind not in "fiub":
            kind = table.schema.field(place).type
            raise TableError(f"{wanted.source}, column {label} must hold real numbers, got {kind!s:.100}")
        values[:, i] = column
    return found.tables(values)


def _check_categories(cells: list[object], may_miss: bool, source: str, label: str) -> None:
    if None in cells and not may_miss:
        raise TableError(f"{source}, row {cells.index(None) + 1}, column {label}: the cell is empty")
    others = {type(cell).__name__ for cell in cells if not isinstance(cell, CATEGORY_CELLS)}
    if others:
        kinds = ", ".join(sorted(others))
        raise TableError(f"{source}, column {label} of categories must hold texts, bools or numbers, got {kinds}")


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"Parquet files need pyarrow: pip install pyarrow ({error})") from error
    return pyarrow, pyarrow.parquet


def _write_rows(file: TextIO, values: npt.NDArray[Any], delimiter: str, whole: Whole) -> None:
    if values.dtype == object:
        rows = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        write = [_cell if of is None else _whole_cell for of in whole or [None] * values.shape[1]]
        return rows.writerows([of(value) for of, value in zip(write, row)] for row in values.tolist())
    n, width = values.shape
    formats = [FORMATS[values.dtype] if of is None else WHOLE_FORMAT for of in whole or [None] * width]
    line = delimiter.join(formats) + "\n"
    rows = max(1, CHUNK // max(1, width))
    for start in range(0, n, rows):
        part = values[start : start + rows]
        file.write(line * len(part) % tuple(part.ravel().tolist()))


def _whole_cell(value: Any) -> str:
    return str(WHOLE_FORMAT % value)


def _cell(value: Any) -> str:
    """A value as a cell, in the shortest text that is read as the same number in float32 if it is one, or else in float64."""
    if not isinstance(value, float):
        return str(value)
    with np.errstate(over="ignore"):
        is_single = float(np.float32(value)) == value
    return FORMATS[np.dtype(np.float32)] % value if is_single else repr(value).removesuffix(".0")
