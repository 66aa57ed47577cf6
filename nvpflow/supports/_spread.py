"""Dequantisation: whole numbers as real numbers that training can see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nvpflow._training.dataset import Data
from nvpflow._typing import Floats
from nvpflow.supports._kinds import Kind

__all__ = ["spread"]


def spread(kinds: Sequence[Kind], data: Data, rng: np.random.Generator) -> Data:
    """Spread the whole numbers of a column evenly over their cells, in random order; other columns stay.

    The m rows with the number k get k + 1/2m, k + 3/2m, ..., so that no cell is fuller at one end by chance.
    """
    if not any(kind.is_whole for kind in kinds):
        return data
    x = data.x.astype(np.float64)
    for column, kind in enumerate(kinds):
        if kind.is_whole:
            x[:, column] += _places(x[:, column], rng)
    return data._replace(x=x)


def _places(values: Floats, rng: np.random.Generator) -> Floats:
    """For each value a place in (0, 1), evenly spaced among equal values."""
    order = np.lexsort((rng.random(len(values)), values))
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    places = np.empty(len(values))
    places[order] = (np.arange(len(values)) - np.repeat(first, counts) + 0.5) / np.repeat(counts, counts)
    return places
