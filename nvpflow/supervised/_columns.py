"""The columns of X as one table of numbers, with codes in place of categories, that densities of its parts agree on."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from nvpflow._training.dataset import Data, check_data, check_numbers
from nvpflow._training.prepare import read_table
from nvpflow._training.settings import Settings
from nvpflow._typing import ArrayLike, Bools, FloatDType, Floats, Ints, Names
from nvpflow.missing._rows import rows_with_values
from nvpflow.supports import AnyKind, Category, Declared
from nvpflow.supports._coding import Coding
from nvpflow.supports._kinds import REALS
from nvpflow.supports._tables import count_columns

__all__ = ["Columns"]


class Columns(NamedTuple):
    """What is known of the columns of X.

    A density that is fitted to some of the rows must know the categories of all, and cannot have a column without a spread.

    Attributes
    ----------
    kinds : tuple of AnyKind, D entries
        Categories have their values.
    labels : tuple of str
        How messages name the columns.
    is_kept : ndarray of bool, shape (D,)
        False for columns of numbers that are constant: they tell nothing.
    """

    kinds: tuple[AnyKind, ...]
    labels: tuple[str, ...]
    is_kept: Bools

    @classmethod
    def fit(
        cls, settings: Settings, X: ArrayLike, names: Names | None, sample_weight: ArrayLike | None, codes_of_y: Ints
    ) -> tuple[Self, Data]:
        """The columns, and the data: x (m, K) are the columns that are kept, and context (m, 1) the codes of y.

        The rows are those of `check_data`: sorted, and as many as whole weights say.
        """
        declared, missing = Declared.of(settings.support, names, X), settings.missing == "marginalize"
        numbers, codes, coding = read_table(X, declared, None, missing)
        n_columns = coding.n_columns if coding is not None else count_columns("X", numbers) if declared else 0
        kinds = declared.of_all(n_columns) if declared is not None else ()
        _check_length(numbers if codes is None else codes, len(codes_of_y))
        rows: Any = codes_of_y[:, np.newaxis].astype(np.float64)
        if missing:
            numbers, codes, (rows, sample_weight) = rows_with_values(
                numbers, settings.dtype, codes, context=rows, sample_weight=sample_weight
            )
        of_numbers = declared.of_numbers(n_columns) if declared is not None and coding is not None else declared
        data = check_data(numbers, rows, sample_weight, settings.dtype, 2, of_numbers, codes, missing)
        kinds = kinds or (REALS,) * data.x.shape[1]
        if coding is not None:
            values = dict(zip(coding.columns, coding.values))
            kinds = tuple(Category(values[i]) if i in values else kind for i, kind in enumerate(kinds))
        labels = tuple(str(i) if declared is None else declared.label(i) for i in range(len(kinds)))
        columns = cls(kinds, labels, np.ones(len(kinds), bool))
        assert data.context is not None
        table = columns._together(data.x, data.context[:, 1:])
        is_number = np.isin(np.arange(len(kinds)), columns._categories, invert=True)
        is_kept = ~is_number | (np.nanmin(table, axis=0) < np.nanmax(table, axis=0))
        if not is_kept.any():
            raise ValueError("X must have a column that is not constant, got none")
        return columns._replace(is_kept=is_kept), Data(table[:, is_kept], data.context[:, :1], data.weight)

    def read(self, X: ArrayLike, dtype: FloatDType, who: str, missing: bool) -> Floats:
        """Check X, which has the columns of `fit`, and convert it to the table (n, K) of the columns that are kept."""
        n_columns = len(self.kinds)
        if self._categories:
            numbers, codes = self._coding.read("X", X, missing)
            numbers = check_numbers("X", numbers, dtype, missing=missing) if numbers.shape[1] else np.empty((len(codes), 0))
        else:
            numbers = check_numbers("X", X, dtype, missing=missing)
            codes = np.empty((len(numbers), 0), dtype=np.intp)
        if numbers.shape[1] + codes.shape[1] != n_columns:
            raise ValueError(f"X has {numbers.shape[1]} features, but {who} is expecting {n_columns} features as input")
        return self._together(numbers, codes)[:, self.is_kept]

    @property
    def kept_kinds(self) -> tuple[AnyKind, ...]:
        """The kinds of the columns that are kept, of which categories are codes."""
        kinds = [kind for kind, kept in zip(self.kinds, self.is_kept) if kept]
        return tuple(Category(range(len(kind.values or ()))) if isinstance(kind, Category) else kind for kind in kinds)

    @property
    def is_linear(self) -> Bools:
        """Which of the kept columns are numbers on a line: no categories and no angles."""
        return np.array([not isinstance(kind, Category) and not kind.turn for kind in self.kept_kinds])

    @property
    def _categories(self) -> tuple[int, ...]:
        return tuple(i for i, kind in enumerate(self.kinds) if isinstance(kind, Category))

    @property
    def _coding(self) -> Coding:
        kinds = [self.kinds[i] for i in self._categories]
        values = tuple(tuple(kind.values or ()) for kind in kinds if isinstance(kind, Category))
        labels = tuple(self.labels[i] for i in self._categories)
        return Coding(self._categories, labels, values, len(self.kinds), True)

    def _together(self, numbers: Floats, codes: Any) -> Floats:
        """One table of numbers and codes, where -1 is a missing one, in the order of the columns."""
        if not self._categories:
            return numbers
        others = [i for i in range(len(self.kinds)) if i not in self._categories]
        table = np.empty((len(codes), len(self.kinds)), dtype=np.float64)
        table[:, others] = numbers
        table[:, list(self._categories)] = np.where(np.asarray(codes) < 0, np.nan, codes)
        return table


def _check_length(rows: Any, n: int) -> None:
    """Raise a ValueError if a table does not have n rows. One whose length is not known is left for later checks."""
    shape = getattr(rows, "shape", None)
    length = shape[0] if shape else len(rows) if hasattr(rows, "__len__") and shape is None else n
    if length != n:
        raise ValueError(f"y must have one entry for each of {length} rows of X, got {n}")
