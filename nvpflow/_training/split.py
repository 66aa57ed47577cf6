"""The split into training and held-out samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nvpflow._typing import Floats, Ints

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
    from nvpflow._training.settings import Settings

__all__ = ["split"]


def split(settings: Settings, data: Data, seed: int) -> tuple[Data, Data | None]:
    """Split data into training data, and validation data or None.

    A row stays in training if a column would be constant without it.
    """
    if settings.validation_fraction is None:
        return data, None
    n = len(data.x)
    n_validation = min(max(1, round(settings.validation_fraction * n)), n - 1)
    order = np.random.default_rng(seed).permutation(n)
    held_out, training = order[:n_validation], order[n_validation:]
    needed = _lone_values(data.x, training, held_out)
    held_out, training = held_out[~np.isin(held_out, needed)], np.append(training, needed)
    return data.rows(training), data.rows(held_out) if len(held_out) else None


def _lone_values(x: Floats, training: Ints, held_out: Ints) -> Ints:
    """One of the rows `held_out` for each column that would be constant in training without it."""
    first = x[training[0]]
    constant = (x[training] == first).all(axis=0)
    differs = x[held_out][:, constant] != first[constant]
    return np.unique(held_out[differs.argmax(axis=0)[differs.any(axis=0)]])
