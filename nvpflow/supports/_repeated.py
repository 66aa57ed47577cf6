"""A warning about columns of real numbers in which few values repeat: their density has no finite limit."""

from __future__ import annotations

import numpy as np

from nvpflow._training.copies import without_copies
from nvpflow._training.covariances import may_have_peaks
from nvpflow._training.dataset import Data
from nvpflow._training.origin import name_columns
from nvpflow._typing import Floats, Ints, Names
from nvpflow._warnings import warn_user
from nvpflow.supports._kinds import REALS, Kind
from nvpflow.supports._parameter import Declared

__all__ = ["LEAVE_EMPTY", "warn_of_repeated_values"]

# What gives a value of a column of real numbers a probability of its own: an atom. A log-density of a row without the cell is
# that of its other columns and of the category, which is the probability of the value.
LEAVE_EMPTY = (
    "leave its cells empty (NaN), add a column of a category that says which these are, and fit with missing='marginalize'"
)

# A column repeats few values if these have MANY_ROWS each in the mean, and are FEW_VALUES at most or get peaks, or if values
# with OFTEN of the rows each have together MOSTLY of them. Columns that are only rounded, such as lengths in tenths or ages in
# years, have more values and get no peaks. Copies of a row, as weights make them, do not get any either.
FEW_VALUES, MANY_ROWS, OFTEN, MOSTLY = 20, 10, 0.1, 0.5
LEAST_ROWS = 2 * MANY_ROWS  # fewer say nothing
MOST_ROWS = 20_000  # to look at


def warn_of_repeated_values(data: Data, declared: Declared | None, names: Names | None) -> None:
    """Warn of columns of real numbers in which few values repeat, and say what to declare.

    Values on a bound of the support do not count: they have a treatment and a warning of their own.
    """
    n_rows, n_columns = data.x.shape
    if n_rows < LEAST_ROWS:
        return
    kinds = declared.of_columns(n_columns) if declared else (REALS,) * n_columns
    distinct = without_copies(data)
    repeats = np.array(
        [_repeats(x, kind, data.weight) or _gets_peaks(one, kind) for x, one, kind in zip(data.x.T, distinct.T, kinds)]
    )
    if repeats.any():
        warn_user(
            f"column(s) {name_columns(repeats, names)} of X repeat few values. As real numbers these have no finite density: "
            "the model puts narrow peaks of the right mass and of arbitrary height. For probabilities of the values declare "
            "the columns in support, as 'integer' if they count (divide rounded ones by their unit first) or as 'category' if "
            f"they have no order. For that of a single value that stands out, such as 0 for none, {LEAVE_EMPTY}"
        )


def _rows_that_tell(x: Floats, kind: Kind) -> Ints:
    """The rows to look at of a column (n,): some, without values on a bound; none of whole numbers and of angles."""
    if kind.is_whole or kind.turn:
        return np.empty(0, np.intp)
    some = np.arange(0, len(x), max(1, len(x) // MOST_ROWS))
    return some[~np.isin(x[some], kind.cells)]


def _repeats(x: Floats, kind: Kind, weight: Floats | None) -> bool:
    """Whether the values of a column (n,) are few, or most rows have one of a few."""
    rows = _rows_that_tell(x, kind)
    x, weight = x[rows], None if weight is None else weight[rows]
    values, place, times = np.unique(x, return_inverse=True, return_counts=True)
    if len(values) < 2 or len(x) < LEAST_ROWS:
        return False
    if len(values) <= min(FEW_VALUES, len(x) / MANY_ROWS):
        return True
    shares = times / len(x) if weight is None else np.bincount(place, weight) / weight.sum()
    return float(shares[(shares >= OFTEN) & (times >= MANY_ROWS)].sum()) >= MOSTLY


def _gets_peaks(x: Floats, kind: Kind) -> bool:
    """Whether values of a column (n,) have MANY_ROWS each in the mean, and peaks, though there are more than a few."""
    x = x[_rows_that_tell(x, kind)]
    return len(x) >= LEAST_ROWS and len(np.unique(x)) <= len(x) / MANY_ROWS and may_have_peaks(x)
