"""The first pass over a source: it counts and checks the rows, and draws those to hold out and those to fit first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nvpflow._typing import Floats
from nvpflow.scale._checks import check_constant, check_finite, check_support
from nvpflow.scale._numbers import Hashes, hashes
from nvpflow.scale._progress import watched_rows

if TYPE_CHECKING:
    from nvpflow._training.settings import Settings
    from nvpflow.scale._group import Group
    from nvpflow.scale._source import RowSource
    from nvpflow.supports import Declared

__all__ = ["Drawn", "first_pass"]

# Rows that are held out at most, and numbers in them, and likewise in the sample: 100,000 rows tell differences of 0.001 nats.
MOST_HELD_OUT, MOST_NUMBERS = 100_000, 2**23
# Standard deviations of the number of hashes below a limit, which is thus seldom too few.
SAFE = 8.0


class Drawn(NamedTuple):
    """What the first pass finds, the same on every member.

    Attributes
    ----------
    n_rows : int
        Of all members.
    n_own : int
        Of this one.
    first : int
        The number of the first row of this member among all.
    sample, held_out : ndarray, shapes (n, D) and (m, D)
        Rows at random. The sample is all rows if they are few; then none are held out.
    last_held_out : int
        Rows whose hash is at most this are held out; -1: none are.
    """

    n_rows: int
    n_own: int
    first: int
    sample: Floats
    held_out: Floats
    last_held_out: int


def first_pass(
    settings: Settings, source: RowSource, group: Group, seed: int, n_sample: int, declared: Declared | None
) -> Drawn:
    """Read all rows once.

    Raises
    ------
    ValueError
        That names the first row and column whose value is not finite, or not in its support.
    """
    first, n_sample = _first_number(source, group), max(2, min(n_sample, MOST_NUMBERS // source.n_features))
    most_held_out = 0 if settings.validation_fraction is None else min(MOST_HELD_OUT, n_sample)
    kept = _Lowest(n_sample + most_held_out, source.n_features)
    low: list[Floats] = []
    high: list[Floats] = []
    with watched_rows("first pass", source.n_rows, settings.verbose) as show:
        for numbers, rows in source.numbered():
            check_finite(source, settings.dtype, numbers, rows)
            if declared is not None:
                check_support(declared, numbers, rows)
            kept.add(hashes(numbers + first, seed), rows)
            low, high = [*low, rows.min(axis=0)], [*high, rows.max(axis=0)]
            if len(low) > 100:
                low, high = [np.min(low, axis=0)], [np.max(high, axis=0)]
            show(len(rows))
    n_own = source.n_rows or 0
    n_rows = int(group.sum(np.array([n_own]))[0])
    if n_rows < 2:
        raise ValueError(f"X has {n_rows} sample(s) while a minimum of 2 is required.")
    nothing = np.full((1, source.n_features), np.inf)
    lowest = group.lowest(np.min([*nothing, *low], axis=0))
    highest = -group.lowest(np.min([*nothing, *(-one for one in high)], axis=0))
    check_constant(source, settings, lowest, highest)
    drawn, rows = _lowest_of_all(group, kept, n_rows)
    if n_rows <= n_sample:
        return Drawn(n_rows, n_own, first, rows, rows[:0], -1)
    fraction = settings.validation_fraction or 0.0
    n_held_out = min(most_held_out, round(fraction * n_rows))
    sample = rows[n_held_out : n_held_out + n_sample]
    return Drawn(n_rows, n_own, first, sample, rows[:n_held_out], int(drawn[n_held_out - 1]) if n_held_out else -1)


class _Lowest:
    """The rows of the lowest hashes so far, in the order of their hashes."""

    def __init__(self, n: int, n_features: int) -> None:
        self.n, self._limit = n, np.uint64(2**64 - 1)
        self._hashes: list[Hashes] = [np.empty(0, np.uint64)]
        self._rows: list[Floats] = [np.empty((0, n_features), np.float32)]
        self._n_held = 0

    def add(self, drawn: Hashes, rows: Floats) -> None:
        chosen = drawn <= self._limit
        self._hashes.append(drawn[chosen])
        self._rows.append(rows[chosen])
        self._n_held += len(self._hashes[-1])
        if self._n_held > 2 * self.n:
            self.sorted()

    def sorted(self) -> tuple[Hashes, Floats]:
        drawn = np.concatenate(self._hashes)
        order = np.argsort(drawn)[: self.n]
        drawn, rows = drawn[order], np.concatenate(self._rows)[order]
        self._hashes, self._rows, self._n_held = [drawn], [rows], len(drawn)
        if len(drawn) == self.n:
            self._limit = drawn[-1]
        return drawn, rows


def _lowest_of_all(group: Group, kept: _Lowest, n_rows: int) -> tuple[Hashes, Floats]:
    """The rows of the lowest hashes of all members. Each sends only those that are likely among them."""
    drawn, rows = kept.sorted()
    if group.size == 1:
        return drawn, rows
    wanted = min(kept.n, n_rows)
    share = (wanted + SAFE * np.sqrt(wanted)) / n_rows
    limits = [] if share >= 1 else [np.uint64(share * 2.0**64)]
    for limit in [*limits, np.uint64(2**64 - 1)]:
        n = int(np.searchsorted(drawn, limit, side="right"))
        if limit == 2**64 - 1 or int(group.sum(np.array([n]))[0]) >= wanted:
            break
    widest = np.float64 if group.any(rows.dtype == np.float64) else np.float32
    drawn, rows = group.gather_rows(drawn[:n, np.newaxis])[:, 0], group.gather_rows(rows[:n].astype(widest))
    order = np.argsort(drawn)[:wanted]
    return drawn[order], rows[order]


def _first_number(source: RowSource, group: Group) -> int:
    """How many rows the members before this one have, which may take a pass to count."""
    if group.size == 1:
        return 0
    if group.any(source.n_rows is None) and source.n_rows is None:
        for _ in source.batches():
            pass
    counts = group.gather_rows(np.array([[source.n_rows or 0]]))
    return int(counts[: group.rank].sum())
