"""The kinds of columns."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from nvpflow._training.origin import are_coarse
from nvpflow._training.statistics import moments
from nvpflow._typing import FloatDType, Floats
from nvpflow._validation.arguments import check_bounds, check_choice, check_int, check_real, shown
from nvpflow.supports._category import Category, restore_values

__all__ = [
    "MOST",
    "REALS",
    "Angle",
    "AnyKind",
    "Integer",
    "Interval",
    "Kind",
    "check_kind",
    "first_end",
    "number",
    "on_bounds",
]

MOST = 2**53  # a float64 represents every whole number up to this


class _Numbers:
    """What columns of real numbers, of whole numbers and of angles have in common."""

    is_distant = False  # whether the bounds are too far from the samples to be seen, see `_is_far_from`

    @property
    def limits(self) -> tuple[float, float]:
        """The interval of real numbers that has the cells of all values."""
        raise NotImplementedError

    @property
    def cells(self) -> tuple[float, float]:
        """The interval of real numbers that the flow models: `limits`, unless these are distant."""
        return (-np.inf, np.inf) if self.is_distant else self.limits

    @property
    def origin(self) -> float:
        """The lower bound of `cells`, or else the upper one, or 0: the flow reads a column less it, and resolves values near
        the bound."""
        return first_end(self.cells)

    @property
    def is_free(self) -> bool:
        """Whether `cells` has no bound."""
        return bool(np.isinf(self.cells).all())

    def _placed(self, x: Floats, weight: Floats | None, dtype: FloatDType) -> Self:
        """This kind, for a flow of this dtype that is fitted to samples x (n,)."""
        return self._distant() if self._is_far_from(x, weight, dtype) else self

    def _is_far_from(self, x: Floats, weight: Floats | None, dtype: FloatDType) -> bool:
        """Whether the dtype hardly resolves the distance of samples x (n,) from each bound.

        Such bounds are distant: a flow that models numbers without bounds has no mass beyond them, and reads the numbers less
        their mean.
        """
        ends = [end for end in self.limits if np.isfinite(end)]
        if not ends or len(x) == 0:
            return False
        mean, deviation = moments(x[:, np.newaxis].astype(np.float64) - ends[0], weight)
        are_far = are_coarse(mean - (np.array(ends) - ends[0]), deviation, dtype)
        return bool(deviation[0] > 0 and are_far.all())

    def _distant(self) -> Self:
        twin = copy.copy(self)
        object.__setattr__(twin, "is_distant", True)
        return twin

    def _marked(self, plain: object) -> object:
        """What `_plain` returns: for distant bounds in a dict."""
        return {"distant": plain} if self.is_distant else plain


@dataclass(frozen=True)
class Interval(_Numbers):
    """Real numbers from `low` to `high`, either of which may be infinite."""

    low: float = -np.inf
    high: float = np.inf

    is_whole: ClassVar[bool] = False
    turn: ClassVar[float] = 0.0

    @property
    def limits(self) -> tuple[float, float]:
        """The interval."""
        return self.low, self.high

    def _holds(self, x: Floats) -> npt.NDArray[np.bool_]:
        """Which of the values are in the support."""
        return (x >= self.low) & (x <= self.high)

    def _plain(self) -> object:
        """The kind in types that JSON has; `check_kind` undoes this."""
        return None if self == REALS else self._marked([_or_none(self.low), _or_none(self.high)])

    @property
    def shown(self) -> object:
        """The kind as a user would give it."""
        return None if self == REALS else (_or_none(self.low), _or_none(self.high))

    def __str__(self) -> str:
        left, right = "(" if np.isinf(self.low) else "[", ")" if np.isinf(self.high) else "]"
        return f"{left}{number(self.low)}, {number(self.high)}{right}"


@dataclass(frozen=True)
class Integer(_Numbers):
    """The support of a column of whole numbers, for `FlowDensity(support=...)`.

    The flow has a density of real numbers, and the probability of k is its share of the cell [k, k + 1). Training sees the
    numbers of a cell spread over it (dequantisation), such that the density of the column has no steps between cells.

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
    turn: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            if getattr(self, name) is not None:
                bound = check_int(name, getattr(self, name), 1 - MOST, MOST - 2)
                object.__setattr__(self, name, bound)
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low must be at most high, got {self.low} and {self.high}")

    @property
    def limits(self) -> tuple[float, float]:
        """The interval of real numbers that has the cells of all values."""
        return -np.inf if self.low is None else float(self.low), np.inf if self.high is None else float(self.high + 1)

    def _holds(self, x: Floats) -> npt.NDArray[np.bool_]:
        """Which of the values are in the support."""
        low, high = self.limits
        held: npt.NDArray[np.bool_] = (x == np.floor(x)) & (x >= low) & (x < high) & (np.abs(x) < MOST)
        return held

    def _plain(self) -> object:
        """The kind in types that JSON has; `check_kind` undoes this."""
        return self._marked({"integer": [self.low, self.high]})

    @property
    def shown(self) -> object:
        """The kind as a user would give it."""
        return self

    def __str__(self) -> str:
        ends = [f"from {self.low}"] * (self.low is not None) + [f"to {self.high}"] * (self.high is not None)
        return " ".join(["the whole numbers", *(ends or ["below 2**53 in size"])])


@dataclass(frozen=True)
class Angle(_Numbers):
    """The support of a periodic column, for `FlowDensity(support=...)`: angles, hours of a day, days of a year.

    The flow has a density f of real numbers, and the density of an angle t is the sum of f(t + k P) over k = -2, ..., 2, with
    the period P and t in the turn around the mean direction c of the training samples. Training sees each angle as one of the
    two numbers within P of c, which is t with the probability ``(1 + cos(pi (t - c) / P)) / 2``. So f falls smoothly to 0, and
    the density of the angle has no seam.

    Parameters
    ----------
    low, high : float, default 0 and 2 pi
        The range of samples, [low, high); high - low is the period. Other values are taken into the range by whole turns.

    Raises
    ------
    TypeError, ValueError
        If a bound is not a finite number, or if not low < high.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).vonmises(0, 4, size=(500, 1))  # from -pi to pi
    >>> model = nvpflow.FlowDensity(support=[nvpflow.Angle()], max_iter=20, random_state=0).fit(X)
    >>> samples = model.sample(1000)
    >>> bool(samples.min() >= 0 and samples.max() < 2 * np.pi)
    True
    >>> bool(np.allclose(model.score_samples(X), model.score_samples(X + 2 * np.pi), atol=1e-4))
    True
    """

    low: float = 0.0
    high: float = 2 * np.pi
    _centre: float | None = field(default=None, init=False, repr=False, compare=False)

    is_whole: ClassVar[bool] = False
    is_free: ClassVar[bool] = False  # the mean direction is subtracted in any case

    def __post_init__(self) -> None:
        low, high = check_bounds("the range of an Angle", (self.low, self.high))
        if not np.isfinite(high - low):
            raise ValueError(f"the range of an Angle must be finite, got {shown(self.low)} and {shown(self.high)}")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    @property
    def turn(self) -> float:
        """The period."""
        return self.high - self.low

    @property
    def origin(self) -> float:
        """The mean direction of the training samples."""
        return self.low if self._centre is None else self._centre

    @property
    def limits(self) -> tuple[float, float]:
        """All real numbers."""
        return -np.inf, np.inf

    def _placed(self, x: Floats, weight: Floats | None, dtype: FloatDType) -> Angle:
        """This kind with the mean direction of samples x (n,)."""
        radians = 2 * np.pi * (x.astype(np.float64) - self.low) / self.turn
        mean = np.average(np.exp(1j * radians), weights=weight)
        return self._at(self.low + self.turn * (float(np.angle(mean)) / (2 * np.pi)))

    def _at(self, centre: float) -> Angle:
        twin = copy.copy(self)
        object.__setattr__(twin, "_centre", centre)
        return twin

    def _holds(self, x: Floats) -> npt.NDArray[np.bool_]:
        """Which of the values are in the support: all."""
        return np.isfinite(x)

    def _plain(self) -> object:
        """The kind in types that JSON has; `check_kind` undoes this."""
        return {"angle": [self.low, self.high, self._centre]}

    @property
    def shown(self) -> object:
        """The kind as a user would give it."""
        return self

    def __str__(self) -> str:
        return f"angles with the period {number(self.turn)}"


Kind: TypeAlias = Interval | Integer | Angle  # of columns of real numbers
AnyKind: TypeAlias = Kind | Category
REALS = Interval()
SHORT: dict[str, AnyKind] = {
    "real": REALS,
    "positive": Interval(0, np.inf),
    "unit": Interval(0, 1),
    "integer": Integer(),
    "angle": Angle(),
    "category": Category(),
}


def on_bounds(kinds: Sequence[Kind], x: Floats) -> Floats:
    """Samples (n, D), of which those that equal a bound in float32 have its value, if they are in float32: 0.1 is 0.1."""
    found = x
    for column, kind in enumerate(kinds if x.dtype == np.float32 else ()):
        for end in () if kind.is_whole else kind.cells:
            rounded = np.float32(end)
            if np.isfinite(end) and float(rounded) != end:
                found = x.astype(np.float64) if found is x else found
                found[x[:, column] == rounded, column] = end
    return found


def number(value: float) -> str:
    """The shortest text of a number that is read as the same number, for messages."""
    if abs(value) < 1e19 and value == int(value):
        return str(int(value))
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def first_end(limits: tuple[float, float]) -> float:
    """The lower bound, or else the upper one, or 0."""
    return next((end for end in limits if np.isfinite(end)), 0.0)


def _or_none(bound: float) -> float | None:
    return float(bound) if np.isfinite(bound) else None


def check_kind(name: str, value: object) -> AnyKind:
    """Convert what a user says of a column, or what a file holds, to its kind."""
    if value is None:
        return REALS
    if isinstance(value, (Interval, Integer, Angle, Category)):
        return value
    if isinstance(value, str):
        return SHORT[check_choice(name, value, tuple(SHORT))]
    if isinstance(value, dict) and list(value) == ["distant"]:
        kind = check_kind(name, value["distant"])
        if not isinstance(kind, Interval | Integer):
            raise TypeError(f"{name} must have bounds to be distant, got {shown(value)}")
        return kind._distant()
    if isinstance(value, dict) and list(value) == ["integer"]:
        return Integer(*_listed(name, value["integer"], 2))
    if isinstance(value, dict) and list(value) == ["angle"]:
        low, high, centre = _listed(name, value["angle"], 3)
        return Angle(low, high) if centre is None else Angle(low, high)._at(check_real(name, centre))
    if isinstance(value, dict) and list(value) == ["category"]:
        return Category(None if value["category"] is None else restore_values(name, value["category"]))
    if isinstance(value, (tuple, list, np.ndarray)):
        return Interval(*check_bounds(name, value))
    raise TypeError(
        f"{name} must be a pair (low, high), an nvpflow.Integer, Angle or Category, None or one of "
        f"{', '.join(map(repr, SHORT))}, got {shown(value)}"
    )


def _listed(name: str, value: Any, n: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != n:
        raise TypeError(f"{name} must have {n} numbers, got {shown(value)}")
    return value
