"""Samples of the columns of a table, in chains, for programs that show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Chains"]


class Chains(NamedTuple):
    """Samples and what belongs to them: arrays (n_chains, n_steps)."""

    columns: Mapping[str, npt.NDArray[np.generic]]  # by name
    statistics: Mapping[str, npt.NDArray[np.generic]]  # "lp", the log-density, and others
    attributes: Mapping[str, Any]  # figures of all samples
