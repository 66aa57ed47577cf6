"""The processes of an MPI job as a group that fits one model."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nvpflow._sklearn.feature_names import feature_names
from nvpflow._typing import Callback, Floats, Ints
from nvpflow._validation.arguments import shown
from nvpflow._validation.arrays import as_array
from nvpflow.scale._fit import fit_from
from nvpflow.scale._group import Group
from nvpflow.scale._source import RowSource, Stream, as_floats, rows_per_batch
from nvpflow.scale._sources import as_source, is_source

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

    from nvpflow.density import FlowDensity

__all__ = ["RankError", "Ranks", "fit_on_ranks"]

# What members do together. All must do the same: the header of each operation tells when one does something else.
FAIL, SUM, GATHER, BROADCAST, FINISH = range(5)


class RankError(RuntimeError):
    """Another rank raised an exception, so that the fit ends on all of them. The message is that of the other rank."""


class Ranks(Group):
    """The ranks of a communicator of mpi4py.

    Sums are made on one rank and sent to all, so that all ranks have the same bits, which `MPI_Allreduce` does not promise.
    Before each operation the ranks tell each other whether one has failed, in 24 bytes: then all of them raise.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        It is duplicated: messages of others on it do not matter.

    Raises
    ------
    TypeError
        If `comm` is no communicator.
    """

    def __init__(self, comm: Comm) -> None:
        try:
            from mpi4py import MPI
        except ImportError as error:
            raise TypeError(f"comm must be a communicator of mpi4py, got {shown(comm)}") from error
        if not isinstance(comm, MPI.Comm):
            raise TypeError(f"comm must be a communicator of mpi4py, got {shown(comm)}")
        self._mpi, self._comm = MPI, comm.Dup()
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()

    def sum(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array = np.ascontiguousarray(array)
        self._meet(SUM, array.nbytes)
        total = np.empty_like(array)
        self._comm.Reduce(array, total, self._mpi.SUM)
        self._comm.Bcast(total)
        return total

    def gather_rows(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array = np.ascontiguousarray(array)
        row = array[:1].nbytes if len(array) else int(np.prod(array.shape[1:])) * array.itemsize
        self._meet(GATHER, row)
        counts = self._comm.allgather(len(array))
        rows = np.empty((sum(counts), *array.shape[1:]), array.dtype)
        kind = self._mpi.BYTE.Create_contiguous(row).Commit()
        try:
            self._comm.Allgatherv([array, len(array), kind], [rows, counts, None, kind])
        finally:
            kind.Free()
        return rows

    def broadcast(self, value: Any) -> Any:
        content = pickle.dumps(value) if self.rank == 0 else None  # an error here comes before the others wait
        self._meet(BROADCAST)
        return pickle.loads(self._comm.bcast(content))

    @contextmanager
    def together(self) -> Iterator[None]:
        """Operations of the group inside of this end with an exception on all ranks if they do so on one."""
        try:
            try:
                yield
                self._meet(FINISH)
            except RankError:
                raise
            except BaseException as error:
                self._tell(error)
                raise
        finally:
            self._comm.Free()

    def _meet(self, operation: int, size: int = 0) -> None:
        """Wait for the others. Raise if one of them has failed, or does something else."""
        highest = self._header(operation, size)
        if highest[0]:
            self._raise_theirs("")
        if highest[1] != operation or -highest[2] != operation or highest[3] != size or -highest[4] != size:
            raise _mismatch()

    def _header(self, operation: int, size: int) -> npt.NDArray[np.int64]:
        mine = np.array([operation == FAIL, operation, -operation, size, -size], np.int64)
        highest = np.empty_like(mine)
        self._comm.Allreduce(mine, highest, self._mpi.MAX)
        return highest

    def _tell(self, error: BaseException) -> None:
        """Let the others know of an exception, in their next operation."""
        if isinstance(error, _Mismatch):
            return  # all ranks have noticed
        self._header(FAIL, 0)
        kind = next(kind for kind in type(error).__mro__ if not kind.__module__.startswith("nvpflow._"))
        self._messages(f"{kind.__name__}: {error}")

    def _messages(self, message: str) -> list[str]:
        found: list[str] = self._comm.allgather(message)
        return found

    def _raise_theirs(self, message: str) -> None:
        found = self._messages(message)
        words = [f"rank {rank} of {self.size} raised {text}" for rank, text in enumerate(found) if text]
        raise RankError("; ".join(words))


class OwnRows(RowSource):
    """Rows in the memory of a rank, which may be none: an array (n, D) or a frame."""

    in_memory = True

    def __init__(self, X: Any) -> None:
        rows = as_array("X", X)
        if rows.dtype.kind not in "fiub":
            raise TypeError(f"X must have columns of real numbers, got dtype {rows.dtype}")
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise ValueError(f"X must have shape (n, D), with D at least 1, got {rows.shape}")
        self.n_rows, self.n_features = rows.shape
        self.names, self._rows = feature_names(X), as_floats(rows)

    def streams(self) -> list[Stream]:
        size = rows_per_batch(self.n_features)
        return [Stream(start, self._opened(start, start + size)) for start in range(0, len(self._rows), size)]

    def take(self, numbers: Ints) -> Floats:
        return self._rows[numbers]

    def _opened(self, start: int, stop: int) -> Callable[[], Iterator[Floats]]:
        return lambda: iter([self._rows[start:stop]])


def fit_on_ranks(model: FlowDensity, X: Any, comm: Any, callback: Callback | None = None) -> None:
    """Fit a model to the rows of all ranks, as `FlowDensity.fit` says."""
    group = Ranks(comm)
    with group.together():
        source = as_source(X) if is_source(X) else OwnRows(X)
        _check_alike(group, model, source)
        twin = copy.copy(model)
        twin.verbose = model.verbose if group.rank == 0 else 0
        try:
            fit_from(twin, source, group, callback=callback)
        except KeyboardInterrupt:
            model.__dict__ = vars(twin) | {"verbose": model.verbose}
            raise
    model.__dict__ = vars(twin) | {"verbose": model.verbose}


def _check_alike(group: Ranks, model: FlowDensity, source: RowSource) -> None:
    """Raise a ValueError on all ranks if they do not fit the same model to the same columns."""
    own = {name: value for name, value in model.get_params().items() if name not in ("n_jobs", "random_state", "verbose")}
    names = None if source.names is None else list(source.names)
    mine = {"the number of columns of X": source.n_features, "the names of the columns of X": names} | own
    for what, value in group.broadcast(mine).items():
        own_text = shown(mine[what]) if repr(mine[what]) != repr(value) else ""
        texts = group.gather_rows(np.array([own_text], "U200"))
        if texts.any():
            other = int(np.argmax(texts != ""))
            raise ValueError(
                f"{what} must be the same on all ranks, got {shown(value)} on rank 0 and {texts[other]} on rank {other}"
            )


class _Mismatch(RuntimeError):
    pass


def _mismatch() -> _Mismatch:
    return _Mismatch(
        "the ranks do not do the same: all of them must call fit with the same parameters, and equal shapes of rows"
    )
