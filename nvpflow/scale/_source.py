"""Rows of a table in batches, in passes: in their order, or shuffled through a reservoir."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Floats, Ints, Names

__all__ = ["NO_CATEGORIES", "NamedRows", "RowSource", "Stream", "as_floats", "rows_per_batch"]

NO_CATEGORIES = "categories, such as texts and truth values, need a table in memory"
# Numbers in a batch, and in the reservoir that shuffles: of 8 bytes each, 4 MB and 64 MB.
NUMBERS_PER_BATCH, NUMBERS_IN_RESERVOIR = 2**19, 2**23
# Streams that are read in turn in a shuffled pass. More mix better, and hold more buffers of their readers.
OPEN_STREAMS = 4


class Stream(NamedTuple):
    """Rows that are read one after the other, such as a row group of a file.

    Attributes
    ----------
    first : int
        The number of its first row in the source.
    open : callable
        Returns an iterator of arrays (m, D).
    """

    first: int
    open: Callable[[], Iterator[Floats]]


class NamedRows:
    """Rows (m, D) with the names of their columns, for what reads frames."""

    def __init__(self, rows: Floats, names: Names) -> None:
        self._rows, self.columns, self.shape = rows, names, rows.shape

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self._rows, dtype) if copy else np.asarray(self._rows, dtype)

    def __len__(self) -> int:
        return len(self._rows)


def rows_per_batch(n_features: int) -> int:
    """The number of rows that a batch should have."""
    return max(1, NUMBERS_PER_BATCH // max(1, n_features))


class RowSource(ABC):
    """A table that can be read again and again, in batches.

    Attributes
    ----------
    n_features : int
    names : ndarray of str objects, shape (D,), or None
    n_rows : int or None
        None: unknown before the first pass.
    dtypes : sequence of str
        The types of the columns by their names in Arrow or NumPy. Empty: unknown.
    """

    n_features: int
    names: Names | None = None
    n_rows: int | None = None
    dtypes: Sequence[str] = ()
    in_memory: bool = False  # whether `take` has rows at once, wherever they are

    def take(self, numbers: Ints) -> Floats:
        """The rows (m, D) with these numbers (m,), of a source in memory."""
        raise NotImplementedError

    @abstractmethod
    def streams(self) -> Sequence[Stream]:
        """The streams, which together have every row once, in the same order each time they are opened."""

    def batches(self, rng: np.random.Generator | None = None) -> Iterator[Floats]:
        """All rows once, as C-contiguous arrays (m, D) of float32 or float64: in order, or shuffled if `rng` is given."""
        for _, rows in self.numbered(rng):
            yield rows

    def with_names(self, rows: Floats) -> Floats | NamedRows:
        """Rows of this source, with the names of the columns if they have some."""
        return rows if self.names is None else NamedRows(rows, self.names)

    def numbered(self, rng: np.random.Generator | None = None) -> Iterator[tuple[Ints, Floats]]:
        """As `batches`, each with the numbers (m,) of its rows, which are the same in every pass."""
        chunks = self._in_order() if rng is None else _interleaved(self.streams(), rng)
        return self._counted(chunks if rng is None else _through_reservoir(chunks, rng, self.n_features))

    def _in_order(self) -> Iterator[tuple[Ints, Floats]]:
        for stream in self.streams():
            yield from _numbered_chunks(stream)

    def _counted(self, batches: Iterator[tuple[Ints, Floats]]) -> Iterator[tuple[Ints, Floats]]:
        """Pass batches on, and find or check `n_rows`."""
        n = 0
        for numbers, rows in batches:
            if rows.shape[1] != self.n_features:
                raise ValueError(f"X must have {self.n_features} columns in every batch, got {rows.shape[1]}")
            n += len(rows)
            yield numbers, rows
        if self.n_rows is not None and n != self.n_rows:
            raise ValueError(f"X must have the same rows in every pass, got {n} instead of {self.n_rows}")
        self.n_rows = n


def _numbered_chunks(stream: Stream) -> Iterator[tuple[Ints, Floats]]:
    first = stream.first
    for rows in stream.open():
        if len(rows):
            yield np.arange(first, first + len(rows)), rows
            first += len(rows)


def _interleaved(streams: Sequence[Stream], rng: np.random.Generator) -> Iterator[tuple[Ints, Floats]]:
    """Chunks of a few streams at a time, taken at random."""
    waiting = [streams[i] for i in rng.permutation(len(streams))]
    opened: list[Iterator[tuple[Ints, Floats]]] = []
    while waiting or opened:
        while waiting and len(opened) < OPEN_STREAMS:
            opened.append(_numbered_chunks(waiting.pop()))
        place = int(rng.integers(len(opened)))
        chunk = next(opened[place], None)
        if chunk is None:
            del opened[place]
        else:
            yield chunk


def _through_reservoir(
    chunks: Iterator[tuple[Ints, Floats]], rng: np.random.Generator, n_features: int
) -> Iterator[tuple[Ints, Floats]]:
    """Shuffle chunks: half of a full reservoir leaves it at random, and the other half stays for what comes next."""
    size, batch = max(2, NUMBERS_IN_RESERVOIR // max(1, n_features)), rows_per_batch(n_features)
    held: list[tuple[Ints, Floats]] = []
    n = 0
    for chunk in chunks:
        held.append(chunk)
        n += len(chunk[0])
        if n >= size:
            numbers, rows = _shuffled(held, rng)
            yield from _cut(numbers[: n // 2], rows[: n // 2], batch)
            held, n = [(numbers[n // 2 :].copy(), rows[n // 2 :].copy())], n - n // 2
    if held:
        yield from _cut(*_shuffled(held, rng), batch)


def _shuffled(held: list[tuple[Ints, Floats]], rng: np.random.Generator) -> tuple[Ints, Floats]:
    numbers, rows = (np.concatenate(parts) for parts in zip(*held))
    held.clear()  # the memory
    order = rng.permutation(len(numbers))
    return numbers[order], rows[order]


def _cut(numbers: Ints, rows: Floats, size: int) -> Iterator[tuple[Ints, Floats]]:
    for start in range(0, len(rows), size):
        yield numbers[start : start + size], rows[start : start + size]


def as_floats(x: npt.NDArray[Any]) -> Floats:
    """A C-contiguous array, of float32 if that holds all numbers of the dtype of x, else of float64."""
    return np.ascontiguousarray(x, np.float32 if np.result_type(x.dtype, np.float32) == np.float32 else np.float64)
