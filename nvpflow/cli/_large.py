"""Tables that are larger than memory: several files, folders, and large files, which are read in batches."""

from __future__ import annotations

import argparse
import errno
import glob
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import nvpflow
from nvpflow._typing import DTypeLike, Floats
from nvpflow.cli._files import Model
from nvpflow.cli._rows import Rows
from nvpflow.cli._table_columns import Columns, Wanted
from nvpflow.cli.tables import writing_table
from nvpflow.scale import RowSource, as_source, score_batches
from nvpflow.scale._arrow_files import without_index
from nvpflow.scale._sources import LARGE, dataset_of

__all__ = ["fit_source", "is_large", "score_source"]

PATTERN = "*?["  # the signs of one


def is_large(paths: Sequence[str]) -> bool:
    """Whether a command reads these tables in batches: several files, a folder, a pattern, or a file of more than 256 MB."""
    if list(paths) == ["-"]:
        return False
    one = paths[0]
    is_pattern = not os.path.exists(one) and any(sign in one for sign in PATTERN)
    return len(paths) > 1 or is_pattern or os.path.isdir(one) or (os.path.isfile(one) and os.path.getsize(one) > LARGE)


def fit_source(options: argparse.Namespace, dtype: DTypeLike) -> tuple[RowSource, Rows]:
    """The source that `fit` reads, and no rows of it, with the names of its columns."""
    for option in ("context", "weight", "context_category", "category"):
        if getattr(options, option):
            raise ValueError(f"--{option.replace('_', '-')} needs a table in memory: one file of less than {LARGE >> 20} MB")
    source = _source(options, Columns(options.columns), dtype)
    return source, Rows(np.empty((0, source.n_features)), _names(source), dtypes=source.dtypes)


def score_source(options: argparse.Namespace, model: Model, verbose: int) -> None:
    """Write the log-densities of the rows of a source, batch by batch, or print their mean."""
    if options.context is not None or options.context_values is not None or model.context_dim:
        raise ValueError(f"a conditional model needs a table in memory: one file of less than {LARGE >> 20} MB")
    if options.labels and model.takes_missing:
        raise ValueError(
            f"--labels of rows with missing cells needs a table in memory: one file of less than {LARGE >> 20} MB"
        )
    if not isinstance(model.estimator, nvpflow.FlowDensity):
        raise ValueError("a table in batches needs a model that fit made, got a flow without its estimator")
    source = _source(options, Columns(options.columns, model.names), model.dtype)
    if source.n_features != model.data_dim:
        raise ValueError(f"the model has {model.data_dim} columns, got {source.n_features}: --columns chooses some of a table")
    source.names = None  # the columns are those of the model
    batches = score_batches(model.estimator, source, verbose)
    if options.mean:
        total, n = 0.0, 0
        for scores in batches:
            total, n = total + float(scores.sum(dtype=np.float64)), n + len(scores)
        print(f"{total / n:.6f}")
        return
    threshold = model.threshold if options.labels else None
    with writing_table(
        options.output, ["log_density"] if threshold is None else ["log_density", "label"], source.n_rows
    ) as write:
        for scores in batches:
            write(scores[:, np.newaxis] if threshold is None else _with_labels(scores, threshold))


def _with_labels(scores: Floats, threshold: float) -> Floats:
    return np.stack([scores, np.where(scores >= threshold, 1, -1).astype(scores.dtype)], axis=1)


def _source(options: argparse.Namespace, wanted: Columns, dtype: DTypeLike) -> RowSource:
    if options.delimiter is not None or options.header is not None:
        raise ValueError("--delimiter and --header need a table in memory; a CSV in batches has commas, a TSV tabs")
    paths = options.data
    for path in paths:
        if not os.path.exists(path) and not glob.glob(path, recursive=True):
            what = "no file fits this pattern" if any(sign in path for sign in PATTERN) else os.strerror(errno.ENOENT)
            raise FileNotFoundError(errno.ENOENT, what, path)
    if [Path(path).suffix.lower() for path in paths] == [".npy"]:
        if options.columns is not None:
            raise ValueError("--columns needs a file with names, got an NPY file in batches")
        return as_source(paths[0])
    dataset, groups = dataset_of(paths), Wanted(paths[0], [wanted], dtype)
    names = without_index(dataset.schema, groups.named)
    chosen = [names[index] for index in groups.find(len(names), names).indices]
    return as_source(dataset, None if wanted.wanted is wanted.known is None else chosen)


def _names(source: RowSource) -> list[str] | None:
    return None if source.names is None else [str(name) for name in source.names]
