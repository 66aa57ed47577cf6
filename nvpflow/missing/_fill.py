"""Simple fills of missing cells, from their column alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Bools, Floats

__all__ = ["fill_with_others", "with_means"]


def fill_with_others(column: npt.NDArray[Any], missing: Bools, weight: Floats | None, rng: np.random.Generator) -> None:
    """Fill the missing cells of a column, in place, with its other values, drawn by the weights of their rows."""
    p = None if weight is None else weight[~missing] / weight[~missing].sum()
    column[missing] = rng.choice(column[~missing], np.count_nonzero(missing), p=p)


def with_means(x: Floats) -> Floats:
    """Samples (n, D) with the mean of their column in cells that are NaN."""
    missing = np.isnan(x)
    return np.where(missing, np.mean(x, axis=0, where=~missing), x) if missing.any() else x
