"""Distributions of categories that have an order: those of ordered categorical columns of frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nvpflow._typing import ArrayLike, Floats
from nvpflow._validation.arguments import shown

__all__ = ["OrderedCategory"]


class OrderedCategory(NamedTuple):
    """Probabilities (n, V) of V values, from the least to the greatest."""

    values: Sequence[Any]
    probabilities: Floats

    def cdf(self, x: Any) -> Floats:
        """Probabilities (n, G) of values up to x (G,)."""
        places = []
        for value in x:
            if value not in self.values:
                raise ValueError(f"x must be among {list(self.values)[:10]}, got {shown(value)}")
            places.append(self.values.index(value))
        sums: Floats = np.cumsum(self.probabilities, axis=1)[:, places]
        return sums

    def ppf(self, q: ArrayLike) -> npt.NDArray[Any]:
        """The least values (n, G) whose probabilities up to them reach q (n, G)."""
        sums = np.cumsum(self.probabilities, axis=1)
        q, places = np.asarray(q, np.float64), np.empty(np.shape(q), np.intp)
        for i, (row, part) in enumerate(zip(sums, q)):
            places[i] = np.searchsorted(row / row[-1], part)
        table = np.empty(len(self.values), dtype=object)
        table[:] = self.values
        found: npt.NDArray[Any] = table[np.minimum(places, len(table) - 1)]
        return found
