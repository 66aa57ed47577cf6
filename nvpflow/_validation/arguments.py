"""Checks of arguments. Their errors name the argument, what it got and what was expected."""

from __future__ import annotations

import operator
import os
import reprlib
import sys
from collections.abc import Sequence
from numbers import Real
from typing import Any, SupportsIndex, TypeVar, cast

import numpy as np
import numpy.typing as npt

from nvpflow._typing import BatchSize, FloatDType, Seed
from nvpflow._validation.arrays import as_array

Choice = TypeVar("Choice", bound=str)
FLOAT64: FloatDType = np.dtype(np.float64)


class _Shown(reprlib.Repr):
    """A short `repr` for messages. Large arrays are shown as shape and dtype, long texts are cut."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxlong, self.maxother = 2, 80, 80, 80

    def repr(self, value: object) -> str:
        text = super().repr(value)
        return text if len(text) <= 200 else f"{text[:200]}..."

    def repr_int(self, value: int, level: int) -> str:
        try:
            return super().repr_int(value, level)
        except ValueError:  # Python does not print integers with more than 4300 digits
            return f"an integer of {value.bit_length()} bits"

    def repr_instance(self, value: object, level: int) -> str:
        if isinstance(value, np.ndarray) and value.size > 8:
            return f"an array of shape {value.shape}, dtype {value.dtype}"
        return " ".join(super().repr_instance(value, level).split())


shown = _Shown().repr


def check_int(name: str, value: object, minimum: int, maximum: float = sys.maxsize) -> int:
    """Return `value` as an int, which must satisfy minimum <= value <= maximum."""
    if isinstance(value, (bool, np.bool_, np.ndarray)):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    try:
        number = operator.index(cast(SupportsIndex, value))
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {shown(value)}") from None
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {shown(number)}")
    if number > maximum:
        raise ValueError(f"{name} must be at most {maximum}, got {shown(number)}")
    return number


def check_real(
    name: str,
    value: object,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    low_open: bool = False,
    dtype: FloatDType = FLOAT64,
) -> float:
    """Return `value` as a float. It must be finite with low <= value < high, or low < value if `low_open`.

    The same, without the upper limit, must hold after rounding to `dtype`.
    """
    number = _as_float(name, value)
    with np.errstate(over="ignore", under="ignore"):
        rounded = float(dtype.type(number))

    def is_allowed(x: float) -> bool:
        return np.isfinite(x) and (x > low if low_open else x >= low)

    if not (is_allowed(number) and is_allowed(rounded) and number < high):
        lower = "finite" if low == -np.inf else f"finite and {'>' if low_open else '>='} {low:g}"
        upper = "" if high == np.inf else f" and < {high:g}"
        where = f" in {dtype}" if is_allowed(number) and number < high else ""
        raise ValueError(f"{name} must be {lower}{upper}{where}, got {shown(value)}")
    return number


def check_scale_bound(name: str, value: object, dtype: FloatDType) -> float:
    """Return `value` as a float c > 0. Both c and 1 / c must be normal numbers of the dtype."""
    info = np.finfo(dtype)
    return _check_bound(name, value, dtype, float(info.tiny), float(1 / info.tiny))


def check_tail_bound(name: str, value: object, dtype: FloatDType) -> float:
    """Return `value` as a float B > 0. B**2, which densities and gradients need, must be a normal number of the dtype."""
    info = np.finfo(dtype)
    return _check_bound(name, value, dtype, float(np.sqrt(info.tiny)), float(np.sqrt(info.max)))


def check_periods(periods: object, data_dim: int, dtype: FloatDType) -> tuple[float, ...]:
    """Check the periods of columns, 0 for real numbers. One number stands for all columns."""
    if isinstance(periods, (int, float, np.integer, np.floating)) and not isinstance(periods, bool):
        periods = [periods] * data_dim
    if isinstance(periods, str) or not isinstance(periods, (Sequence, np.ndarray)):
        raise TypeError(f"periods must be a number or {data_dim} numbers or None, got {shown(periods)}")
    if len(periods) != data_dim:
        raise ValueError(f"periods must be {data_dim} numbers or None, one for each column, got {shown(periods)}")
    checked = tuple(0.0 if period is None else check_real(f"periods[{i}]", period, 0) for i, period in enumerate(periods))
    info = np.finfo(dtype)
    least, most = float(np.sqrt(info.tiny)), float(np.sqrt(info.max))
    for i, period in enumerate(checked):
        if period and not least <= period <= most:
            raise ValueError(f"periods[{i}] must be 0 or from {least:.3g} to {most:.3g}, got {period:g}")
    return checked


def _check_bound(name: str, value: object, dtype: FloatDType, low: float, high: float) -> float:
    number = check_real(name, value, 0, low_open=True)
    if not low <= number <= high:
        raise ValueError(f"{name} must be from {low:.3g} to {high:.3g} in {dtype}, got {shown(value)}")
    return number


def _as_float(name: str, value: object) -> float:
    """Convert a real number, of Python or NumPy, to a float, infinite if it is out of range."""
    if not isinstance(value, Real) or isinstance(value, (bool, np.timedelta64)):
        raise TypeError(f"{name} must be a real number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        return np.inf if cast(Any, value) > 0 else -np.inf  # numbers.Real is not typed


def check_bool(name: str, value: object) -> bool:
    """Return `value`, which must be a Python or NumPy bool, as a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def check_batch_size(name: str, value: object) -> BatchSize:
    """Return a number of samples as an int, "auto", or None for all samples."""
    if not isinstance(value, str):
        return None if value is None else check_int(name, value, 1)
    if value != "auto":
        raise ValueError(f"{name} must be an integer, 'auto' or None, got {shown(value)}")
    return "auto"


def check_warmup(name: str, value: object) -> float:
    """Return a number of steps as an int, or a share of all steps in [0, 1) as a float."""
    if isinstance(value, (float, np.floating)):
        return check_real(name, value, 0, 1)
    return check_int(name, value, 0)


def check_verbose(name: str, value: object) -> int:
    """Return a level of verbosity as an int."""
    return int(value) if isinstance(value, bool) else check_int(name, value, 0)


def check_bounds(name: str, value: object, dtype: FloatDType = FLOAT64) -> tuple[float, float]:
    """Return a pair (low, high) as floats, infinite for None. They must satisfy low < high, also after rounding to `dtype`."""
    if not isinstance(value, (tuple, list, np.ndarray)) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (low, high), got {shown(value)}")
    low, high = (_as_bound(name, bound, open_end) for bound, open_end in zip(value, (-np.inf, np.inf)))
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = [float(dtype.type(bound)) for bound in (low, high)]
        width = dtype.type(rounded[1]) - dtype.type(rounded[0])
    if not low < high or low == np.inf or high == -np.inf:
        raise ValueError(f"{name} must be a pair (low, high) with low < high, got {shown(value)}")
    if not rounded[0] < rounded[1] or not (np.isfinite([low, high]) == np.isfinite(rounded)).all():
        raise ValueError(f"{name} must be a pair with low < high in {dtype}, got {shown(value)}")
    if np.isfinite(rounded).all() and not np.isfinite(width):
        raise ValueError(f"{name} must be a pair whose distance is finite in {dtype}, got {shown(value)}")
    return low, high


def _as_bound(name: str, value: object, open_end: float) -> float:
    bound = open_end if value is None else _as_float(name, value)
    if np.isnan(bound):
        raise ValueError(f"{name} must be a pair (low, high) without NaN, got {value!r}")
    return bound


def check_choice(name: str, value: object, choices: Sequence[Choice]) -> Choice:
    """Return `value`, which must be one of the strings in `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {shown(value)}")
    return choices[choices.index(value)]


def check_dtype(dtype: object) -> FloatDType:
    """Return the numpy.dtype, which must be float32 or float64."""
    checked: FloatDType | None
    try:
        # np.dtype would read None as float64, and a value as its dtype.
        checked = None if dtype is None or isinstance(dtype, (np.generic, np.ndarray)) else np.dtype(cast(Any, dtype))
    except (TypeError, ValueError, SyntaxError):  # the last two come from bad strings and records
        checked = None
    if checked is None or checked not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be float32 or float64, got {shown(dtype)}")
    native: FloatDType = checked.newbyteorder("=")
    return native


def check_callback(callback: object) -> None:
    """Check that `callback` is callable or None."""
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {shown(callback)}")


def check_mask(mask: object, data_dim: int) -> npt.NDArray[np.uint8]:
    """Return the mask as a uint8 array of zeros and ones, shape (data_dim,)."""
    if mask is None:
        return alternating_mask(data_dim, 0)
    values = as_array("mask", mask)
    if values.shape != (data_dim,):
        raise ValueError(f"mask must have shape ({data_dim},), got {values.shape}")
    if values.dtype.kind not in "biuf":
        raise TypeError(f"mask must hold numbers, got dtype {values.dtype}")
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"mask must hold only 0 and 1, got {shown(mask)}")
    return values.astype(np.uint8)


def alternating_mask(data_dim: int, layer: int) -> npt.NDArray[np.uint8]:
    """The mask [1, 0, 1, 0, ...] for even layers, [0, 1, 0, 1, ...] for odd ones."""
    mask = np.zeros(data_dim, np.uint8)
    mask[layer % 2 :: 2] = 1
    return mask


def check_permutation(permutation: object, data_dim: int) -> tuple[int, ...]:
    """Return the permutation as a tuple of int."""
    values = as_array("permutation", permutation)
    if values.dtype.kind not in "iu":
        raise TypeError(f"permutation must hold integers, got dtype {values.dtype}")
    if values.shape != (data_dim,):
        raise ValueError(f"permutation must have shape ({data_dim},), got {values.shape}")
    if not np.array_equal(np.sort(values), np.arange(data_dim)):
        raise ValueError(f"permutation must hold each of 0, ..., {data_dim - 1} once, got {shown(permutation)}")
    return tuple(values.tolist())


MOST_JOBS = 4096  # more threads than any machine runs at once


def check_n_jobs(name: str, value: object) -> int:
    """Return scikit-learn's number of jobs as an int. None is 1."""
    number = 1 if value is None else check_int(name, value, -MOST_JOBS, MOST_JOBS)
    if number == 0:
        raise ValueError(f"{name} must not be 0: None and 1 mean one thread, -1 all processors")
    return number


def count_threads(n_jobs: object) -> int:
    """The number of threads for scikit-learn's `n_jobs`: None is 1, -1 all processors, -2 all but one, ..."""
    n_jobs = check_n_jobs("n_jobs", n_jobs)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return n_jobs if n_jobs > 0 else max(1, available + 1 + n_jobs)


def check_hidden(name: str, value: object) -> tuple[int, ...]:
    """Return the widths of the hidden layers as a tuple. An integer stands for one layer."""
    if not np.iterable(value):
        return (check_int(name, value, 1),)
    # An iterator would be exhausted after the first layer, and a set has no order.
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        raise TypeError(f"{name} must be an integer or a sequence of integers, got {shown(value)}")
    return tuple(check_int(name, width, 1) for width in value)


def check_random_state(name: str, value: object) -> Seed:
    """Return `value`, which `seed_sequence` must accept. An integer becomes an int. Draws nothing."""
    generators = np.random.SeedSequence, np.random.Generator, np.random.RandomState
    if value is None or isinstance(value, generators):
        return value
    try:
        return check_int(name, value, 0, np.inf)  # of any size: a SeedSequence uses all digits
    except TypeError:
        raise TypeError(
            f"{name} must be None, an integer >= 0, a numpy Generator or RandomState, got {shown(value)}"
        ) from None


def seed_sequence(random_state: Seed) -> np.random.SeedSequence:
    """Create a numpy.random.SeedSequence from None, an int, a Generator or a legacy RandomState."""
    random_state = check_random_state("random_state", random_state)
    if isinstance(random_state, np.random.SeedSequence):
        return random_state
    if isinstance(random_state, np.random.Generator):
        return np.random.SeedSequence(int(random_state.integers(2**63)))
    if isinstance(random_state, np.random.RandomState):
        return np.random.SeedSequence([int(word) for word in random_state.randint(2**31, size=2)])
    return np.random.SeedSequence(random_state)


def draw_seeds(random_state: Seed, n: int) -> list[int]:
    """Draw `n` independent 64-bit seeds for the C core."""
    return [int(word) for word in seed_sequence(random_state).generate_state(n, np.uint64)]
