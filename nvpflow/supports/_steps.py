"""A warning about columns of whole numbers that leave out most of them, such as scores in tens or prices that end in 9."""

from __future__ import annotations

import numpy as np

from nvpflow._training.dataset import Data
from nvpflow._typing import Floats
from nvpflow._warnings import warn_user
from nvpflow.supports._parameter import Declared

__all__ = ["warn_of_steps"]

FEWEST_ROWS, FEWEST_VALUES = 20, 10  # random numbers share a step by chance: five of them in 7 of 100 columns, ten in 0.2
MOST_SHOWN = 10


def warn_of_steps(data: Data, declared: Declared) -> None:
    """Warn of columns of whole numbers with a common step, and say what to divide by. Missing cells are NaN.

    The model spreads probability over the numbers between as well: by ten times too many of prices that end in 9.
    """
    if len(data.x) < FEWEST_ROWS:
        return
    kinds, found = declared.of_columns(data.x.shape[1]), []
    for i in [i for i, kind in enumerate(kinds) if kind.is_whole]:
        step, first = _step(data.x[:, i])
        if step > 1:
            plus = f", plus {first}" if first else ""
            found.append(f"{declared.label(i)} (multiples of {step}{plus})")
    if found:
        shown = ", ".join(found[:MOST_SHOWN]) + ", ..." * (len(found) > MOST_SHOWN)
        warn_user(
            f"column(s) {shown} of X hold whole numbers with a common step. The model gives the numbers between a "
            "probability, too, which those of the table lack: subtract what is added to the multiples, and divide by the step"
        )


def _step(x: Floats) -> tuple[int, int]:
    """The common step of whole numbers x (n,), 1 if they are few, and what remains if they are divided by it."""
    values = np.unique(x[~np.isnan(x)]).astype(np.int64)
    step = int(np.gcd.reduce(np.diff(values))) if len(values) >= FEWEST_VALUES else 1
    return step, int(values[0]) % step
