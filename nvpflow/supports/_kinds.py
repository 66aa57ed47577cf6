"""The kinds of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Floats
from nvpflow._validation.arguments import check_bounds, check_choice, shown

__all__ = ["REALS", "Interval", "Kind", "check_kind"]


@dataclass(frozen=True)
class Interval:
    """Real numbers from `low` to `high`, either of which may be infinite.

    The flow reads a column of this kind less `origin`, its finite bound, so that it resolves values near that bound.
    """

    low: float = -np.inf
    high: float = np.inf

    is_whole: ClassVar[bool] = False

    @property
    def cells(self) -> tuple[float, float]:
        """The interval of real numbers that the flow models."""
        return self.low, self.high

    @property
    def origin(self) -> float:
        """The lower bound, or else the upper one, or 0."""
        return self.low if np.isfinite(self.low) else self.high if np.isfinite(self.high) else 0.0

    @property
    def is_free(self) -> bool:
        """Whether there is no bound."""
        return bool(np.isinf(self.low) and np.isinf(self.high))

    def holds(self, x: Floats) -> npt.NDArray[np.bool_]:
        """Which of the values are in the support."""
        return (x >= self.low) & (x <= self.high)

    def plain(self) -> object:
        """The kind in types that JSON has; `check_kind` undoes this."""
        return None if self.is_free else [float(end) if np.isfinite(end) else None for end in (self.low, self.high)]

    @property
    def shown(self) -> object:
        """The kind as a user would give it."""
        return None if self.is_free else tuple(float(end) if np.isfinite(end) else None for end in (self.low, self.high))

    def __str__(self) -> str:
        left, right = "(" if np.isinf(self.low) else "[", ")" if np.isinf(self.high) else "]"
        return f"{left}{self.low:.17g}, {self.high:.17g}{right}"


Kind: TypeAlias = Interval
REALS = Interval()
SHORT: dict[str, Kind] = {"real": REALS, "positive": Interval(0, np.inf), "unit": Interval(0, 1)}


def check_kind(name: str, value: object) -> Kind:
    """Convert what a user says of a column to its kind."""
    if value is None:
        return REALS
    if isinstance(value, Interval):
        return value
    if isinstance(value, str):
        return SHORT[check_choice(name, value, tuple(SHORT))]
    if isinstance(value, (tuple, list, np.ndarray)):
        return Interval(*check_bounds(name, value))
    raise TypeError(f"{name} must be a pair (low, high), None or one of {', '.join(map(repr, SHORT))}, got {shown(value)}")
