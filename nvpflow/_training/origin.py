"""Origins: columns with an offset too large for the precision of a flow are read less an origin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nvpflow._typing import FloatDType, Floats, Names
from nvpflow._warnings import warn_user

__all__ = ["are_coarse", "name_columns", "origin_of", "warn_of_coarse"]


def origin_of(mean: Floats, deviation: Floats, dtype: FloatDType) -> Floats:
    """The number (D,) to subtract from each column, in float64, before a flow of this dtype reads it. Zero if possible."""
    return np.where(are_coarse(mean, deviation, dtype), mean, 0.0)


def warn_of_coarse(name: str, mean: Floats, deviation: Floats, dtype: FloatDType) -> None:
    """Warn of columns that the dtype hardly resolves."""
    coarse = are_coarse(mean, deviation, dtype)
    if coarse.any():
        warn_user(
            f"column(s) {name_columns(coarse)} of {name} vary by less than a thousand times the resolution of {dtype} at "
            f"their mean: subtract the mean first{', or use dtype=float64' * (dtype == np.float32)}"
        )


def name_columns(mask: npt.NDArray[np.bool_], names: Sequence[str] | Names | None = None, at_most: int = 10) -> str:
    """List the columns where a mask (D,) is true, by number or name, for messages."""
    columns = np.flatnonzero(mask)
    shown = ", ".join(str(i) if names is None else f"{names[i]!r:.50}" for i in columns[:at_most])
    return shown + ", ..." * (len(columns) > at_most)


def are_coarse(mean: Floats, deviation: Floats, dtype: FloatDType) -> npt.NDArray[np.bool_]:
    """Which columns (D,) the dtype hardly resolves."""
    return deviation < 1e3 * np.finfo(dtype).eps * np.abs(mean)
