"""The kinds of columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Floats
from nvpflow._validation.arguments import check_bounds, check_choice, check_int, shown

__all__ = ["REALS", "Integer", "Interval", "Kind", "check_kind", "number"]

MOST = 2**53  # a float64 represents every whole number up to this


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
        """The lower bound of `cells`, or else the upper one, or 0."""
        return _origin(self.cells)

    @property
    def is_free(self) -> bool:
        """Whether `cells` has no bound."""
        return bool(np.isinf(self.cells).all())

    def holds(self, x: Floats) -> npt.NDArray[np.bool_]:
        """Which of the values are in the support."""
        return (x >= self.low) & (x <= self.high)

    def plain(self) -> object:
        """The kind in types that JSON has; `check_kind` undoes this."""
        return None if self.is_free else [_or_none(self.low), _or_none(self.high)]

    @property
    def shown(self) -> object:
        """The kind as a user would give it."""
        return None if self.is_free else (_or_none(self.low), _or_none(self.high))

    def __str__(self) -> str:
        left, right = "(" if np.isinf(self.low) else "[", ")" if np.isinf(self.high) else "]"
        return f"{left}{number(self.low)}, {number(self.high)}{right}"


@dataclass(frozen=True)
class Integer:
    """The support of a column of whole numbers, for `FlowDensity(support=...)`.

    The flow has a density of real numbers, and the probability of k is its share of the cell [k, k + 1). Training sees the
    numbers of a cell spread evenly over it (dequantisation).

    Parameters
    ----------
    low, high : int, optional
        The least and the largest number. Default: no bound.

    Raises
    ------
    TypeError, ValueError
        If a bound is not a whole number, is not below 2**53 in size, or if low > high.

    References
    ----------
    Theis, van den Oord and Bethge (2016), "A note on the evaluation of generative models", section 3.1.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).poisson(3, size=(500, 1))
    >>> model = nvpflow.FlowDensity(support=[nvpflow.Integer(0)], max_iter=20, random_state=0).fit(X)
    >>> round(float(np.exp(model.score_samples(np.arange(40)[:, None])).sum()), 2)
    1.0
    """

    low: int | None = None
    high: int | None = None

    is_whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            if getattr(self, name) is not None:
                bound = check_int(name, getattr(self, name), 1 - MOST, MOST - 2)
                object.__setattr__(self, name, bound)
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low must be at most high, got {self.low} and {self.high}")

    @property
    def cells(self) -> tuple[float, float]:
        """The interval of real numbers that the flow models."""
        return -np.inf if self.low is None else float(self.low), np.inf if self.high is None else float(self.high + 1)

    @property
    def origin(self) -> float:
        """The lower bound of `cells`, or else the upper one, or 0."""
        return _origin(self.cells)

    @property
    def is_free(self) -> bool:
        """Whether `cells` has no bound."""
        return self.low is None and self.high is None

    def holds(self, x: Floats) -> npt.NDArray[np.bool_]:
        """Which of the values are in the support."""
        low, high = self.cells
        held: npt.NDArray[np.bool_] = (x == np.floor(x)) & (x >= low) & (x < high) & (np.abs(x) < MOST)
        return held

    def plain(self) -> object:
        """The kind in types that JSON has; `check_kind` undoes this."""
        return {"integer": [self.low, self.high]}

    @property
    def shown(self) -> object:
        """The kind as a user would give it."""
        return self

    def __str__(self) -> str:
        ends = [f"from {self.low}"] * (self.low is not None) + [f"to {self.high}"] * (self.high is not None)
        return " ".join(["the whole numbers", *(ends or ["below 2**53 in size"])])


Kind: TypeAlias = Interval | Integer
REALS = Interval()
SHORT: dict[str, Kind] = {
    "real": REALS,
    "positive": Interval(0, np.inf),
    "unit": Interval(0, 1),
    "integer": Integer(),
}


def number(value: float) -> str:
    """The shortest text of a number that is read as the same number, for messages."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def _origin(cells: tuple[float, float]) -> float:
    return next((end for end in cells if np.isfinite(end)), 0.0)


def _or_none(bound: float) -> float | None:
    return float(bound) if np.isfinite(bound) else None


def check_kind(name: str, value: object) -> Kind:
    """Convert what a user says of a column, or what a file holds, to its kind."""
    if value is None:
        return REALS
    if isinstance(value, (Interval, Integer)):
        return value
    if isinstance(value, str):
        return SHORT[check_choice(name, value, tuple(SHORT))]
    if isinstance(value, dict) and list(value) == ["integer"]:
        return Integer(*_pair(name, value["integer"]))
    if isinstance(value, (tuple, list, np.ndarray)):
        return Interval(*check_bounds(name, value))
    raise TypeError(
        f"{name} must be a pair (low, high), an nvpflow.Integer, None or one of {', '.join(map(repr, SHORT))}, "
        f"got {shown(value)}"
    )


def _pair(name: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise TypeError(f"{name} must have two bounds, got {shown(value)}")
    return value[0], value[1]
