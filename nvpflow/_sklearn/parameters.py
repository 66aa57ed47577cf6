"""Constraints of an estimator's parameters, declared in one table beside the class.

A table holds for each parameter a check, a function of its name, its value and the dtype that the estimator computes in. It
raises TypeError or ValueError. All are checked, whether or not the other parameters make use of the value.
"""

import inspect
import sys

from nvpflow._validation import arguments

__all__ = [
    "boolean",
    "check_parameters",
    "choice",
    "integer",
    "merge_signatures",
    "optional",
    "plain",
    "real",
    "real_of_dtype",
]


def check_parameters(estimator, table):
    """Raise an error that names the first parameter, in the order of the table, whose value is not allowed.

    Parameters
    ----------
    estimator : object
        Has an attribute for each parameter, among them `dtype`.
    table : dict of str to callable
    """
    dtype = arguments.check_dtype(estimator.dtype)
    for name, check in table.items():
        check(name, getattr(estimator, name), dtype)


def merge_signatures(function, parent):
    """The signature of a function that passes ``**parameters`` on to another: that of the parent, with its own defaults."""
    own, signature = inspect.signature(function).parameters, inspect.signature(parent)
    return signature.replace(parameters=[own.get(name, value) for name, value in signature.parameters.items()])


def plain(check):
    """A check that is a function of the name and the value alone."""
    return lambda name, value, dtype: check(name, value)


def optional(check):
    """None, or what passes the check."""
    return lambda name, value, dtype: None if value is None else check(name, value, dtype)


def integer(minimum, maximum=sys.maxsize):
    """An integer in [minimum, maximum]."""
    return lambda name, value, dtype: arguments.check_int(name, value, minimum, maximum)


def real(low, high=float("inf"), *, low_open=False):
    """A finite real number in [low, high), or (low, high), in double precision."""
    return plain(lambda name, value: arguments.check_real(name, value, low, high, low_open=low_open))


def real_of_dtype(low, *, low_open=False):
    """A real number >= low, or > low, that is so and finite in the dtype, too."""
    return lambda name, value, dtype: arguments.check_real(name, value, low, low_open=low_open, dtype=dtype)


def choice(*choices):
    """One of these strings."""
    return lambda name, value, dtype: arguments.check_choice(name, value, choices)


boolean = plain(arguments.check_bool)
