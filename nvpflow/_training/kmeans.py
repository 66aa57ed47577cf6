"""K-means, which initialises the search for a mixture."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from nvpflow._training.statistics import LARGE_SHARE, MANY_ROWS
from nvpflow._typing import Floats

__all__ = ["Clusters", "Marks", "ways_to_mark"]

CLUSTER_ITER, MARK = 10, 4.0


class Marks(IntEnum):
    """The values to separate, in columns where some have a large share: none, the most frequent of each, each of them.

    Without EACH the default lost 1.2 nats on a table with a column of five frequent values; EACH alone lost 0.1 on another.
    """

    NONE, FREQUENT, EACH = range(3)


class Clusters:
    """K-means on a part of the samples, for growing K: more clusters start from the initial centres of fewer, and new ones.

    The new centres are chosen as by Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding", as the
    best of a few candidates.
    """

    def __init__(self, x: Floats, weight: Floats | None, rng: np.random.Generator, marks: Marks = Marks.NONE) -> None:
        some = rng.permutation(len(x))[:MANY_ROWS]
        weight = np.ones(len(some)) if weight is None else weight[some]
        self.x, self.share, self.rng = x[some], (weight / weight.sum()).astype(x.dtype), rng
        self.points = np.hstack([self.x, _marked(self.x, marks)]) if marks else self.x
        self.squares = np.einsum("nd,nd->n", self.points, self.points)[:, None]
        self.centers = self.points[:1]
        self.distance = self._distances(self.centers)[:, 0]

    def assign(self, k: int) -> tuple[npt.NDArray[np.intp], Floats]:
        """Assign samples to K clusters.

        Returns
        -------
        labels : ndarray of int, shape (n,)
        parts : ndarray, shape (n, K)
            A sample's share of all weight in the column of its cluster, otherwise 0.
        """
        while len(self.centers) < k:
            self._add_center()
        centers, before = self.centers, None
        for _ in range(CLUSTER_ITER):
            labels = self._distances(centers).argmin(axis=1)
            if before is not None and (labels == before).all():
                break
            before = labels
            parts = np.eye(k, dtype=self.x.dtype)[labels] * self.share[:, None]
            sums = parts.sum(axis=0)[:, None]
            centers = np.where(sums > 0, parts.T @ self.points / np.maximum(sums, np.finfo(sums.dtype).tiny), centers)
        return labels, parts

    def _add_center(self) -> None:
        """Add a sample as a centre, with a probability that grows with its distance from the other centres."""
        spread = self.distance * self.share.astype(np.float64)
        candidates = self.points[self.rng.choice(len(self.x), 3, p=spread / spread.sum() if spread.any() else None)]
        distances = np.minimum(self.distance[:, None], self._distances(candidates))
        best = (self.share @ distances).argmin()
        self.centers, self.distance = np.vstack([self.centers, candidates[best]]), distances[:, best]

    def _distances(self, centers: Floats) -> Floats:
        """Squared distances, (n, K)."""
        squares = self.squares - 2 * self.points @ centers.T
        distances: Floats = np.maximum(squares + np.einsum("kd,kd->k", centers, centers), 0)
        return distances


def ways_to_mark(x: Floats) -> tuple[Marks, ...]:
    """The ways to start from samples (n, D) with repeated values, of which a part is read: each of them only if it differs."""
    some = x[:MANY_ROWS]
    are_several = _marked(some, Marks.EACH).shape[1] > _marked(some, Marks.FREQUENT).shape[1]
    return tuple(Marks) if are_several else (Marks.NONE, Marks.FREQUENT)


def _marked(x: Floats, marks: Marks) -> Floats:
    """One more column for each value to mark, shape (n, number of values). It is large at that value, which separates it."""
    columns = []
    for column in x.T:
        values, times = np.unique(column, return_counts=True)
        if LARGE_SHARE * len(column) <= times.max() < len(column) and len(values) > 2:
            large = values[times >= LARGE_SHARE * len(column)] if marks == Marks.EACH else values[[times.argmax()]]
            columns += [MARK * (column == value) for value in large]
    return np.array(columns, x.dtype).reshape(-1, len(x)).T
