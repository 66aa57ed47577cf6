"""Rows that are copies of others, as weights of whole numbers and bootstrap samples make them.

They are held out together. If copies were on both sides, the narrowest peaks at the training rows would be the best for the
held-out ones: with weights of 1 to 3 a normal distribution in five columns lost 3 nats, now 0.01.
"""

from __future__ import annotations

import numpy as np

from nvpflow._training.dataset import FEWEST_DISTINCT, Data
from nvpflow._training.statistics import places_of_rows
from nvpflow._typing import Floats, Ints

__all__ = ["copies_of", "distinct_rows", "shuffled_groups", "with_copies", "without_copies"]

# The share of rows that must repeat others, and that of distinct rows whose values in a column may repeat others by chance.
LEAST_COPIES, REPEATED = 0.1, 0.1
# Where no column alone tells: the share of rows equal in all columns but one that must be equal in that one, the share of
# equal rows that chance may make, and the number of columns from which this tells.
MOSTLY, MOST_BY_CHANCE, FEWEST_TOGETHER = 0.9, 1e-3, 3
MOST_ROWS = 20_000  # that tell; where so many of more rows are distinct, no component follows a few of them


def copies_of(data: Data) -> Ints | None:
    """The number of the distinct row that each row (n,) equals, or None if rows are no copies.

    Those that weights have made are known. Of others, equal rows are copies if a column tells that: its values hardly repeat
    among distinct rows. In tables of rounded columns alone equal rows are different cases, and a single column that varies
    cannot tell.
    """
    if data.copy_of is not None:
        return np.unique(data.copy_of, return_inverse=True)[1]
    x = data.x if data.context is None else np.hstack([data.context, data.x])
    if x.shape[1] < 2:
        return None
    some = x if len(x) <= MOST_ROWS else x[np.unique(np.random.default_rng(0).integers(0, len(x), MOST_ROWS))]
    row, n_distinct = places_of_rows(some)
    if distinct_rows(some, row, n_distinct) is some:
        return None
    return row if len(some) == len(x) else places_of_rows(x)[0]


def with_copies(data: Data) -> Data:
    """The same data, which know their copies also after the columns have changed. Copies are numbered in the order of values:
    those that weights have made get the numbers of the same rows if these were repeated."""
    if data.copy_of is None:
        return data._replace(copy_of=copies_of(data))
    place = places_of_rows(data.x if data.context is None else np.hstack([data.context, data.x]))[0]
    first = np.full(data.copy_of.max() + 1, len(place))
    np.minimum.at(first, data.copy_of, place)
    rank = np.empty(len(first), int)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return data._replace(copy_of=rank[data.copy_of])


def distinct_rows(x: Floats, row: Ints, n_distinct: int) -> Floats:
    """One of each row of x (n, D) if rows are copies; otherwise x itself. `row`, `n_distinct`: see `places_of_rows`."""
    if (x != x[:1]).any(axis=0).sum() < 2 or not FEWEST_DISTINCT <= n_distinct <= (1 - LEAST_COPIES) * len(x):
        return x
    one = x[np.unique(row, return_index=True)[1]]
    return one if _tells_alone(one) or _tell_together(x, one, row) else x


def _tells_alone(one: Floats) -> bool:
    """Whether the values of a column hardly repeat among distinct rows (m, D)."""
    return any(len(np.unique(column)) > (1 - REPEATED) * len(one) for column in one.T)


def _tell_together(x: Floats, one: Floats, row: Ints) -> bool:
    """Whether rows of x (n, D) that are equal in all columns but one are equal in that one, too, and are far more than
    independent columns would make of the distinct ones (m, D)."""
    columns = np.flatnonzero((x != x[:1]).any(axis=0))
    equal, all_pairs = _pairs(row), len(one) * (len(one) - 1) / 2
    shares = [_pairs(np.unique(one[:, i], return_inverse=True)[1]) / all_pairs for i in columns]
    by_chance = len(x) ** 2 / 2 * np.prod(shares)
    if len(columns) < FEWEST_TOGETHER or by_chance > MOST_BY_CHANCE * equal:
        return False
    return all(equal > MOSTLY * _pairs(places_of_rows(np.delete(x, i, axis=1))[0]) for i in columns)


def _pairs(places: Ints) -> float:
    """The number of pairs in one place."""
    times = np.bincount(places).astype(np.float64)
    pairs: float = (times * (times - 1) / 2).sum()
    return pairs


def without_copies(data: Data) -> Floats:
    """The samples, one of each row that is known to have copies. Rows of a group have the same `copy_of`, too, but differ."""
    if data.copy_of is None:
        return data.x
    place, _ = places_of_rows(np.column_stack([data.copy_of, data.x]))
    return data.x[np.unique(place, return_index=True)[1]]


def shuffled_groups(row: Ints, rng: np.random.Generator) -> Ints:
    """Random numbers (n,) of the rows, from 0 on, the same for copies."""
    numbers: Ints = rng.permutation(row.max() + 1)[row]
    return numbers
