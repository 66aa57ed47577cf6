"""Statistics of weighted samples: effective size, moments, quantiles, location and scale."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Floats, Ints

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data

__all__ = [
    "FAR_OUT",
    "LARGE_SHARE",
    "MANY_ROWS",
    "SPREAD_OF_NORMAL",
    "as_columns",
    "average",
    "blocks",
    "effective_size",
    "effective_size_of",
    "even_places",
    "holds_values",
    "location_and_scale",
    "mean_and_error",
    "moments",
    "places_of_rows",
    "quantiles",
    "values_stand_out",
]

# A column has values far out if its standard deviation is more than FAR_OUT times its spread. The spread is the range from the
# 5th to the 95th percentile, divided by that of a standard normal distribution. QUANTILES_FROM rows are enough to find it.
FAR_OUT, SPREAD_OF_NORMAL, QUANTILES_FROM = 8.0, 3.29, 10_000

# A column holds values if one value has at least this share of it, and as many copies: mixtures put a component on each.
# MANY_ROWS rows are enough to find out. Of fewer than twenty rows each is a twentieth.
LARGE_SHARE, LEAST_COPIES, MANY_ROWS = 0.05, 3, 3000

# Values of a rounded column stand out from their neighbours if to know their frequencies gains so much, in nats, and so many
# standard errors. Ages in years, lengths in hundredths and indices of prices gained less than 0.06; carat weights of a
# simulated price list, distances of flights, and rates of hotels 0.2 to 1.5.
LEAST_OF_STANDING_OUT, ERRORS_OF_STANDING_OUT = 0.1, 3.0
NEIGHBOURS, UNIFORM, MOST_PLACES = 3, 0.01, 20  # on either side; their share of a uniform distribution; places per sample

LEAST_FOR_ERROR = 5  # fewer samples do not tell a standard error
# Rows of a block, and rows from which sums of squares are taken block by block, which rounds them in another way.
BLOCK, MANY_FOR_MOMENTS = 16_384, 131_072
MOST_TO_COPY = 1_000_000  # numbers


def blocks(n: int) -> Iterator[slice]:
    """Slices of n rows, for intermediate results that would take more memory than the rows."""
    return (slice(first, first + BLOCK) for first in range(0, n, BLOCK))


def effective_size(data: Data) -> float:
    """The number of equal weights with the entropy of the given ones. Without weights, the number of samples.

    Source: Martino, Elvira and Louzada (2017), "Effective sample size for importance sampling based on discrepancy measures".
    By the size of Kish, (sum w)^2 / sum w^2, 700 samples and one of weight 300, such as a repeated row, would count as 11.
    """
    return effective_size_of(data.x, data.weight)


def effective_size_of(x: Floats, weight: Floats | None) -> float:
    """`effective_size` of samples x (n, D) with weights (n,) or None."""
    return len(x) if weight is None else _size(weight)


def _size(weight: Floats) -> float:
    share = weight / weight.sum(dtype=np.float64)
    share = share[share > 0]  # the smallest weights may have none
    size: float = np.exp(-(share * np.log(share)).sum())
    return size


def as_columns(x: Floats) -> Floats:
    """The columns (D, n) of samples, copied if they are small: NumPy reduces short rows ten times as slowly."""
    return np.ascontiguousarray(x.T) if x.size <= MOST_TO_COPY else x.T


def moments(x: Floats, weight: Floats | None = None) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column, in float64."""
    is_long = len(x) > MANY_FOR_MOMENTS
    columns = as_columns(x)
    largest = np.max([np.abs(columns[:, rows]).max(axis=1) for rows in blocks(len(x))], axis=0).astype(np.float64)
    extreme = (largest > 1e100) | ((largest < 1e-100) & (largest > 0))
    unit = np.ones(len(largest))
    if extreme.any():  # scale by powers of two, which is exact, so that squares neither overflow nor underflow
        unit[extreme] = 2.0 ** np.floor(np.log2(largest[extreme]))
        columns = columns / unit[:, np.newaxis]
    if is_long:
        mean = _mean_of_blocks(columns.T, weight, lambda part: part)
        deviation = np.sqrt(_mean_of_blocks(columns.T, weight, lambda part: (part - mean) ** 2))
    elif weight is None:
        mean, deviation = columns.mean(axis=1, dtype=np.float64), columns.std(axis=1, dtype=np.float64)
    else:
        mean = np.average(columns, axis=1, weights=weight)
        deviation = np.sqrt(np.average((columns - mean[:, np.newaxis]) ** 2, axis=1, weights=weight))
    return mean * unit, deviation * unit


def _mean_of_blocks(x: Floats, weight: Floats | None, function: Callable[[Floats], Floats]) -> Floats:
    """The weighted mean (D,) of a function of rows x (n, D), in float64."""
    share = np.full(len(x), 1 / len(x)) if weight is None else weight / weight.sum(dtype=np.float64)
    mean: Floats = np.sum([share[rows] @ function(x[rows].astype(np.float64)) for rows in blocks(len(x))], axis=0)
    return mean


def location_and_scale(x: Floats, weight: Floats | None = None) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Units of each column, in float64: mean and standard deviation, or median and spread if some values are far out.

    Returns
    -------
    location, scale : ndarray, shape (D,)
    far_out : ndarray of bool, shape (D,)
        The columns with values far out.
    """
    mean, deviation = moments(x, weight)
    some = slice(None, None, max(1, len(x) // QUANTILES_FROM))
    low, median, high = quantiles(x[some], (0.05, 0.5, 0.95), None if weight is None else weight[some])
    spread = (high - low) / SPREAD_OF_NORMAL
    far_out = (spread > 0) & ~(deviation <= FAR_OUT * spread)
    return np.where(far_out, median, mean), np.where(far_out, spread, deviation), far_out


def quantiles(x: Floats, shares: Sequence[float], weight: Floats | None = None) -> Floats:
    """Weighted quantiles of each column, (len(shares), D), in float64. Half of a sample's weight counts as below it."""
    if weight is None:
        below = np.broadcast_to((np.arange(len(x)) + 0.5) / len(x), x.T.shape)
        ordered = np.sort(x, axis=0)
    else:
        order = np.argsort(x, axis=0)
        weight = weight[order]
        below = ((np.cumsum(weight, axis=0) - weight / 2) / weight.sum(axis=0)).T
        ordered = np.take_along_axis(x, order, axis=0)
    columns = zip(below, ordered.T.astype(np.float64))
    return np.array([np.interp(shares, position, column) for position, column in columns]).T


def average(values: Floats, weight: Floats | None) -> float:
    """The mean of values (n,). For few of them ``np.average`` takes four times as long."""
    return float(np.add.reduce(values) / len(values) if weight is None else np.average(values, weights=weight))


def mean_and_error(values: Floats, weight: Floats | None) -> tuple[float, float]:
    """Mean of values (n,), and its standard error, which is infinite for fewer than LEAST_FOR_ERROR samples."""
    n = len(values) if weight is None else _size(weight)
    with np.errstate(invalid="ignore"):  # for infinite values
        mean = average(values, weight)
        variance = average((values - mean) ** 2, weight)
    return mean, float(np.sqrt(variance / (n - 1))) if n > LEAST_FOR_ERROR else np.inf


def places_of_rows(x: Floats) -> tuple[Ints, int]:
    """The place of each row among the distinct rows of x (n, D), and their number. ``np.unique(x, axis=0)`` takes longer."""
    order = np.argsort(x[:, 0])
    first = x[order, 0]
    if (first[1:] != first[:-1]).all():  # the first column tells rows apart
        is_new = np.ones(len(x), bool)
    else:
        order = np.lexsort(x.T[::-1])
        ordered = x[order]
        is_new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    place = np.empty(len(x), int)
    place[order] = np.cumsum(is_new) - 1
    return place, int(is_new.sum())


def even_places(values: Floats, rng: np.random.Generator) -> Floats:
    """For each value (n,) a place in (0, 1), evenly spaced among equal values, in random order."""
    order = np.lexsort((rng.random(len(values)), values))
    _, first, counts = np.unique(values[order], return_index=True, return_counts=True)
    places = np.empty(len(values))
    places[order] = (np.arange(len(values)) - np.repeat(first, counts) + 0.5) / np.repeat(counts, counts)
    return places


def holds_values(x: Floats) -> bool:
    """Whether a single value has a large share of a column of x (n, D), so that mixtures put a component on it."""
    some = x[:: max(1, len(x) // MANY_ROWS)]
    least = max(LEAST_COPIES, LARGE_SHARE * len(some))
    return any(np.unique(column, return_counts=True)[1].max() >= least for column in some.T)


def values_stand_out(x: Floats, gap: float) -> bool:
    """Whether values of a rounded column x (n,) are more frequent than their neighbours, at multiples of a gap, let expect.

    Frequencies of values in one half of the column and the mean ones of neighbours compete for the other half.
    """
    place = np.rint((x.astype(np.float64) - x.min()) / gap)
    n_places = int(place.max()) + 1
    if n_places > MOST_PLACES * len(x):
        return False
    halves = [place[first::2].astype(np.intp) for first in (0, 1)]
    gains = []
    for known, others in (halves, halves[::-1]):
        share = np.bincount(known, minlength=n_places) / len(known)
        around = np.convolve(share, np.ones(2 * NEIGHBOURS + 1))[NEIGHBOURS:-NEIGHBOURS]
        smooth = (1 - UNIFORM) * (around - share) / (2 * NEIGHBOURS) + UNIFORM / n_places
        gains.append(np.log((share[others] + smooth[others]) / (2 * smooth[others])))
    gain, error = mean_and_error(np.concatenate(gains), None)
    return gain > max(LEAST_OF_STANDING_OUT, ERRORS_OF_STANDING_OUT * error)
