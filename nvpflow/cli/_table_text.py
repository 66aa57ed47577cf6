"""Tables in text files: values separated by commas, semicolons, bars, tabs or white space."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Self, TextIO

import numpy as np
import numpy.typing as npt

from nvpflow.cli._table_columns import Found, Table, TableError, Texts, Wanted, shorten

__all__ = ["MISSING", "read_text"]

# The first of these in the first line, outside of quotes, is the delimiter; otherwise it is white space.
DELIMITERS = "\t;|,"
# Numbers in forms that are not accepted: 1_000, 1,000, 1'000, 5 % and digits of other scripts.
DISGUISED_NUMBER = re.compile(r"[+-]?\d[\d_.,' \xa0\u202f]*([eE][+-]?\d+)?%?")
# What stands for a missing cell where these are allowed, beside what Python reads as NaN: pandas, R and databases write these.
MISSING = ("", "NA", "<NA>", "None", "null", "NULL")


def read_text(stream: BinaryIO, wanted: Wanted, delimiter: str | None = None, header: bool | None = None) -> list[Table]:
    """[(values, names)] for each group of columns in `wanted`."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig")
    try:
        return _read_rows(_Rows(text, wanted.source, delimiter), wanted, header)
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise TableError(f"{wanted.source} is not a text in UTF-8: byte 0x{byte:02x}, {error.reason}") from error
    finally:
        text.detach()  # so that standard input stays open


def _read_rows(rows: _Rows, wanted: Wanted, header: bool | None) -> list[Table]:
    first = next(rows, None)
    if first is None:
        raise TableError(f"{wanted.source} is empty")
    cells = rows.split(first)
    names = _names(cells, wanted.source, header)
    if names is not None:
        first = next(rows, None)
    if first is None:
        raise TableError(f"{wanted.source} has a header and no rows below it")
    rows.first_number = rows.number
    found = wanted.find(len(cells), names)
    if wanted.with_types:
        rows.watch(found, first)
    converters: dict[int | str, Callable[[str], Any]] = dict.fromkeys(found.may_miss, _number_or_nan)
    for index, texts in found.categories.items():
        converters[index] = functools.partial(_code_or_nan, texts) if index in found.may_miss else texts
    try:
        values = np.loadtxt(
            itertools.chain([first], rows),
            delimiter=rows.delimiter,
            comments=None,
            quotechar='"',
            usecols=found.indices,
            converters=converters or None,
            encoding=None,
            ndmin=2,
        )
    except TableError:
        raise
    except ValueError as error:
        raise TableError(rows.explain(found) or f"{wanted.source}: {error}") from None
    found.dtypes |= dict.fromkeys(_within_int64(rows.whole, found, values), "int64")
    return found.tables(values, rows.place)


def _within_int64(columns: Sequence[int], found: Found, values: npt.NDArray[np.float64]) -> list[int]:
    """Those of the columns whose values have this type."""
    return [index for index in columns if not (np.abs(values[:, found.indices.index(index)]) >= 2.0**63).any()]


def _code_or_nan(texts: Texts, text: str) -> float:
    return np.nan if text.strip() in MISSING else texts(text)


class _Rows:
    """The rows of a text: its lines that are not blank. A quoted cell may extend a row over several lines.

    All rows must have the same number of cells.

    Attributes
    ----------
    number : int
        The line where the last row begins, from 1.
    skipped : list of int
        Numbers of the lines where no row begins.
    whole : list of int
        The columns that `watch` looks at, and in which all numbers so far are whole, without a decimal point.
    """

    def __init__(self, text: TextIO, source: str, delimiter: str | None) -> None:
        self.text, self.source, self.delimiter = text, source, delimiter
        self.width: int | None = None
        self.first_number = self.number = self.lines_read = 0
        self.row = ""
        self.skipped: list[int] = []
        self.whole: list[int] = []
        self.may_miss: set[int] = set()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._next_line()
        while line.isspace():
            self.skipped.append(self.lines_read)
            line = self._next_line()
        self.number = self.lines_read
        if self.width is None and self.delimiter is None:
            self.delimiter = _find_delimiter(line)
        self.row, count = self._quoted(line) if '"' in line else (line, self._count(line))
        self.width = self.width or count
        if count != self.width:
            cells = f"{count} cell{'s' * (count > 1)}"
            raise TableError(f"{self.source}, line {self.number}: {cells}, but the first line has {self.width}")
        if self.whole:
            self._look(self.row)
        return self.row

    def watch(self, found: Found, first: str) -> None:
        """Look from this row on which columns of numbers are `whole`."""
        self.whole, self.may_miss = [index for index in found.indices if index not in found.categories], found.may_miss
        self._look(first)

    def _look(self, row: str) -> None:
        cells = self.split(row)
        self.whole = [index for index in self.whole if _is_whole(cells[index].strip()) or self._misses(index, cells[index])]

    def _misses(self, index: int, cell: str) -> bool:
        return index in self.may_miss and (cell.strip() in MISSING or cell.strip().lower() == "nan")

    def _next_line(self) -> str:
        line = next(self.text)
        self.lines_read += 1
        if "\0" in line:
            raise TableError(f"{self.source}, line {self.lines_read}: a NUL character, so this is no text in UTF-8")
        return line

    def _count(self, line: str) -> int:
        """The cells of a line without quotes."""
        return len(line.split()) if self.delimiter is None else line.count(self.delimiter) + 1

    def split(self, row: str) -> list[str]:
        """The cells of a row."""
        if '"' in row:
            return self._parse([row])
        return row.split() if self.delimiter is None else row.rstrip("\n").split(self.delimiter)

    def _quoted(self, line: str) -> tuple[str, int]:
        """The row that begins with this line, and its number of cells."""
        lines: list[str] = []
        cells = self._parse(self._lines_of_row(line, lines))
        return "".join(lines), len(cells)

    def _parse(self, lines: Iterable[str]) -> list[str]:
        """The cells of the first row of some lines, with quotes."""
        if self.delimiter is None:
            rows = csv.reader(map(str.rstrip, lines), delimiter=" ", skipinitialspace=True)
        else:
            rows = csv.reader(lines, delimiter=self.delimiter)
        try:
            return next(rows)
        except csv.Error:
            raise TableError(
                f"{self.source}, line {self.number}: a cell of more than {csv.field_size_limit():,} characters, "
                "or a quotation mark too many"
            ) from None

    def _lines_of_row(self, line: str, lines: list[str]) -> Iterator[str]:
        """This line, and the next ones while the parser is inside a quoted cell."""
        while True:
            lines.append(line)
            yield line
            try:
                line = self._next_line()
            except StopIteration:
                raise TableError(f"{self.source}, line {self.number}: a quoted cell has no end") from None
            self.skipped.append(self.lines_read)

    def place(self, row: int) -> str:
        """The line of a row, counted from 0."""
        number = self.first_number + row
        for skipped in self.skipped:
            number += self.first_number < skipped <= number
        return f"line {number}"

    def explain(self, found: Found) -> str | None:
        """The error in the row that was read last, where the parser stopped."""
        cells = self.split(self.row)
        for index, label in zip(found.indices, found.labels):
            is_category, may_miss = index in found.categories, index in found.may_miss
            is_missing = may_miss and cells[index].strip() in MISSING
            is_fine = is_category or is_missing or _is_number(cells[index])
            if not is_fine or (not cells[index].strip() and not is_missing):
                what = f"{shorten(cells[index])} is not a number" if cells[index].strip() else "the cell is empty"
                return f"{self.source}, line {self.number}, column {label}: {what}"
        return None


def _find_delimiter(line: str) -> str | None:
    """The delimiter, None for white space. A first line that ends inside a quoted cell belongs to a CSV."""
    bare = re.sub('"[^"]*"?', "", line)
    return next((mark for mark in DELIMITERS if mark in bare), "," if line.count('"') % 2 else None)


def _names(cells: list[str], source: str, header: bool | None) -> list[str] | None:
    """The names of the columns if the first line holds them, else None."""
    # numpy.savetxt puts a comment sign before the names.
    cells = [cell.strip() for cell in ([cells[0].lstrip("# "), *cells[1:]] if cells[0].startswith("#") else cells)]
    if header is None:
        numbers = any(map(_is_number, cells))
        texts = [cell for cell in cells if cell and not _is_number(cell)]
        doubtful = "line 1 has both numbers and text" if numbers and texts else None
        disguised = next(filter(DISGUISED_NUMBER.fullmatch, texts), None)
        if disguised is not None:
            doubtful = f"line 1: {shorten(disguised)} may be a name or an unusual number"
        if doubtful:
            raise TableError(f"{source}, {doubtful}: say --header if these are the names of the columns, --no-header if not")
        header = bool(texts)
    return cells if header else None


def _is_whole(text: str) -> bool:
    return (text[1:] if text[:1] in ("-", "+") else text).isdecimal()


def _number_or_nan(cell: str) -> float:
    """A number, or NaN for a missing cell."""
    if cell.strip() in MISSING:
        return float("nan")
    if not _is_number(cell):
        raise ValueError(cell)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell
