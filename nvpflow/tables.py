"""Tables of numbers in files: CSV, NPY and Parquet.

The format of what is read is that of the content; the format of what is written is that of the file's name.
"-" is standard input and standard output.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Floats, PathLike

__all__ = ["TableError", "read_table", "write_table"]

# The first one that the first line has separates its cells; white space does if it has none.
DELIMITERS = "\t;|,"
CHUNK = 10_000  # values that are formatted at once
# So many significant digits give the same float when they are read again.
FORMATS = {np.dtype(np.float32): "%.9g", np.dtype(np.float64): "%.17g"}


class TableError(ValueError):
    """A file does not hold the table that was expected."""


def read_table(
    path: PathLike,
    columns: Sequence[str] | None = None,
    *,
    delimiter: str | None = None,
    header: bool | None = None,
    known: Sequence[str] | None = None,
) -> tuple[npt.NDArray[np.float64], list[str] | None]:
    """Read a table of finite numbers.

    Parameters
    ----------
    path : str or path-like
        "-" is standard input.
    columns : sequence of str, optional
        Names of columns, and numbers such as "3" and "2-4", which count from 1. Default: all, or `known`.
    delimiter : str, optional
        One character that separates cells of a CSV. Default: tab, semicolon, bar or comma, whichever the first
        line has, else white space.
    header : bool, optional
        Whether the first line of a CSV holds names. Default: if none of its cells is a number.
    known : sequence of str, optional
        Names of the columns to take if the table has names and `columns` is None.

    Returns
    -------
    values : ndarray of float64, shape (n, D)
    names : list of str or None
        Of the columns, if the table has names.

    Raises
    ------
    ImportError
        If the file is a Parquet file and pyarrow is missing.
    OSError
        If it cannot be read.
    TableError
        If it has no rows, rows of different lengths, a cell that is no finite number (the message says in which row and
        column), or not those columns.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from nvpflow.tables import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "data.csv")
    ...     _ = path.write_text("age,name,height\\n30,Ada,1.7\\n")
    ...     read_table(path, ["height", "1"])
    (array([[ 1.7, 30. ]]), ['height', 'age'])
    """
    source = "standard input" if os.fspath(path) == "-" else os.fspath(path)
    chosen = _Choice(source, columns, known)
    with _open(path) as stream:
        start = stream.peek(6)[:6]
        if start.startswith(b"\x93NUMPY"):
            return _read_npy(stream, source, chosen)
        if start.startswith(b"PAR1"):
            return _read_parquet(stream, source, chosen)
        return _read_text(stream, source, chosen, delimiter, header)


def write_table(path: PathLike, values: Floats, names: Sequence[str] | None = None) -> None:
    """Write a table of numbers, from which the same numbers can be read again.

    Parameters
    ----------
    path : str or path-like
        What ends in .npy becomes an NPY file, in .parquet or .pq a Parquet file, in .tsv a text with tabs, and all else
        a CSV. "-" is standard output, a CSV.
    values : ndarray of float32 or float64, shape (n, D)
    names : sequence of str, optional
        Of the columns; the first line of a CSV.

    Raises
    ------
    ImportError
        If the file is to be a Parquet file and pyarrow is missing.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> from nvpflow.tables import write_table
    >>> write_table("-", np.array([[0.5, 2.0]]), ["a", "b"])
    a,b
    0.5,2
    """
    suffix = Path(path).suffix.lower()
    if os.fspath(path) == "-":
        _write_text(sys.stdout, values, names, ",")
    elif suffix == ".npy":
        with open(path, "wb") as file:  # np.save itself would add a suffix to .NPY
            np.save(file, values)
    elif suffix in (".parquet", ".pq"):
        arrow, parquet = _pyarrow()
        names = [f"x{i + 1}" for i in range(values.shape[1])] if names is None else list(names)
        parquet.write_table(arrow.table([np.ascontiguousarray(column) for column in values.T], names=names), path)
    else:
        with open(path, "w", encoding="utf-8", newline="") as file:
            _write_text(file, values, names, "\t" if suffix == ".tsv" else ",")


class _Choice:
    """Which columns of a table are wanted."""

    def __init__(self, source, columns, known):
        self.source, self.columns, self.known = source, columns, known

    def indices(self, width, names):
        """Of the wanted columns in a table of that width, from 0."""
        if self.columns is None and (self.known is None or names is None):
            return list(range(width))
        wanted = self.known if self.columns is None else self.columns
        return [index for text in wanted for index in self._find(text, width, names)]

    def _find(self, text, width, names):
        if names is not None and text in names:
            if names.count(text) > 1:
                raise TableError(f"{self.source} has {names.count(text)} columns {text!r}: use their numbers")
            return [names.index(text)]
        numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
        if numbers and self.columns is not None:
            first, last = int(numbers[1]), int(numbers[2] or numbers[1])
            if 1 <= first <= last <= width:
                return range(first - 1, last)
        has = f"1 to {width}" if names is None else ", ".join(names)
        raise TableError(f"{self.source} has no column {text!r}; it has {has}")


@contextmanager
def _open(path):
    if os.fspath(path) == "-":
        yield sys.stdin.buffer
    else:
        with open(path, "rb") as stream:
            yield stream


def _read_npy(stream, source, chosen):
    try:
        values = np.lib.format.read_array(_seekable(stream), allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise TableError(f"{source} is not a whole NPY file of numbers: {error}") from error
    if values.dtype.kind not in "fiub" or values.ndim != 2:
        raise TableError(
            f"{source} must hold an array of real numbers of shape (n, D), "
            f"got dtype {values.dtype}, shape {values.shape}"
        )
    indices = chosen.indices(values.shape[1], None)
    values = np.ascontiguousarray(values[:, indices], np.float64)
    return _checked(values, source, [index + 1 for index in indices]), None


def _read_parquet(stream, source, chosen):
    arrow, parquet = _pyarrow()
    try:
        file = parquet.ParquetFile(_seekable(stream))
        names = file.schema_arrow.names
        indices = chosen.indices(len(names), names)
        table = file.read(columns=[names[index] for index in indices])
    except arrow.ArrowException as error:
        raise TableError(f"{source} is not a whole Parquet file: {error}") from error
    names = [names[index] for index in indices]
    values = np.empty((table.num_rows, len(names)))
    for i, name in enumerate(names):
        column = table.column(name).to_numpy()  # a missing value becomes NaN, or None in a column of objects
        if column.dtype.kind not in "fiub":
            raise TableError(f"{source}, column {name!r} must hold real numbers, got {table.schema.field(name).type}")
        values[:, i] = column
    return _checked(values, source, list(map(repr, names))), names


def _pyarrow():
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"Parquet files need pyarrow: pip install pyarrow ({error})") from error
    return pyarrow, pyarrow.parquet


def _seekable(stream):
    """A pipe in memory."""
    return stream if stream.seekable() else io.BytesIO(stream.read())


def _read_text(stream, source, chosen, delimiter, header):
    text = io.TextIOWrapper(stream, encoding="utf-8-sig")
    try:
        return _read_lines(_Lines(text, source), source, chosen, delimiter, header)
    except UnicodeDecodeError as error:
        raise TableError(f"{source} is not a text in UTF-8: {error}") from error
    finally:
        text.detach()  # or it would close standard input


def _read_lines(lines, source, chosen, delimiter, header):
    first = next(lines, None)
    if first is None:
        raise TableError(f"{source} is empty")
    lines.delimiter = delimiter or next((mark for mark in DELIMITERS if mark in first), None)
    names = _names(lines.split(first), source, header)
    lines.width = len(lines.split(first))
    row = first if names is None else next(lines, None)
    if row is None:
        raise TableError(f"{source} has a header and no rows below it")
    lines.first_row = lines.number
    indices = chosen.indices(lines.width, names)
    labels = [index + 1 if names is None else repr(names[index]) for index in indices]
    try:
        values = np.loadtxt(
            itertools.chain([row], lines),
            delimiter=lines.delimiter,
            comments=None,
            quotechar='"',
            usecols=indices,
            ndmin=2,
        )
    except TableError:
        raise
    except ValueError as error:
        raise TableError(lines.explain(indices, labels) or f"{source}: {error}") from None
    return _checked(values, source, labels, lines.place), names and [names[index] for index in indices]


class _Lines:
    """The lines of a text that are not blank. Each must have as many cells as the first one."""

    def __init__(self, text, source):
        self.text, self.source = text, source
        self.delimiter = self.width = self.first_row = None
        self.number, self.line, self.blank = 0, "", []

    def __iter__(self):
        return self

    def __next__(self):
        line = next(self.text)
        self.number += 1
        while line.isspace():
            self.blank.append(self.number)
            line = next(self.text)
            self.number += 1
        self.line = line
        if self.width is not None and self._count(line) != self.width:
            count = self._count(line)
            cells = f"{count} cell{'s' * (count > 1)}"
            raise TableError(f"{self.source}, line {self.number}: {cells}, but the first line has {self.width}")
        return line

    def split(self, line):
        if self.delimiter is None:
            return line.split()
        return next(csv.reader([line], delimiter=self.delimiter))

    def _count(self, line):
        if self.delimiter is None or '"' in line:
            return len(self.split(line))
        return line.count(self.delimiter) + 1

    def place(self, row):
        """Where the row of that number, from 0, stands."""
        number = self.first_row + row
        for blank in self.blank:
            number += self.first_row < blank <= number
        return f"line {number}"

    def explain(self, indices, labels):
        """What is wrong with the line that was read last: the parser stops where it fails."""
        cells = self.split(self.line)
        for index, label in zip(indices, labels):
            if not _is_number(cells[index]):
                what = f"{cells[index]!r} is not a number" if cells[index].strip() else "the cell is empty"
                return f"{self.source}, line {self.number}, column {label}: {what}"
        return None


def _names(cells, source, header):
    """The cells of the first line if they are names of columns, else None."""
    # numpy.savetxt puts a comment sign before the names.
    cells = [cell.strip() for cell in ([cells[0].lstrip("# "), *cells[1:]] if cells[0].startswith("#") else cells)]
    if header is None:
        numbers = any(map(_is_number, cells))
        texts = any(cell and not _is_number(cell) for cell in cells)
        if numbers and texts:
            raise TableError(
                f"{source}, line 1 has both numbers and text: "
                "say --header if these are the names of the columns, --no-header if not"
            )
        header = texts
    return cells if header else None


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell


def _checked(values, source, labels, place=lambda row: f"row {row + 1}"):
    """Values that are a table of finite numbers."""
    if len(values) == 0:
        raise TableError(f"{source} has no rows")
    finite = np.isfinite(values)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        value = values[row, column]
        raise TableError(f"{source}, {place(row)}, column {labels[column]}: {value} is not a finite number")
    return values


def _write_text(file, values, names, delimiter):
    if names is not None:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerow(names)
    n, width = values.shape
    line = delimiter.join([FORMATS[values.dtype]] * width) + "\n"
    rows = max(1, CHUNK // max(1, width))
    for start in range(0, n, rows):
        part = values[start : start + rows]
        file.write(line * len(part) % tuple(part.ravel().tolist()))
