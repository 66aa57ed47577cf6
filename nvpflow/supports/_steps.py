"""Warnings about columns of whole numbers that leave out most of them: scores in tens, prices that end in 9, codes."""

from __future__ import annotations

import numpy as np

from nvpflow._training.dataset import Data
from nvpflow._typing import Floats
from nvpflow._warnings import warn_user
from nvpflow.supports._parameter import Declared

__all__ = ["warn_of_steps"]

FEWEST_ROWS, FEWEST_VALUES = 20, 10  # random numbers share a step by chance: five of them in 7 of 100 columns, ten in 0.2
# A column holds codes if it has so few values, most of them so many rows, and most neighbours among the values are so far
# apart. Heaps of counts, such as 1, 3, 5, 10, 15, 20, are nearer.
MOST_CODES, ROWS_OF_CODE, GAP_OF_CODES = 20, 5, 6
MOST_SHOWN = 10


def warn_of_steps(data: Data, declared: Declared) -> None:
    """Warn of columns of whole numbers with a common step, and say what to divide by; and of a few numbers far apart.

    Missing cells are NaN. The model spreads probability over the numbers between as well: by ten times too many of prices that
    end in 9. Beside other columns codes cost 0.1 to 2 nats more than categories do: 1.1 of twelve tasters of chips with their
    ratings, 2 of three years in which levees failed with what is known of these.
    """
    if len(data.x) < FEWEST_ROWS:
        return
    kinds, of_steps, of_codes = declared.of_columns(data.x.shape[1]), [], []
    for i in [i for i, kind in enumerate(kinds) if kind.is_whole]:
        (step, first), label = _step(data.x[:, i]), declared.label(i)
        if step > 1:
            plus = f", plus {first}" if first else ""
            of_steps.append(f"{label} (multiples of {step}{plus})")
        elif _are_codes(data.x[:, i]):
            of_codes.append(label)
    if of_steps:
        warn_user(
            f"column(s) {_shown(of_steps)} of X hold whole numbers with a common step. The model gives the numbers between a "
            "probability, too, which those of the table lack: subtract what is added to the multiples, and divide by the step"
        )
    if of_codes:
        warn_user(
            f"column(s) {_shown(of_codes)} of X hold few whole numbers, which are far apart. The model gives the numbers "
            "between a probability, too: if only those of the table may occur, such as codes, declare 'category' in support"
        )


def _shown(found: list[str]) -> str:
    return ", ".join(found[:MOST_SHOWN]) + ", ..." * (len(found) > MOST_SHOWN)


def _are_codes(x: Floats) -> bool:
    values, times = np.unique(x[~np.isnan(x)], return_counts=True)
    is_few = 3 <= len(values) <= MOST_CODES and np.median(times) >= ROWS_OF_CODE
    return bool(is_few and np.median(np.diff(values)) >= GAP_OF_CODES)


def _step(x: Floats) -> tuple[int, int]:
    """The common step of whole numbers x (n,), 1 if they are few, and what remains if they are divided by it."""
    values = np.unique(x[~np.isnan(x)]).astype(np.int64)
    step = int(np.gcd.reduce(np.diff(values))) if len(values) >= FEWEST_VALUES else 1
    return step, int(values[0]) % step
