"""Expectation-maximisation in passes over the partitions of an array or a frame of Dask."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
from dask.delayed import delayed

from nvpflow._typing import Floats, Search
from nvpflow.mixture_base import MixtureBase
from nvpflow.scale._local_steps import Shard, Task, sums_of_rows
from nvpflow.scale._mixture import Passes, RowSums

__all__ = ["LazyPasses"]


class LazyPasses(Passes):
    """Passes of a mixture over all rows, whose sums the workers take."""

    def __init__(
        self, task: Task, parts: list[Any], shards: list[Shard], base: MixtureBase, sample: Floats, search: Search
    ) -> None:
        n = sum(shard.n_rows for shard in shards)
        super().__init__(base, sample, search, round(n * (1 - task.held_out)))
        self._task, self._parts, self._shards = task, parts, shards

    def _total(self, sums: RowSums, share: float | None) -> Floats:
        take, task, shared = delayed(sums_of_rows), delayed(self._task, traverse=False), delayed(sums, traverse=False)
        found = dask.compute(*[take(part, shard, task, shared, share) for part, shard in zip(self._parts, self._shards)])
        total: Floats = np.sum(found, axis=0)
        return total
