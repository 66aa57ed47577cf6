"""The split into training and held-out samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nvpflow._training.copies import copies_of, shuffled_groups
from nvpflow._training.propensity import inverse_propensity
from nvpflow._typing import Bools, Floats, Ints

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
    from nvpflow._training.settings import Settings

__all__ = ["lone_values", "split", "split_for_members"]


# Of the rows without missing cells, the share that is held out at most. The others must train as well: they say most.
MOST_OF_COMPLETE = 0.5
LARGE_GROUP = 0.01  # the share of the rows from which a group, or a row with its copies, is not on both sides even in part
FEW = 1000  # rows, which tell of most columns that they are not constant


def split(settings: Settings, data: Data, seed: int, incomplete: Bools | None = None) -> tuple[Data, Data | None]:
    """Split data into training data, and validation data or None.

    Copies of a row, and groups, stay together, and a row stays in training if a column would be constant without it. Rows of
    `incomplete` (n,), whose missing cells were drawn from a model, are held out last: they would flatter models like that one.
    Weights make up for it in training: where cells are missing may depend on those that are known.
    """
    return split_for_members(settings, data, seed, 1, incomplete)[0]


def split_for_members(
    settings: Settings, data: Data, seed: int, n_models: int, incomplete: Bools | None = None
) -> list[tuple[Data, Data | None]]:
    """Split data for each member of an ensemble.

    The held-out shares follow one another in a random order of the rows, and begin again at its end. So they are disjoint if
    they fit into it side by side; otherwise all rows are held out equally often, give or take one.
    """
    if settings.validation_fraction is None:
        return [(data, None)] * n_models
    n = len(data.x)
    n_held_out = _count_held_out(settings.validation_fraction, n, n_models)
    rng, row = np.random.default_rng(seed), copies_of(data)
    order = rng.permutation(n) if row is None else np.argsort(shuffled_groups(row, rng), kind="stable")
    if incomplete is not None:
        complete = np.flatnonzero(~incomplete[order])
        first = order[complete[: int(MOST_OF_COMPLETE * len(complete))]]
        order = np.concatenate([first, order[~np.isin(order, first)]])
    shifted = (np.roll(order, -k * n_held_out) for k in range(n_models))
    parts = [(member[:n_held_out], member[n_held_out:]) for member in shifted]
    if incomplete is not None:  # the first rows of many stand for all of them, and would be complete ones
        parts = [(held_out, rng.permutation(training)) for held_out, training in parts]
    if row is not None and np.bincount(row).max() >= LARGE_GROUP * n:
        parts = [_with_whole_groups(held_out, training, row) for held_out, training in parts]
    return [_split_at(data, held_out, training, incomplete) for held_out, training in parts]


def _count_held_out(fraction: float, n: int, n_models: int) -> int:
    """The number of rows to hold out. An ensemble has a row less where rounding alone would make the shares overlap, or
    leave rows that no member trains on."""
    n_held_out = min(max(1, round(fraction * n)), n - 1)
    if n_models == 1:
        return n_held_out
    if fraction * n_models <= 1:
        return max(1, min(n_held_out, n // n_models))
    if fraction * n_models <= n_models - 1:
        return max(1, min(n_held_out, (n_models - 1) * n // n_models))
    return n_held_out


def _with_whole_groups(held_out: Ints, training: Ints, row: Ints) -> tuple[Ints, Ints]:
    """Move each group, by its number `row` (n,), to the side that has more of it.

    If that leaves no group to hold out, it is the one whose size is nearest to the number of rows that were held out.
    """
    counts, inside = np.bincount(row), np.bincount(row[held_out], minlength=row.max() + 1)
    moves_in = 2 * inside > counts
    if not moves_in.any():
        moves_in[np.argmin(np.abs(counts - len(held_out)))] = True
    order = np.append(held_out, training)
    is_held_out = moves_in[row[order]]
    return order[is_held_out], order[~is_held_out]


def _split_at(data: Data, held_out: Ints, training: Ints, incomplete: Bools | None) -> tuple[Data, Data | None]:
    needed = lone_values(data.x, training, held_out)
    held_out, training = held_out[~np.isin(held_out, needed)], np.append(training, needed)
    if incomplete is None:
        return data.rows(training), data.rows(held_out) if len(held_out) else None
    return _balanced(data, training, incomplete), _for_all(data, held_out, incomplete) if len(held_out) else None


def _balanced(data: Data, training: Ints, incomplete: Bools) -> Data:
    """The rows `training`, with weights by which complete and incomplete ones count as much as they do in all rows.

    Without them, of 3000 rows with a column that was missing in nine of ten where another one was positive, a flow said
    that this one was positive with a probability of 0.61 instead of 0.50.
    """
    rows, weight = data.rows(training), np.ones(len(data.x)) if data.weight is None else data.weight
    times = np.ones(len(data.x))
    for group in (incomplete, ~incomplete):
        kept = weight[training][group[training]].sum()
        times[group] = weight[group].sum() / kept if kept > 0 else 1.0
    if np.ptp(times[training]) == 0:
        return rows
    balanced = (weight * times)[training]
    return rows._replace(weight=balanced / balanced.mean(), with_others=rows.weight)


def _for_all(data: Data, held_out: Ints, incomplete: Bools) -> Data:
    """The rows `held_out`. If all are complete, they have weights by which they stand for all rows."""
    rows = data.rows(held_out)
    times = None if incomplete[held_out].any() else inverse_propensity(data.x, incomplete, data.weight)
    if times is None:
        return rows
    weight = times[held_out] * (1 if rows.weight is None else rows.weight)
    return rows._replace(for_all=weight / weight.mean())


def lone_values(x: Floats, training: Ints, held_out: Ints) -> Ints:
    """One of the rows `held_out` for each column that would be constant in training without it, but for missing cells."""
    low, constant = _lowest_of_constant(x[training[:FEW]])
    low[constant], constant[constant] = _lowest_of_constant(x[np.ix_(training, constant)])
    differs = (x[held_out][:, constant] != low[constant]) & ~np.isnan(x[held_out][:, constant])
    return np.unique(held_out[differs.argmax(axis=0)[differs.any(axis=0)]])


def _lowest_of_constant(x: Floats) -> tuple[Floats, Bools]:
    """The smallest number of each column of x (n, D), NaN if there is none, and whether all others are the same."""
    low = np.fmin.reduce(x, axis=0)
    return low, ~(low < np.fmax.reduce(x, axis=0))
