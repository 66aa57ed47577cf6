"""Checks of an estimator's parameters, declared in one table beside the class, and signatures with inherited parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias, TypeVar

from nvpflow._typing import FloatDType
from nvpflow._validation.arguments import check_dtype

__all__ = ["Check", "allowed", "check_parameters", "with_parameters_of"]

# Called with the name, the value and the dtype of the estimator. Returns the value to use or raises TypeError or ValueError.
Check: TypeAlias = Callable[[str, Any, FloatDType], Any]
Function = TypeVar("Function", bound=Callable[..., Any])


def allowed(check: Callable[..., Any], *args: Any, or_none: bool = False, in_dtype: bool = False, **options: Any) -> Check:
    """Create a Check from ``check(name, value, *args, **options)``.

    Parameters
    ----------
    check : callable
        A function of `nvpflow._validation.arguments`.
    or_none : bool
        None is allowed as well.
    in_dtype : bool
        Pass the dtype of the estimator to the argument `dtype` of `check`.
    """

    def checked(name: str, value: Any, dtype: FloatDType) -> Any:
        if value is None and or_none:
            return None
        return check(name, value, *args, **options, **({"dtype": dtype} if in_dtype else {}))

    return checked


def check_parameters(estimator: Any, table: Mapping[str, Check]) -> dict[str, Any]:
    """Check the parameters of an estimator and return the values to use.

    The error names the first parameter, in the order of the table, with a value that is not allowed.

    Parameters
    ----------
    estimator : object
        Has an attribute for each parameter, including `dtype`.
    table : mapping of str to Check
    """
    dtype = check_dtype(estimator.dtype)
    return {"dtype": dtype} | {name: check(name, getattr(estimator, name), dtype) for name, check in table.items()}


def with_parameters_of(parent: Callable[..., Any], without: Collection[str] = ()) -> Callable[[Function], Function]:
    """Give a function that passes ``**parameters`` to `parent` the signature of both, with its own defaults.

    Parameters of `parent` that `without` names are left out.
    """

    def show(function: Function) -> Function:
        signature, parameters = inspect.signature(parent), inspect.signature(function).parameters
        own = {
            name: value for name, value in parameters.items() if value.kind not in (value.VAR_POSITIONAL, value.VAR_KEYWORD)
        }
        both = {name: value for name, value in {**signature.parameters, **own}.items() if name not in without}
        vars(function)["__signature__"] = signature.replace(parameters=list(both.values()))
        return function

    return show
