"""The numbers that the types of columns hold: samples of a frame fit into the types of its columns."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from nvpflow._typing import Floats
from nvpflow.supports._kinds import Angle, Integer, Kind

__all__ = ["DECIMAL", "NumberType", "holds_whole", "number_type"]

# Names of types by their names in other libraries, in lower case.
SAME = {"double": "float64", "float": "float32", "halffloat": "float16", "boolean": "bool"}
WHOLE = re.compile(r"(u?)int(8|16|32|64|128)")
# As "Decimal(precision=10, scale=2)" in polars and "decimal128(10, 2)" in Arrow.
OF_DECIMALS = re.compile(r"decimal\d*\((?:precision=)?(\d{1,2}), (?:scale=)?(\d{1,2})\)")
DECIMAL = "decimal"
MOST_BITS = 64  # of whole numbers: floats beyond 2**53 are whole in any case
MOST_DIGITS = 38  # of decimal numbers, as polars has them, and as 128 bits hold
FINE = 1e-9  # a bound is a multiple of the unit if it is one but for this share of the unit


class NumberType(NamedTuple):
    """Numbers from `low` to `high`.

    Attributes
    ----------
    low, high : float
    digits : int or None
        The digits after the decimal point, 0 for whole numbers. None: floating-point numbers.
    name : str
        The name of the type in NumPy, or `DECIMAL`.
    precision : int
        The digits of a decimal number.
    """

    low: float
    high: float
    digits: int | None
    name: str
    precision: int = 0

    def nearest(self, x: Floats, kind: Kind) -> Floats:
        """The nearest numbers of this type and of a support, to numbers x in that support, in float64."""
        x = x.astype(np.float64)
        low = -np.inf if kind.low is None else float(kind.low)
        high = np.inf if kind.high is None else float(kind.high)
        if self.digits is None:
            least, most = -_below(-low, self.name), _below(high, self.name, isinstance(kind, Angle))
            return np.clip(x, max(least, self.low), min(most, self.high))
        x = x if isinstance(kind, Integer) else np.round(x, self.digits)
        unit = 10.0**-self.digits
        least, most = np.ceil(low / unit - FINE), np.floor(high / unit + FINE)
        if isinstance(kind, Angle):
            x = _within_turn(x, kind, unit)
            most = np.ceil(high / unit - FINE) - 1
        return np.clip(np.round(x, self.digits), max(least * unit, self.low), min(most * unit, self.high))


def _below(bound: float, dtype: str, is_open: bool = False) -> float:
    """The largest number of a floating-point type that is at most a bound, or below it."""
    if np.isinf(bound):
        return bound
    with np.errstate(over="ignore"):
        found = np.dtype(dtype).type(bound)
    beyond = float(found) >= bound if is_open else float(found) > bound
    return float(np.nextafter(found, found.dtype.type(-np.inf))) if beyond else float(found)


def _within_turn(x: Floats, kind: Angle, unit: float) -> Floats:
    """Rounded angles that have left their range, taken back by a turn if that is a multiple of the unit."""
    if abs(kind.turn / unit - round(kind.turn / unit)) > FINE:
        return x
    return np.where(x >= kind.high, x - kind.turn, np.where(x < kind.low, x + kind.turn, x))


def number_type(dtype: str) -> NumberType | None:
    """The type of a column of pandas, polars or Arrow by its name. None if it is none of numbers, or unknown."""
    name = dtype.lower().removesuffix("[pyarrow]").removeprefix("sparse[").partition(",")[0].removesuffix("]")
    name = SAME.get(name, name)
    if name == "bool":
        return NumberType(0.0, 1.0, 0, name)
    if whole := WHOLE.fullmatch(name):
        return _whole(bool(whole[1]), min(int(whole[2]), MOST_BITS))
    if decimal := OF_DECIMALS.fullmatch(dtype.lower().removesuffix("[pyarrow]")):
        precision, digits = map(int, decimal.groups())
        if not digits <= precision <= MOST_DIGITS:
            return None
        most = 10.0 ** (precision - digits) - 10.0**-digits
        return NumberType(-most, most, digits, DECIMAL, precision)
    if name in ("float16", "float32", "float64"):
        most = float(np.finfo(name).max)
        return NumberType(-most, most, None, name)
    return None


def holds_whole(dtype: str) -> bool:
    """Whether a type is one of whole numbers."""
    found = number_type(dtype)
    return found is not None and found.digits == 0


def _whole(is_unsigned: bool, n_bits: int) -> NumberType:
    """The ends are floats, so the last ones of 64 bits are left out."""
    info = np.iinfo(f"{'u' * is_unsigned}int{n_bits}")
    high = float(info.max)
    return NumberType(float(info.min), high if high <= info.max else float(np.nextafter(high, 0)), 0, info.dtype.name)
