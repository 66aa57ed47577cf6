"""Samples that say too little for a density: weights that are nearly all zero, constant columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nvpflow._training.origin import name_columns
from nvpflow._training.statistics import effective_size
from nvpflow._typing import Floats, Names
from nvpflow.supports._kinds import MOST

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
    from nvpflow._training.settings import Settings
    from nvpflow.supports._kinds import Kind

__all__ = ["CONSTANT", "evened_out", "refuse_constant_columns", "with_narrow_columns"]

# The effective number of samples is at least this many more than the columns, or this share of all samples if that is less: no
# fewer determine a covariance. Fewer would make a density that is infinite for one sample, and zero for all others.
MORE_THAN_COLUMNS, SHARE_OF_ROWS = 2, 0.5
BISECTIONS = 60
CONSTANT = (
    "X must have no constant column, got one in column(s) {}: a constant has no density. Leave it out, or allow it by "
    "constant_columns='narrow'"
)
BEYOND = ". Whole numbers of 2**53 or more in size that differ by little are equal as floats: subtract an offset first"
# Of a constant, and that of 0: well above the resolution of float32.
NARROW, NARROW_AT_ZERO = 1e-3, 1e-3


def evened_out(data: Data) -> Data:
    """Mix relative weights with equal ones, as little as is needed for a least effective number of samples."""
    n, dim = data.x.shape
    least = min(dim + MORE_THAN_COLUMNS, SHARE_OF_ROWS * n)
    if data.weight is None or effective_size(data) >= least:
        return data
    low, high, weight = 0.0, 1.0, data.weight / data.weight.mean()
    for _ in range(BISECTIONS):
        share = (low + high) / 2
        is_enough = effective_size(data._replace(weight=weight + share * (1 - weight))) >= least
        low, high = (low, share) if is_enough else (share, high)
    return data._replace(weight=weight + high * (1 - weight))


def refuse_constant_columns(settings: Settings, x: Floats, kinds: Sequence[Kind], names: Names | None) -> None:
    """Raise a ValueError that names columns of real numbers x (n, D), with bounds or without, that are constant where they are
    not NaN."""
    if settings.constant_columns != "error":
        return
    is_real = np.array([not (kind.is_whole or kind.turn) for kind in kinds])
    low, high = np.nanmin(x, axis=0), np.nanmax(x, axis=0)
    constant = is_real & (low == high)
    if constant.any():
        beyond = bool((np.abs(low[constant].astype(np.float64)) >= MOST).all())
        raise ValueError(CONSTANT.format(name_columns(constant, names)) + BEYOND * beyond)


def with_narrow_columns(settings: Settings, training: Data, validation: Data | None, seed: int) -> tuple[Data, Data | None]:
    """Spread constant columns of samples on the real line over a narrow normal distribution, if the settings allow them."""
    low, high = training.x.min(axis=0), training.x.max(axis=0)
    is_constant = low == high
    if settings.constant_columns == "error" or not is_constant.any():
        return training, validation
    constant = low[is_constant].astype(np.float64)
    deviation = np.where(constant == 0, NARROW_AT_ZERO, NARROW * np.abs(constant))
    rng = np.random.default_rng([seed, 2])

    def spread(data: Data) -> Data:
        x: Floats = data.x.astype(np.float64)
        x[:, is_constant] += deviation * rng.standard_normal((len(x), len(deviation)))
        return data._replace(x=x)

    return spread(training), validation and spread(validation)
