"""The categories of a fitted model: p(c, x) = p(c) p(x | c), for categories c and other columns x."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from nvpflow._typing import Floats, Ints
from nvpflow.supports._coding import Coding
from nvpflow.supports._combinations import Combinations
from nvpflow.supports._effects import Effects
from nvpflow.supports._indicators import Indicators
from nvpflow.supports._joint_table import JointTable

__all__ = ["Categories"]


class Categories:
    """Their values, their joint probability p(c), and what the flow of p(x | c) reads of them.

    Parameters
    ----------
    coding : Coding
    indicators : Indicators
        The last columns of the flow's context.
    effects : Effects
        The columns before them.
    table : JointTable
    """

    def __init__(self, coding: Coding, indicators: Indicators, effects: Effects, table: JointTable) -> None:
        self.coding, self.indicators, self.effects, self.table = coding, indicators, effects, table

    @classmethod
    def fit(
        cls, coding: Coding, codes: Ints, x: Floats, weight: Floats | None, dtype: Any, before: Categories | None = None
    ) -> tuple[Self, Floats | None]:
        """Fit to codes (n, K) and other columns x (n, R).

        Returns
        -------
        categories : Categories
            With the indicators and effects of `before`, if a flow reads these already, unless values that share an indicator
            have rows enough for their own.
        rows : ndarray or None
            The context that training reads.
        """
        known = Combinations.of(codes, weight, coding.sizes)
        table, counts = JointTable.fit(known), [known.margin(j) for j in range(len(coding.sizes))]
        if before is not None and not before.indicators.are_outgrown(counts):
            kept = cls(coding, before.indicators, before.effects, table)
            return kept, kept.rows(None, codes, dtype)
        indicators = Indicators.of(counts)
        effects, left_out = Effects.fit(codes, indicators.groups, x.astype(np.float64), weight)
        found = cls(coding, indicators, effects, table)
        return found, found._joined(left_out, codes, dtype)

    @property
    def width(self) -> int:
        """The number of columns of the flow's context that categories have."""
        return self.effects.width + self.indicators.width

    def updated(self, codes: Ints, weight: Floats | None) -> Categories:
        """These categories with more rows."""
        known = Combinations.of(codes, weight, self.coding.sizes)
        return Categories(self.coding, self.indicators, self.effects, self.table.updated(known))

    @property
    def blocks(self) -> tuple[int, ...]:
        """The number of indicators of each category that has some."""
        return tuple(block for block in self.indicators.blocks if block)

    def read(self, X: Any, missing: bool = False) -> tuple[Any, Ints]:
        """The other columns of X, not checked yet, and the codes (n, K). With `missing`, -1 stands for a missing cell."""
        return self.coding.read("X", X, missing)

    def log_prob(self, codes: Ints) -> Floats:
        """log p(c) of codes (n, K), in nats."""
        return self.table.log_prob(codes)

    def rows(self, context: Floats | None, codes: Ints, dtype: Any) -> Floats | None:
        """The context that the flow reads, effects and indicators, after a context (n, C). None where it reads nothing."""
        effects = self.effects.of_codes(codes)
        return self._joined(effects if context is None else np.concatenate([context, effects], axis=1), codes, dtype)

    def _joined(self, numbers: Floats, codes: Ints, dtype: Any) -> Floats | None:
        both = np.concatenate([numbers, self.indicators.of_codes(codes)], axis=1).astype(dtype)
        return both if both.shape[1] else None

    def columns(self, x: Floats, codes: Ints) -> list[Any]:
        """All columns of samples, in order: numbers from x (n, R), and lists of values."""
        columns: list[Any] = [None] * self.coding.n_columns
        for place, column in enumerate(self.coding.columns):
            columns[column] = self.coding.column(place, codes[:, place])
        for numbers, column in zip(x.T, self.coding.others):
            columns[column] = numbers
        return columns

    def array(self, x: Floats, codes: Ints) -> np.ndarray[Any, Any]:
        """Samples as one array (n, D): of numbers if the model was fitted to such an array, or else of objects."""
        columns = self.columns(x, codes)
        values = [value for of_column in self.coding.values for value in of_column]
        if not self.coding.is_object and all(isinstance(value, (int, float)) for value in values):
            if not x.shape[1] and all(isinstance(value, bool) for value in values):
                return np.stack([np.asarray(column, bool) for column in columns], axis=1)
            for dtype in (x.dtype, np.dtype(np.float64)):
                if np.asarray(values, dtype).tolist() == values:  # Python compares whole and real numbers exactly
                    return np.stack([np.asarray(column, dtype) for column in columns], axis=1)
        table = np.empty((len(codes), len(columns)), dtype=object)
        for place, column in enumerate(columns):
            table[:, place] = column.tolist() if isinstance(column, np.ndarray) else column
        return table
