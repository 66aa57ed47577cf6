"""Contexts with categories and angles, as the numbers that a flow reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from nvpflow._typing import FloatDType, Floats, Ints, Names
from nvpflow._validation.arguments import FLOAT64, shown
from nvpflow._validation.arrays import Labelled
from nvpflow._warnings import warn_user
from nvpflow.supports._category import Category
from nvpflow.supports._coding import Coding
from nvpflow.supports._indicators import LEAST_ROWS, Indicators, is_shared
from nvpflow.supports._kinds import Angle
from nvpflow.supports._parameter import Declared
from nvpflow.supports._tables import take_apart
from nvpflow.supports._turns import warn_of_many_turns

# Of a column: no means of targets stand for rare values. With 32, targets given one of 100 values lost two thirds of what the
# value says of them.
MOST_INDICATORS = 256
LARGE_SHARE = 0.2  # of the rows whose values share an indicator, to be told

__all__ = ["ContextEncoding", "as_rows", "count_rows"]


class ContextEncoding:
    """How the columns of a context become numbers.

    An angle becomes its cosine and its sine, in the place of its column; numbers stay as they are. Categories become
    indicators, after all other columns.

    Parameters
    ----------
    angles : tuple of Angle or None
        For each column that is no category.
    coding : Coding
    indicators : Indicators
    """

    def __init__(self, angles: tuple[Angle | None, ...], coding: Coding, indicators: Indicators) -> None:
        self.angles, self.coding, self.indicators = angles, coding, indicators

    @classmethod
    def fit(cls, declared: Declared, context: Any, n_columns: int) -> Self:
        """Learn the encoding of a context whose columns have these kinds."""
        from nvpflow._training.dataset import check_numbers

        kinds = declared.of_all(n_columns)
        labels = [declared.label(i) for i in range(n_columns)]
        parts = take_apart("context", context, [i for i, kind in enumerate(kinds) if isinstance(kind, Category)])
        coding = Coding.of("context", parts, kinds, labels)
        counts = _counts(coding, coding.codes("context", parts))
        angles = tuple(kind if isinstance(kind, Angle) else None for kind in (kinds[i] for i in coding.others))
        if angles:
            numbers = check_numbers("context", parts.numbers, FLOAT64)
            warn_of_many_turns("context", numbers, angles, [labels[i] for i in coding.others])
        indicators = Indicators.of(counts, MOST_INDICATORS)
        for label, count, group in zip((labels[i] for i in coding.columns), counts, indicators.groups):
            _warn_of_shared(label, count, group)
        encoding = cls(angles, coding, indicators)
        if not encoding.width:
            raise ValueError(
                f"context must tell rows apart, got column(s) {', '.join(labels)} in which all rows have one value, or not "
                f"two values have {LEAST_ROWS:.0f} rows: leave such columns out, or merge values"
            )
        return encoding

    def grown(self, context: Any) -> ContextEncoding:
        """This encoding, or a new one if values that share an indicator have rows enough for their own in a context (n, C)."""
        counts = _counts(self.coding, self.coding.read("context", context)[1])
        if not self.indicators.are_outgrown(counts, MOST_INDICATORS):
            return self
        return ContextEncoding(self.angles, self.coding, Indicators.of(counts, MOST_INDICATORS))

    @property
    def n_columns(self) -> int:
        """The number of columns of a context."""
        return self.coding.n_columns

    @property
    def width(self) -> int:
        """The number of columns that the flow reads."""
        return len(self.angles) + sum(angle is not None for angle in self.angles) + self.indicators.width

    @property
    def blocks(self) -> tuple[int, ...]:
        """The number of indicators of each category that has some."""
        return tuple(block for block in self.indicators.blocks if block)

    def read(self, context: Any, dtype: FloatDType) -> Floats:
        """The numbers (n, width) of a context (n, C)."""
        from nvpflow._training.dataset import check_numbers

        others, codes = self.coding.read("context", context)
        parts: list[Floats] = []
        if self.angles:
            numbers = check_numbers("context", others, dtype, minimum=0)
            for column, angle in zip(numbers.T, self.angles):
                parts += [column[:, np.newaxis]] if angle is None else [_cosine_and_sine(column, angle)]
        return np.concatenate([*parts, self.indicators.of_codes(codes)], axis=1)

    @property
    def sources(self) -> list[int]:
        """The column of the context that each number comes from."""
        sources: list[int] = []
        for column, angle in zip(self.coding.others, self.angles):
            sources += [column] * (1 if angle is None else 2)
        for column, block in zip(self.coding.columns, self.indicators.blocks):
            sources += [column] * block
        return sources


def _counts(coding: Coding, codes: Ints) -> list[Floats]:
    """How many rows of codes (n, K) have each value."""
    return [np.bincount(column, minlength=size).astype(np.float64) for column, size in zip(codes.T, coding.sizes)]


def _warn_of_shared(label: str, counts: Floats, group: Ints) -> None:
    """Warn of a column where many rows (V,) have values of one group (V,), which look the same to the flow."""
    shared = np.flatnonzero(is_shared(group))
    share = counts[shared].sum() / counts.sum()
    if share > LARGE_SHARE:
        warn_user(
            f"column {label} of context: {len(shared)} of {len(counts)} categories, those of {share:.0%} of the rows, look "
            f"the same to the flow, since only the {MOST_INDICATORS} most frequent ones with {LEAST_ROWS:.0f} rows or more "
            "have an indicator of their own: merge similar ones, or replace them by numbers, such as means of the target"
        )


def _cosine_and_sine(x: Floats, angle: Angle) -> Floats:
    radians = 2 * np.pi * (x.astype(np.float64) - angle.low) / angle.turn
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def as_rows(context: Any, names: Names | None, n_columns: int) -> Any:
    """A context as a table: a dict of values by the names of its columns becomes a row, and a flat sequence as well."""
    if isinstance(context, Mapping):
        if names is None:
            raise ValueError("context must be an array: the model was fitted to a context without names of columns")
        if set(context) != set(names):
            raise ValueError(f"context must have the columns {', '.join(map(repr, names[:20]))}, got {shown(list(context))}")
        columns = [context[name] for name in names]
        size = max((len(column) for column in columns if _is_column(column)), default=1)
        cells = [list(column) if _is_column(column) else [column] * size for column in columns]
        if any(len(column) != size for column in cells):
            raise ValueError(f"context must have columns of one length, got {[len(column) for column in cells]}")
        table = np.empty((size, len(cells)), dtype=object)
        for place, column in enumerate(cells):
            table[:, place] = column
        return Labelled.of(table, names)
    if isinstance(context, (list, tuple)) and len(context) == n_columns and not any(map(_is_column, context)):
        return [list(context)]
    if isinstance(context, np.ndarray) and context.shape == (n_columns,):
        return context[np.newaxis]
    return context


def count_rows(context: Any, names: Names | None, n_columns: int) -> int:
    """The number of rows of a context."""
    rows = as_rows(context, names, n_columns)
    return 1 if np.shape(rows) == (n_columns,) else len(rows)


def _is_column(value: object) -> bool:
    return isinstance(value, (list, tuple, np.ndarray)) or hasattr(value, "to_list")
