"""K-means, from which the search for a mixture starts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nvpflow._training.statistics import LARGE_SHARE, MANY_ROWS
from nvpflow._typing import Floats

__all__ = ["Clusters"]

CLUSTER_ITER, MARK = 10, 4.0


class Clusters:
    """K-means of some of the samples, for growing K: the centres that it starts from are those for fewer, and more.

    Arthur and Vassilvitskii (2007), "k-means++: the advantages of careful seeding", with the best of a few candidates.
    """

    def __init__(self, x: Floats, weight: Floats | None, rng: np.random.Generator, marked: bool = False) -> None:
        some = rng.permutation(len(x))[:MANY_ROWS]
        weight = np.ones(len(some)) if weight is None else weight[some]
        self.x, self.share, self.rng = x[some], (weight / weight.sum()).astype(x.dtype), rng
        self.points = np.hstack([self.x, _marks(self.x)]) if marked else self.x
        self.centers = self.points[:1]
        self.distance = self._distances(self.centers)[:, 0]

    def assign(self, k: int) -> tuple[npt.NDArray[np.intp], Floats]:
        """The cluster of each sample, of K, and (n, K): its share of all weight, where its cluster is."""
        while len(self.centers) < k:
            self._add_center()
        centers = self.centers
        for _ in range(CLUSTER_ITER):
            labels = self._distances(centers).argmin(axis=1)
            parts = np.eye(k, dtype=self.x.dtype)[labels] * self.share[:, None]
            sums = parts.sum(axis=0)[:, None]
            centers = np.where(sums > 0, parts.T @ self.points / np.maximum(sums, np.finfo(sums.dtype).tiny), centers)
        return labels, parts

    def _add_center(self) -> None:
        """A sample, the more likely the farther it is from the others."""
        spread = self.distance * self.share.astype(np.float64)
        candidates = self.points[self.rng.choice(len(self.x), 3, p=spread / spread.sum() if spread.any() else None)]
        distances = np.minimum(self.distance[:, None], self._distances(candidates))
        best = (self.share @ distances).argmin()
        self.centers, self.distance = np.vstack([self.centers, candidates[best]]), distances[:, best]

    def _distances(self, centers: Floats) -> Floats:
        """Squared, (n, K)."""
        squares = np.einsum("nd,nd->n", self.points, self.points)[:, None] - 2 * self.points @ centers.T
        distances: Floats = np.maximum(squares + np.einsum("kd,kd->k", centers, centers), 0)
        return distances


def _marks(x: Floats) -> Floats:
    """A further column for each that repeats a value often: large where it has that value, so that K-means tells."""
    marks = []
    for column in x.T:
        values, times = np.unique(column, return_counts=True)
        if LARGE_SHARE * len(column) <= times.max() < len(column) and len(values) > 2:
            marks.append(MARK * (column == values[times.argmax()]))
    return np.array(marks, x.dtype).reshape(-1, len(x)).T
