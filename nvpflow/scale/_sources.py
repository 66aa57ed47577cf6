"""Which source reads what a user passes to `fit`."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nvpflow._typing import PathLike
from nvpflow._validation.arguments import shown
from nvpflow.scale._arrow import DatasetSource, TableSource, check_columns, csv_dataset, spooled, spooled_dataset
from nvpflow.scale._arrow_types import import_arrow
from nvpflow.scale._memory import ArraySource, CallableSource
from nvpflow.scale._source import RowSource

__all__ = ["LARGE", "as_source", "is_source"]

# Bytes from which a memory-mapped array or a pyarrow table is not fitted in memory.
LARGE = 2**28
FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".arrow": "ipc", ".feather": "ipc"}
EXPECTED = (
    "an array, a frame, the path of a Parquet, CSV or NPY file, of a folder of Parquet files or a pattern of such paths, a "
    "pyarrow data set or table, a polars LazyFrame, a DuckDB relation, or a callable that returns an iterator of arrays (m, D)"
)


def is_source(X: Any) -> bool:
    """Whether `fit` and `score_samples` read X in batches."""
    if isinstance(X, (str, os.PathLike, RowSource)) or _are_paths(X):
        return True
    if isinstance(X, np.ndarray):
        return isinstance(X, np.memmap) and X.nbytes > LARGE
    kind = _kind(X)
    if kind == "pyarrow":
        return hasattr(X, "get_fragments") or hasattr(X, "read_next_batch") or getattr(X, "nbytes", 0) > LARGE
    return kind in ("polars query", "duckdb") or (callable(X) and not hasattr(X, "__array__") and not hasattr(X, "__dlpack__"))


def as_source(X: Any, columns: Sequence[str] | None = None) -> RowSource:
    """The rows of a table in batches.

    Parameters
    ----------
    X : array (n, D), frame, path, pyarrow data set or table, polars LazyFrame, DuckDB relation, callable or RowSource
        A path is that of a Parquet, CSV (``.csv``, ``.tsv``), Arrow (``.arrow``, ``.feather``) or NPY file, of a folder of
        Parquet files, a pattern such as ``"folder/*.parquet"``, or one of several in a list. A callable returns an iterator of
        arrays or frames (m, D), the same rows in each call. All columns hold real numbers.
    columns : sequence of str, optional
        The columns to read of what pyarrow, polars or DuckDB reads. Default: all.

    Returns
    -------
    RowSource

    Raises
    ------
    ImportError
        If pyarrow is needed and missing.
    OSError
        If a file cannot be read.
    TypeError, ValueError
        If X is none of these, or has columns of other values than numbers.

    Notes
    -----
    Queries of polars and DuckDB, and files other than Parquet and NPY, are computed or read once and written to a temporary
    Parquet file, in the folder of `tempfile`, for the passes that follow: they may be slow, and a query may give its rows in
    another order each time.

    Examples
    --------
    >>> import numpy as np
    >>> from nvpflow.scale import as_source
    >>> source = as_source(lambda: (np.full((3, 2), float(i)) for i in range(4)))
    >>> sum(len(rows) for rows in source.batches()), source.n_rows, source.n_features
    (12, 12, 2)
    """
    if isinstance(X, RowSource):
        return X
    if isinstance(X, (str, os.PathLike)):
        return _of_paths(_expanded(X), columns)
    if _are_paths(X):
        return _of_paths([path for one in X for path in _expanded(one)], columns)
    kind = _kind(X)
    if kind == "duckdb":
        return _of_relation(X, columns)
    if kind == "polars query":
        names = check_columns(X.head(0).collect().to_arrow().schema, columns)
        return spooled(X.select(names).sink_parquet)
    if hasattr(X, "read_next_batch"):
        raise TypeError(
            f"X must be readable more than once, got a {type(X).__name__}: give a callable that returns one, or a table"
        )
    if kind == "pyarrow" and hasattr(X, "get_fragments"):
        return _of_dataset(X, columns)
    if kind == "pyarrow" and hasattr(X, "schema"):
        return TableSource(X, columns)
    if columns is not None:
        raise ValueError(f"columns must be None for a {type(X).__name__}, whose columns are all read")
    if callable(X) and not hasattr(X, "__array__"):
        return CallableSource(X)
    if hasattr(X, "__array__") and hasattr(X, "shape"):
        return ArraySource(X)
    raise TypeError(f"X must be {EXPECTED}, got {shown(X)}")


def _kind(X: Any) -> str:
    """The library that X is of, if it reads in batches: by its name, so that none is imported."""
    for one in type(X).__mro__:
        library = one.__module__.partition(".")[0].lstrip("_")
        if library in ("duckdb", "pyarrow") or (library == "polars" and one.__name__ == "LazyFrame"):
            return "polars query" if library == "polars" else library
    return ""


def _are_paths(X: Any) -> bool:
    return isinstance(X, (list, tuple)) and len(X) > 0 and all(isinstance(path, (str, os.PathLike)) for path in X)


def _expanded(path: PathLike) -> list[str]:
    """The files of a folder, the paths that a pattern stands for, or else the path itself."""
    text = os.fspath(path)
    if os.path.isdir(text):
        return _files_of(text)
    if os.path.exists(text):
        return [text]
    found = sorted(glob.glob(text, recursive=True))
    if not found:
        raise FileNotFoundError(f"X must be {EXPECTED}; there is no file {text!r:.200}")
    return found


def _files_of(folder: str) -> list[str]:
    """The Parquet files in a folder and those below, without hidden ones."""
    files = (path.relative_to(folder) for path in Path(folder).rglob("*") if path.suffix.lower() in (".parquet", ".pq"))
    found = sorted(str(Path(folder, file)) for file in files if not any(part[0] in "._" for part in file.parts))
    if not found:
        raise IsADirectoryError(
            errno.EISDIR, "Is a directory without Parquet files; a pattern such as folder/*.csv gives others", folder
        )
    return found


def _of_paths(paths: list[str], columns: Sequence[str] | None) -> RowSource:
    if len(paths) == 1 and Path(paths[0]).suffix.lower() == ".npy":
        if columns is not None:
            raise ValueError("columns must be None for an NPY file, whose columns have no names")
        array = np.load(paths[0], mmap_mode="r", allow_pickle=False)
        return ArraySource(array)
    return _of_dataset(dataset_of(paths), columns)


def dataset_of(paths: Sequence[PathLike]) -> Any:
    """The pyarrow data set of Parquet, CSV or Arrow files, folders of Parquet files, or patterns."""
    found = [path for one in paths for path in _expanded(one)]
    suffixes = sorted({Path(path).suffix.lower() for path in found})
    kinds = {FORMATS.get(suffix) for suffix in suffixes}
    if len(kinds) > 1 or None in kinds:
        raise ValueError(f"X must be files of one kind, Parquet, CSV or Arrow, or one NPY file, got {', '.join(suffixes)}")
    (kind,) = kinds
    arrow, where = import_arrow(), found if len(found) > 1 else found[0]
    try:
        if kind == "csv":
            return csv_dataset(where, "\t" if suffixes == [".tsv"] else ",")
        return arrow.dataset.dataset(where, format=kind, partitioning="hive")
    except arrow.ArrowException as error:
        raise ValueError(f"X must be a whole {kind} file, got {found[0]}: {error}") from error


def _of_dataset(dataset: Any, columns: Sequence[str] | None) -> RowSource:
    if getattr(getattr(dataset, "format", None), "default_extname", "") == "parquet":
        return DatasetSource(dataset, columns)
    return spooled_dataset(dataset, columns)


def _of_relation(relation: Any, columns: Sequence[str] | None) -> RowSource:
    if not hasattr(relation, "write_parquet"):
        raise TypeError(f"X must be a DuckDB relation, got a {type(relation).__name__}")
    names = check_columns(relation.limit(0).to_arrow_table().schema, columns)
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    return spooled(relation.project(quoted).write_parquet)
