"""Sources that pyarrow reads: Parquet files, data sets, tables; and what is written to a temporary Parquet file first."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nvpflow._typing import Floats
from nvpflow.scale._source import NO_CATEGORIES, RowSource, Stream, rows_per_batch

__all__ = ["DatasetSource", "TableSource", "import_arrow", "spooled"]

# Rows of a row group of a temporary file: small ones mix well.
ROWS_PER_GROUP = 2**17


def import_arrow() -> Any:
    """pyarrow with its modules dataset and parquet."""
    try:
        import pyarrow
        import pyarrow.dataset
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"this needs pyarrow: pip install 'nvpflow[scale]' ({error})") from error
    return pyarrow


class _ArrowSource(RowSource):
    """Columns of numbers of a schema, all or those named."""

    def __init__(self, schema: Any, columns: Sequence[str] | None) -> None:
        names = list(schema.names if columns is None else columns)
        for name in names:
            found = len(schema.get_all_field_indices(name))
            if found != 1:
                raise ValueError(f"X must have one column {name!r}, got {found or 'none'}")
        if not names:
            raise ValueError("X must have at least one column, got none")
        kinds = [schema.field(name).type for name in names]
        self.names, self.n_features = np.array(names, dtype=object), len(names)
        self._dtype = np.result_type(*(_float_type(name, kind) for name, kind in zip(names, kinds)))

    def _rows(self, batch: Any) -> Floats:
        """The rows of a record batch or table, NaN where a cell is missing."""
        arrow, rows = import_arrow(), np.empty((batch.num_rows, self.n_features), self._dtype)
        wanted = arrow.from_numpy_dtype(self._dtype)
        for place, name in enumerate(self.names if self.names is not None else ()):
            column = batch.column(name)
            column = column if column.type == wanted else column.cast(wanted, safe=False)
            rows[:, place] = column.to_numpy(**({} if hasattr(column, "chunks") else {"zero_copy_only": False}))
        return rows


def _float_type(name: str, kind: Any) -> type[np.floating[Any]]:
    types = import_arrow().types
    if kind in ("float", "halffloat", "int8", "int16", "uint8", "uint16"):
        return np.float32
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return np.float64
    raise TypeError(f"column {name!r} of X must hold real numbers, got {kind!s:.100}: {NO_CATEGORIES}")


class DatasetSource(_ArrowSource):
    """A pyarrow data set of Parquet files, whose row groups are streams. `files` is kept as long as the source."""

    def __init__(self, dataset: Any, columns: Sequence[str] | None = None, files: object = None) -> None:
        super().__init__(dataset.schema, columns)
        self._files, self._streams, first = files, [], 0
        for fragment in dataset.get_fragments():
            for group in fragment.split_by_row_group():
                n = group.row_groups[0].num_rows
                if n:
                    self._streams.append(Stream(first, self._reader(group, dataset.schema)))
                first += n
        self.n_rows = first

    def streams(self) -> Sequence[Stream]:
        return self._streams

    def _reader(self, group: Any, schema: Any) -> Callable[[], Iterator[Floats]]:
        names, size = [str(name) for name in self.names] if self.names is not None else [], rows_per_batch(self.n_features)

        def read() -> Iterator[Floats]:
            for batch in group.to_batches(
                schema=schema, columns=names, batch_size=size, batch_readahead=1, fragment_readahead=1, use_threads=False
            ):
                yield self._rows(batch)

        return read


class TableSource(_ArrowSource):
    """A pyarrow table or record batch."""

    def __init__(self, table: Any, columns: Sequence[str] | None = None) -> None:
        super().__init__(table.schema, columns)
        self._table, self.n_rows = table, table.num_rows

    def streams(self) -> Sequence[Stream]:
        size, n = rows_per_batch(self.n_features), self._table.num_rows
        return [Stream(start, self._reader(start, size)) for start in range(0, n, size)]

    def _reader(self, start: int, size: int) -> Callable[[], Iterator[Floats]]:
        def read() -> Iterator[Floats]:
            yield self._rows(self._table.slice(start, size))

        return read


def spooled(write: Callable[[str], object], columns: Sequence[str] | None = None) -> DatasetSource:
    """The source of a temporary Parquet file, which `write` writes and which lasts as long as the source."""
    folder = tempfile.TemporaryDirectory(prefix="nvpflow-")
    path = Path(folder.name, "rows.parquet")
    write(str(path))
    return DatasetSource(import_arrow().dataset.dataset(str(path), format="parquet"), columns, folder)
