"""Sources that pyarrow reads: Parquet files, data sets, tables; and what is written to a temporary Parquet file first."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nvpflow._typing import Floats
from nvpflow.scale._arrow_files import joint_schema, without_index
from nvpflow.scale._arrow_types import float_type, import_arrow
from nvpflow.scale._source import RowSource, Stream, rows_per_batch

__all__ = [
    "DatasetSource",
    "TableSource",
    "check_columns",
    "csv_dataset",
    "spooled",
    "spooled_dataset",
]

# Rows of a row group of a temporary file: small ones mix well.
ROWS_PER_GROUP = 2**17


class _Columns:
    """Columns of numbers of a schema, all or those named.

    Attributes
    ----------
    names : list of str
    dtype : numpy.dtype
        That holds all of them.
    """

    def __init__(self, schema: Any, columns: Sequence[str] | None) -> None:
        self.names: list[str] = list(schema.names if columns is None else columns)
        for name in self.names:
            found = len(schema.get_all_field_indices(name))
            if found != 1:
                raise ValueError(f"X must have one column {name!r}, got {found or 'none'}")
        if not self.names:
            raise ValueError("X must have at least one column, got none")
        self.types = [str(schema.field(name).type) for name in self.names]
        self.dtype: np.dtype[Any] = np.result_type(*(float_type(name, schema.field(name).type) for name in self.names))

    def rows(self, batch: Any) -> Floats:
        """The rows of a record batch or table, NaN where a cell is missing."""
        rows, wanted = np.empty((batch.num_rows, len(self.names)), self.dtype), import_arrow().from_numpy_dtype(self.dtype)
        for place, name in enumerate(self.names):
            column = batch.column(name)
            column = column if column.type == wanted else column.cast(wanted, safe=False)
            rows[:, place] = column.to_numpy(**({} if hasattr(column, "chunks") else {"zero_copy_only": False}))
        return rows


class _ArrowSource(RowSource):
    """A source with columns of a schema."""

    def __init__(self, columns: _Columns) -> None:
        self._columns, self.n_features = columns, len(columns.names)
        self.names, self.dtypes = np.array(columns.names, dtype=object), columns.types


class DatasetSource(_ArrowSource):
    """A pyarrow data set of Parquet files, whose row groups are streams."""

    def __init__(self, dataset: Any, columns: Sequence[str] | None = None) -> None:
        schema = joint_schema(dataset, columns)
        super().__init__(_Columns(schema, without_index(schema) if columns is None else columns))
        first, self._streams = 0, list[Stream]()
        for fragment in dataset.get_fragments():
            for group in fragment.split_by_row_group():
                n = group.row_groups[0].num_rows
                if n:
                    self._streams.append(Stream(first, self._reader(group, schema)))
                first += n
        self.n_rows = first

    def streams(self) -> Sequence[Stream]:
        return self._streams

    def _reader(self, group: Any, schema: Any) -> Callable[[], Iterator[Floats]]:
        columns, size = self._columns, rows_per_batch(self.n_features)

        def read() -> Iterator[Floats]:
            for batch in group.to_batches(
                schema=schema,
                columns=columns.names,
                batch_size=size,
                batch_readahead=1,
                fragment_readahead=1,
                use_threads=False,
            ):
                yield columns.rows(batch)

        return read


class TableSource(_ArrowSource):
    """A pyarrow table or record batch."""

    def __init__(self, table: Any, columns: Sequence[str] | None = None) -> None:
        super().__init__(_Columns(table.schema, columns))
        self._table, self.n_rows = table, table.num_rows

    def streams(self) -> Sequence[Stream]:
        size, n = rows_per_batch(self.n_features), self._table.num_rows
        return [Stream(start, self._reader(start, size)) for start in range(0, n, size)]

    def _reader(self, start: int, size: int) -> Callable[[], Iterator[Floats]]:
        def read() -> Iterator[Floats]:
            yield self._columns.rows(self._table.slice(start, size))

        return read


def check_columns(schema: Any, columns: Sequence[str] | None) -> list[str]:
    """The names of the columns to read. An error where they do not hold numbers, before anything is computed or written."""
    return _Columns(schema, columns).names


def spooled(write: Callable[[str], object]) -> DatasetSource:
    """The source of a temporary Parquet file, which `write` writes and which lasts as long as the source."""
    folder = tempfile.mkdtemp(prefix="nvpflow-")
    try:
        path = str(Path(folder, "rows.parquet"))
        write(path)
        source = DatasetSource(import_arrow().dataset.dataset(path, format="parquet"))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(source, shutil.rmtree, folder, ignore_errors=True)
    return source


def spooled_dataset(dataset: Any, columns: Sequence[str] | None) -> DatasetSource:
    """The source of a data set of other files than Parquet, copied to a temporary Parquet file."""
    arrow, schema = import_arrow(), joint_schema(dataset, columns)
    wanted = arrow.schema([schema.field(name) for name in check_columns(schema, columns)])

    def write(path: str) -> None:
        with arrow.parquet.ParquetWriter(path, wanted) as writer:
            for fragment in dataset.get_fragments():
                own = wanted if _is_text(dataset) else _own_schema(fragment, wanted)
                for batch in fragment.to_batches(schema=own, columns=wanted.names, batch_readahead=1, fragment_readahead=1):
                    table = arrow.Table.from_batches([batch]).cast(wanted, safe=False)
                    writer.write_table(table, row_group_size=ROWS_PER_GROUP)

    try:
        return spooled(write)
    except arrow.ArrowException as error:
        raise ValueError(f"X must have columns of numbers: {error}") from error


def _is_text(dataset: Any) -> bool:
    """Whether the types of the files are those that their reader is told. Others have types of their own, and are cast."""
    return getattr(getattr(dataset, "format", None), "default_extname", "") in ("csv", "json")


def _own_schema(fragment: Any, wanted: Any) -> Any:
    own = fragment.physical_schema
    return import_arrow().schema([own.field(field.name) if field.name in own.names else field for field in wanted])


def csv_dataset(where: str | list[str], delimiter: str) -> Any:
    """A data set of CSV files, whose columns are those of numbers in the first block, as float64.

    The first line has names unless all of its cells are numbers.
    """
    arrow = import_arrow()
    parse = arrow.csv.ParseOptions(delimiter=delimiter)

    def of(**options: Any) -> Any:
        form = arrow.dataset.CsvFileFormat(parse_options=parse, **options)
        return arrow.dataset.dataset(where, format=form)

    found, read = of(), None
    are_numbers = [_is_number(name) for name in found.schema.names]
    if all(are_numbers):
        read = arrow.csv.ReadOptions(autogenerate_column_names=True)
        found = of(read_options=read)
    elif any(are_numbers):
        raise ValueError(
            f"X must have a first line of names or of numbers, got both in {', '.join(map(repr, found.schema.names))!s:.200}"
        )
    # Later numbers of a column may have a fraction, and one that begins without values may have some.
    are_open = [field.name for field in found.schema if arrow.types.is_integer(field.type) or arrow.types.is_null(field.type)]
    convert = arrow.csv.ConvertOptions(column_types=dict.fromkeys(are_open, arrow.float64()))
    return of(convert_options=convert, **({} if read is None else {"read_options": read}))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
