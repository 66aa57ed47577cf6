"""Columns of unordered values."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nvpflow._validation.arguments import shown

__all__ = ["Category", "is_missing", "listed", "plain_value", "plain_values", "restore_values"]

MOST_LISTED = 10  # values in a message
PLAIN = (str, bool, int, float)  # types of values that a file can hold


@dataclass(frozen=True)
class Category:
    """The support of a column of unordered values, for `FlowDensity(support=...)`.

    The values of all categories have a joint probability, and the other columns have a density given these values.

    Parameters
    ----------
    values : sequence of hashable objects, optional
        The values of the column, of any kind: strings, bools, numbers. Those that no training sample has get a small
        probability. Default: the values that `fit` sees.

    Raises
    ------
    TypeError
        If `values` is not a sequence, or a value is not hashable.
    ValueError
        If there are no values, a value is missing (None, NaN), or there is one twice.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> lengths = np.random.default_rng(0).normal(size=100)
    >>> rows = [[x, "red" if x > 0.5 else "blue"] for x in lengths]
    >>> support = {1: nvpflow.Category(["red", "blue", "green"])}
    >>> model = nvpflow.FlowDensity(support=support, max_iter=20, random_state=0).fit(rows)
    >>> model.score_samples([[0.2, "red"], [0.2, "green"]]).shape
    (2,)
    """

    values: Sequence[Any] | None = None

    is_whole: ClassVar[bool] = False
    turn: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if self.values is None:
            return
        if isinstance(self.values, (str, bytes)) or not (
            isinstance(self.values, (Sequence, np.ndarray)) or hasattr(self.values, "to_list")
        ):
            raise TypeError(f"values must be a sequence of the values of the column, or None, got {shown(self.values)}")
        values = tuple(plain_value(value) for value in list(self.values))
        for value in values:
            if is_missing(value):
                raise ValueError(f"values must not be missing, got {shown(value)}")
            if not isinstance(value, Hashable):
                raise TypeError(f"values must be hashable, got {shown(value)}")
        if not values:
            raise ValueError("values must have at least one value, got none")
        if len(set(values)) < len(values):
            twice = next(value for i, value in enumerate(values) if value in values[:i])
            raise ValueError(f"values must be different from each other, got {shown(twice)} twice")
        object.__setattr__(self, "values", values)

    def _plain(self) -> object:
        """The kind in types that JSON has; `check_kind` undoes this."""
        return {"category": None if self.values is None else plain_values("values", self.values)}

    @property
    def shown(self) -> object:
        """The kind as a user would give it."""
        return self

    def __str__(self) -> str:
        return "categories" if self.values is None else f"the categories {listed(self.values)}"


def is_missing(value: object) -> bool:
    """Whether a value is None, NaN, NaT or the NA of pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def plain_value(value: Any) -> Any:
    """A scalar of NumPy as a plain Python object; other values as they are."""
    return value.item() if isinstance(value, np.generic) and value.dtype.kind in "biufUS" else value


def listed(values: Sequence[Any]) -> str:
    """Some of the values, for messages."""
    return ", ".join(f"{value!r:.50}" for value in values[:MOST_LISTED]) + ", ..." * (len(values) > MOST_LISTED)


def plain_values(name: str, values: Sequence[Any]) -> list[Any]:
    """Values as types that JSON has."""
    for value in values:
        if type(value) not in PLAIN or (isinstance(value, float) and not math.isfinite(value)):
            raise TypeError(
                f"{name} must be texts, bools or finite numbers to be saved to a file, got {shown(value)} of type "
                f"{type(value).__name__}"
            )
    return list(values)


def restore_values(name: str, values: object) -> tuple[Any, ...]:
    """Undo `plain_values`, for what a file holds."""
    if not isinstance(values, list) or not all(type(value) in PLAIN for value in values):
        raise TypeError(f"{name} must be a list of texts, bools and numbers, got {shown(values)}")
    if len(set(values)) < len(values):
        raise ValueError(f"{name} must be different from each other, got {shown(values)}")
    return tuple(values)
