"""Checks of arguments that name what came and what was expected."""

import operator
import os
import sys
from numbers import Real

import numpy as np


def check_int(name, value, minimum):
    """`value` as an int that is at least `minimum`."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {number}")
    if number > sys.maxsize:
        raise ValueError(f"{name} must be at most {sys.maxsize}, got {number}")
    return number


def check_real(name, value, low=-np.inf, high=np.inf, *, low_open=False):
    """`value` as a finite float with low <= value < high (low < value if `low_open`)."""
    if not isinstance(value, (Real, np.number)) or isinstance(value, (bool, np.bool_, complex)):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    number = float(value)
    above = number > low if low_open else number >= low
    if not (np.isfinite(number) and above and number < high):
        left = ">" if low_open else ">="
        upper = "" if high == np.inf else f" and < {high:g}"
        lower = "finite" if low == -np.inf else f"finite and {left} {low:g}"
        raise ValueError(f"{name} must be {lower}{upper}, got {value!r}")
    return number


def check_choice(name, value, choices):
    """`value`, which must be one of the strings in `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_dtype(dtype):
    """numpy.dtype float32 or float64."""
    try:
        checked = np.dtype(dtype)
    except TypeError:
        checked = None
    if dtype is None or checked not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    return checked.newbyteorder("=")


def check_callback(callback):
    """It must be callable or None."""
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable, got {callback!r}")


def check_mask(mask, data_dim):
    """The mask as a uint8 array of zeros and ones of length `data_dim`."""
    if mask is None:
        return alternating_mask(data_dim, 0)
    values = np.asarray(mask)
    if values.shape != (data_dim,):
        raise ValueError(f"mask must have shape ({data_dim},), got {values.shape}")
    if values.dtype.kind not in "biuf":
        raise TypeError(f"mask must hold numbers, got dtype {values.dtype}")
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"mask must hold only 0 and 1, got {mask!r}")
    return values.astype(np.uint8)


def alternating_mask(data_dim, layer):
    """[1, 0, 1, 0, ...] for even layers, [0, 1, 0, 1, ...] for odd ones."""
    return ((np.arange(data_dim) + layer + 1) % 2).astype(np.uint8)


def count_threads(n_jobs):
    """The number of threads that scikit-learn's `n_jobs` means: None is 1, -1 all processors, -2 all but one, ..."""
    if n_jobs is None:
        return 1
    n_jobs = check_int("n_jobs", n_jobs, -sys.maxsize)
    if n_jobs == 0:
        raise ValueError("n_jobs must not be 0: None and 1 mean one thread, -1 all processors")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return n_jobs if n_jobs > 0 else max(1, available + 1 + n_jobs)


def check_hidden(hidden_dim):
    """Widths of the hidden layers as a tuple; an integer stands for one layer."""
    if isinstance(hidden_dim, (str, bytes)):
        raise TypeError(f"hidden_dim must be an integer or a sequence of integers, got {hidden_dim!r}")
    widths = hidden_dim if np.iterable(hidden_dim) else (hidden_dim,)
    return tuple(check_int("hidden_dim", width, 1) for width in widths)


def seed_sequence(random_state):
    """A numpy.random.SeedSequence from None, an int, a Generator or a legacy RandomState."""
    if random_state is None:
        return np.random.SeedSequence()
    if isinstance(random_state, np.random.SeedSequence):
        return random_state
    if isinstance(random_state, np.random.Generator):
        return np.random.SeedSequence(int(random_state.integers(2**63)))
    if isinstance(random_state, np.random.RandomState):
        return np.random.SeedSequence([int(word) for word in random_state.randint(2**31, size=2)])
    try:
        return np.random.SeedSequence(operator.index(random_state))
    except (TypeError, ValueError):
        raise TypeError(
            "random_state must be None, an integer >= 0, a numpy Generator or RandomState, "
            f"got {random_state!r}"
        ) from None


def draw_seeds(random_state, n):
    """`n` independent 64-bit seeds for the C core."""
    return [int(word) for word in seed_sequence(random_state).generate_state(n, np.uint64)]
