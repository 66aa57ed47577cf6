"""Training data of an estimator: samples, contexts and weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nvpflow._training.degenerate import evened_out
from nvpflow._training.origin import name_columns
from nvpflow._training.statistics import FAR_OUT, location_and_scale
from nvpflow._typing import ArrayLike, Bools, FloatDType, Floats, Ints, Names
from nvpflow._validation.arguments import FLOAT64
from nvpflow._validation.arrays import as_array, check_samples, without_masks
from nvpflow._validation.weights import check_groups, check_weights
from nvpflow._warnings import warn_user

if TYPE_CHECKING:
    from nvpflow.supports import Declared

__all__ = [
    "FEWEST_DISTINCT",
    "Data",
    "check_data",
    "check_numbers",
    "count_given",
    "refuse_context",
    "warn_of_dependent_columns",
]

# Weights in ratios of whole numbers are counts, unless these make more than MOST_COUNTED_ROWS rows and more than MOST_COPIES
# times the given rows.
MOST_COUNTED_ROWS, MOST_COPIES = 1_000_000, 10
# Fewer different rows, such as those of an indicator and its complement, have no copies: nothing could be held out.
FEWEST_DISTINCT = 3
# A column has no density of its own if other columns determine it up to this share of its standard deviation.
LEAST_RESIDUAL, SAME = {"float32": 1e-6, "float64": 1e-9}, 1e-6
# A first look at so many rows, or up to twice as many, finds columns of which others leave up to LOOK times that share. All
# rows leave at least what these leave, times the root of their share of all rows.
ROWS_OF_LOOK, LOOK = 20_000, 100
MANY_ROWS = 100  # rows per column from which distinct rows are not counted


class Data(NamedTuple):
    """Samples x (n, D), context (n, C) or None, and weight (n,) or None.

    copy_of: if weights have made copies of given rows, the number (n,) of the row that each is a copy of; or that of the group
        that each belongs to.
    with_others: the weights (n,) beside the rows that are held out, if they are not the same without those.
    for_all: the weights (n,) of rows that are held out, by which they stand for all rows, if they do not without weights.
    """

    x: Floats
    context: Floats | None = None
    weight: Floats | None = None
    copy_of: Ints | None = None
    with_others: Floats | None = None
    for_all: Floats | None = None

    @property
    def arguments(self) -> tuple[Floats, Floats | None, Floats | None]:
        """The first arguments of `Flow.nll`."""
        return self.x, self.context, self.weight

    def rows(self, index: slice | npt.NDArray[np.integer[Any] | np.bool_]) -> Data:
        """Select rows."""
        return Data(*(None if array is None else _rows_of(array, index) for array in self))  # type: ignore[arg-type]  # x is not None

    def reorder(self, order: Ints) -> None:
        """Change the order of the rows in place, column by column, which needs no second array."""
        for array in self:
            for column in () if array is None else np.atleast_2d(array.T):
                column[:] = column[order]

    def and_those(self, other: Data, apart: bool = False) -> Data:
        """Concatenate these samples and those that were held out.

        apart: whether nothing is fitted to those, so that these keep the weights that they have without those.
        """
        own = self if self.with_others is None or apart else self._replace(weight=self.with_others)
        if apart and own.weight is not None and other.weight is None:
            other = other._replace(weight=np.ones(len(other.x)))
        both = (None if part is None or rest is None else np.concatenate([part, rest]) for part, rest in zip(own[:4], other))
        return Data(*both)  # type: ignore[arg-type]  # x is not None


def _rows_of(array: npt.NDArray[Any], index: slice | npt.NDArray[np.integer[Any] | np.bool_]) -> npt.NDArray[Any]:
    """As array[index], which takes six times as long for short rows."""
    if isinstance(index, slice):
        return array[index]
    return array.compress(index, axis=0) if index.dtype == bool else array.take(index, axis=0)


def check_data(
    X: ArrayLike,
    context: ArrayLike | None,
    sample_weight: ArrayLike | None,
    dtype: FloatDType,
    minimum: int = 1,
    declared: Declared | None = None,
    codes: Ints | None = None,
    missing: bool = False,
    groups: ArrayLike | None = None,
) -> Data:
    """Check the arguments of `fit` and convert them to Data, with sorted rows: the order of the rows does not matter.

    Every row counts, even if another one is equal. Rows of weight 0 are dropped. Weights in ratios of whole numbers are
    counts, in lowest terms: a row of weight 3 becomes three rows. Other weights are relative and are scaled to a mean of 1;
    if they are nearly all zero, and `minimum` is at least 2, they are evened out.
    X and context must be finite in `dtype`, that of the model, but keep their own precision, up to float64. The values of X
    must be in the declared supports. Codes of categories (n, K) become the last columns of the context; X may have no columns
    then. `missing`: cells of X may be NaN. Rows of one group are held out together, as copies of a row are.
    """
    is_empty = codes is not None and as_array("X", X).shape[1] == 0
    if is_empty:
        x = _without_columns(len(as_array("X", X)), minimum)
    else:
        x = check_numbers("X", X, dtype, minimum, missing=missing)
    if declared is not None:
        x = declared.check(x)
    context = None if context is None else check_numbers("context", context, dtype)
    if context is not None and len(context) != len(x):
        raise ValueError(f"context must have one row for each of {len(x)} samples, got shape {context.shape}")
    if codes is not None:
        context = codes.astype(np.float64) if context is None else np.concatenate([context, codes], axis=1)
    group = None if groups is None else check_groups(groups, len(x))
    data = Data(x, context, copy_of=group)
    if sample_weight is None:
        return _sorted(data)
    weight = check_weights("sample_weight", sample_weight, len(x))
    n = np.count_nonzero(weight)
    if n < minimum:
        raise ValueError(f"sample_weight must be more than zero for a minimum of {minimum} sample(s), got {n} such weights")
    times = _as_counts(weight)
    if times is not None:
        row = np.repeat(np.arange(len(x)), times)
        copies = data.rows(row)
        are_copies = times.max() > 1 and n >= FEWEST_DISTINCT and group is None
        return _sorted(copies._replace(copy_of=row) if are_copies else copies)
    relative = (weight / weight.max())[weight > 0]  # their sum cannot overflow
    data = data.rows(weight > 0)._replace(weight=relative / relative.mean())
    return _sorted(evened_out(data) if minimum >= 2 else data)


def _without_columns(n: int, minimum: int) -> Floats:
    if n < minimum:
        raise ValueError(f"X has {n} sample(s) while a minimum of {minimum} is required.")
    return np.empty((n, 0))


def refuse_context(y: object) -> None:
    """Raise a ValueError if the ignored `y` holds floating-point numbers in two dimensions, which are meant as a context."""
    try:
        values = np.asarray(y)
    except Exception:  # y is ignored even if it cannot be read
        return
    if values.ndim == 2 and values.dtype.kind == "f":
        raise ValueError(
            f"y is ignored, got real numbers of shape {values.shape}: give what the density is conditional on as context=..."
        )


def count_given(data: Data, sample_weight: ArrayLike | None) -> int:
    """The number of rows passed to `check_data`, without those of weight 0."""
    return len(data.x) if sample_weight is None else int(np.count_nonzero(as_array("sample_weight", sample_weight)))


def _as_counts(weight: Floats) -> npt.NDArray[np.intp] | None:
    """Convert weights to whole numbers in lowest terms. None if their ratios are not whole, or the numbers are too large."""
    most = max(MOST_COUNTED_ROWS, MOST_COPIES * len(weight))
    weight = weight / weight.max()
    unit, tolerance = 0.0, 1e-9
    for value in np.unique(weight[weight > 0]):
        while value > tolerance:  # Euclid's algorithm
            unit, value = value, abs(unit - value * np.rint(unit / value))
        if most * unit < 1:
            return None
    times = np.rint(weight / unit)
    whole = np.abs(times * unit - weight) <= tolerance
    return times.astype(np.intp) if whole.all() and times.sum() <= most else None


def _sorted(data: Data) -> Data:
    weight = None if data.weight is None else data.weight[:, None]
    return data.rows(_order([column for part in (data.x, data.context, weight) if part is not None for column in part.T]))


def _order(columns: Sequence[Floats]) -> Ints:
    """The order of rows by the first column, then by the second, ...: what ``np.lexsort`` gives, of which most rows need only
    the first column."""
    order = np.argsort(columns[0])
    first = columns[0][order]
    tied = (first[1:] == first[:-1]) | np.isnan(first[:-1])  # NaN comes last
    places = np.flatnonzero(np.append(tied, False) | np.append(False, tied))
    if len(places):
        rows = np.sort(order[places])
        order[places] = rows[np.lexsort([column[rows] for column in columns[::-1]])]
    return order


def _count_distinct(x: Floats) -> int:
    """The number of distinct rows. Their bytes are compared: ``np.unique(x, axis=0)`` takes minutes for a million columns."""
    whole = np.ascontiguousarray(x + 0.0)  # for which -0.0 is 0.0
    return len(np.unique(whole.view(np.dtype((np.void, whole.itemsize * whole.shape[1])))))


def warn_of_dependent_columns(data: Data, dtype: FloatDType, names: Names | None = None) -> None:
    """Warn of columns that have no density of their own given the others, and of too few rows to tell."""
    n, dim = data.x.shape
    if (data.x.min(axis=0) == data.x.max(axis=0)).any():
        return  # constant columns are an error, raised elsewhere
    n_distinct = _count_distinct(data.x) if n <= MANY_ROWS * dim else n
    if n_distinct <= dim:
        warn_user(
            f"X has {n_distinct} {'distinct ' * (n_distinct < n)}rows for {dim} columns: too few to know how the columns "
            "depend on each other. More rows, or fewer columns, make a better density"
        )
        return
    least = LEAST_RESIDUAL[dtype.name]
    some = data.rows(slice(None, None, max(1, n // ROWS_OF_LOOK)))
    if n > len(some.x) and not (_are_dependent(some, LOOK * least) | (some.x.min(axis=0) == some.x.max(axis=0))).any():
        return
    dependent = _are_dependent(data, least)
    if dependent.any():
        warn_user(
            f"column(s) {name_columns(dependent, names)} of X are linear combinations of the columns before them, but for "
            "rounding: the samples lie in a plane, where a density has no upper limit and its value says little. Leave these "
            "columns out"
        )


def _are_dependent(data: Data, least: float) -> Bools:
    """The columns (D,) that those before determine, up to this share of their own standard deviation."""
    location, scale, far_out = location_and_scale(data.x, data.weight)
    z = (data.x - location) / np.where(scale > 0, scale, 1)
    near = (np.abs(z[:, far_out]) <= 2 * FAR_OUT).all(axis=1)  # a row far out in two columns would make them look dependent
    if near.sum() <= z.shape[1]:
        return np.zeros(z.shape[1], bool)  # any columns of so few rows are dependent
    z, weight = z[near], np.ones(len(z))[near] if data.weight is None else data.weight[near]
    share = weight / weight.sum()
    z -= share @ z
    residuals = np.abs(np.diag(np.linalg.qr(z * np.sqrt(share)[:, None], mode="r")))
    own = np.sqrt(share @ z**2)
    dependent: Bools = (residuals < least * own) & (own > SAME)
    return dependent


def check_numbers(name: str, X: ArrayLike, dtype: FloatDType, minimum: int = 1, *, missing: bool = False) -> Floats:
    """Check X, which must be finite in `dtype` as well. It keeps its own precision, up to float64: numbers must not be rounded
    before an origin is subtracted from them. `missing`: cells may be missing, and are NaN in the result."""
    source = X
    X = as_array(name, without_masks(X) if missing else X)
    checked = check_samples(name, X, dtype, minimum, missing=missing, source=source)
    own: FloatDType = np.promote_types(X.dtype, dtype) if X.dtype.kind in "fiub" else FLOAT64
    own = own if own in (np.float32, np.float64) else FLOAT64
    return checked if own == dtype else check_samples(name, X, own, minimum, missing=missing, source=source)
