"""Sources of what is in memory or mapped into it, and of callables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nvpflow._sklearn.feature_names import feature_names
from nvpflow._typing import Floats, Names
from nvpflow._validation.arguments import shown
from nvpflow._validation.arrays import TIMES, as_array
from nvpflow.scale._source import NO_CATEGORIES, RowSource, Stream, as_floats, rows_per_batch

__all__ = ["ArraySource", "CallableSource"]


class ArraySource(RowSource):
    """An array (n, D) or a frame, of which a batch is converted at a time."""

    def __init__(self, X: Any, names: Names | None = None) -> None:
        shape = np.shape(X) if isinstance(X, np.ndarray) else X.shape
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"X must have shape (n, D), with n and D at least 1, got {shape}")
        self.n_rows, self.n_features = int(shape[0]), int(shape[1])
        self.names = feature_names(X) if names is None else names
        self._table = X
        self._part(0, 1)  # an error where it does not hold numbers

    def streams(self) -> Sequence[Stream]:
        size, n = rows_per_batch(self.n_features), self.n_rows or 0
        return [Stream(start, _once(self._part, start, start + size)) for start in range(0, n, size)]

    def _part(self, start: int, stop: int) -> Floats:
        table = self._table.iloc if hasattr(self._table, "iloc") else self._table
        return _numbers(table[start:stop])


class CallableSource(RowSource):
    """What a callable returns in each call: an iterator of arrays or frames (m, D).

    The rows must be the same, in the same order, in each call.
    """

    def __init__(self, call: Callable[[], Iterable[Any]]) -> None:
        self._call = call
        self._first: Iterable[Any] | None = None
        self._first = self._opened()
        first = next(iter(self._first), None)
        if first is None:
            raise ValueError("X must give batches of rows, got a callable that returns none")
        self.names, rows = feature_names(first), _numbers(first)
        self.n_features = rows.shape[1]

    def streams(self) -> Sequence[Stream]:
        return [Stream(0, self._open)]

    def _open(self) -> Iterator[Floats]:
        for batch in self._opened():
            self._check_names(feature_names(batch))
            rows, size = _numbers(batch), rows_per_batch(self.n_features)
            for start in range(0, len(rows), size):
                yield rows[start : start + size]

    def _opened(self) -> Iterable[Any]:
        batches = self._call()
        if not isinstance(batches, Iterable) or isinstance(batches, (np.ndarray, str, bytes)):
            raise TypeError(f"X must be a callable that returns an iterator of arrays (m, D), got {shown(batches)} from it")
        if batches is self._first and isinstance(batches, Iterator):
            raise ValueError("X must be a callable that returns a new iterator in each call, got the same one again")
        return batches

    def _check_names(self, names: Names | None) -> None:
        """Frames in another order of columns would give wrong rows."""
        if self.names is not None and names is not None and names.tolist() != self.names.tolist():
            expected, found = (", ".join(map(repr, some.tolist())) for some in (self.names, names))
            raise ValueError(f"X must have the columns {expected:.200} in every batch, in this order, got {found:.200}")


def _once(read: Callable[[int, int], Floats], start: int, stop: int) -> Callable[[], Iterator[Floats]]:
    def opened() -> Iterator[Floats]:
        yield read(start, stop)

    return opened


def _numbers(part: Any) -> Floats:
    """A part of a table (m, D) in floats."""
    array: npt.NDArray[Any] = as_array("X", part)
    if array.ndim != 2:
        raise ValueError(f"X must give batches of shape (m, D), got {array.shape}")
    if array.dtype == object:
        raise TypeError(f"X must have columns of real numbers, got objects, such as texts: {NO_CATEGORIES}")
    if array.dtype.kind not in "fiu":
        hint = TIMES if array.dtype.kind in "mM" else f": {NO_CATEGORIES}"
        raise TypeError(f"X must have columns of real numbers, got dtype {array.dtype}{hint}")
    return as_floats(array)
