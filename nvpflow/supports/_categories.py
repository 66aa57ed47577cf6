"""The categories of a fitted model: p(c, x) = p(c) p(x | c), for categories c and other columns x."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from nvpflow._typing import Floats, Ints
from nvpflow.supports._coding import Coding
from nvpflow.supports._combinations import Combinations
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
    table : JointTable
    """

    def __init__(self, coding: Coding, indicators: Indicators, table: JointTable) -> None:
        self.coding, self.indicators, self.table = coding, indicators, table

    @classmethod
    def fit(cls, coding: Coding, codes: Ints, weight: Floats | None, before: Categories | None = None) -> Self:
        """Fit the probabilities to codes (n, K). The indicators are those of `before`, if the flow has them already."""
        known = Combinations.of(codes, weight, coding.sizes)
        counts = [known.margin(j) for j in range(len(coding.sizes))]
        return cls(coding, before.indicators if before else Indicators.of(counts), JointTable.fit(known))

    def updated(self, codes: Ints, weight: Floats | None) -> Categories:
        """These categories with more rows."""
        known = Combinations.of(codes, weight, self.coding.sizes)
        return Categories(self.coding, self.indicators, self.table.updated(known))

    @property
    def blocks(self) -> tuple[int, ...]:
        """The number of indicators of each category that has some."""
        return tuple(block for block in self.indicators.blocks if block)

    def read(self, X: Any) -> tuple[Any, Ints]:
        """The other columns of X, not checked yet, and the codes (n, K)."""
        return self.coding.read("X", X)

    def log_prob(self, codes: Ints) -> Floats:
        """log p(c) of codes (n, K), in nats."""
        return self.table.log_prob(codes)

    def rows(self, context: Floats | None, codes: Ints, dtype: Any) -> Floats | None:
        """The context that the flow reads: the indicators after a context (n, C). None where it reads nothing."""
        indicators = self.indicators.of_codes(codes).astype(dtype)
        both = indicators if context is None else np.concatenate([context, indicators], axis=1)
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
            dtype = x.dtype if np.array_equal(np.asarray(values, x.dtype), values) else np.float64
            return np.stack([np.asarray(column, dtype) for column in columns], axis=1)
        table = np.empty((len(codes), len(columns)), dtype=object)
        for place, column in enumerate(columns):
            table[:, place] = column.tolist() if isinstance(column, np.ndarray) else column
        return table
