"""The allowed values of an estimator's parameters, declared in one table beside the class, and signatures that share them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from nvpflow._typing import FloatDType
from nvpflow._validation.arguments import check_dtype

__all__ = ["Check", "allowed", "check_parameters", "with_parameters_of"]

# Of the name, the value and the dtype that the estimator computes in: the value to use, or a TypeError or ValueError.
Check: TypeAlias = Callable[[str, Any, FloatDType], Any]
Function = TypeVar("Function", bound=Callable[..., Any])


def allowed(check: Callable[..., Any], *args: Any, or_none: bool = False, in_dtype: bool = False, **options: Any) -> Check:
    """Values that pass ``check(name, value, *args, **options)``.

    Parameters
    ----------
    check : callable
        Of `nvpflow._validation.arguments`.
    or_none : bool
        None is allowed, too.
    in_dtype : bool
        The check has an argument `dtype`, that of the estimator.
    """

    def checked(name: str, value: Any, dtype: FloatDType) -> Any:
        if value is None and or_none:
            return None
        return check(name, value, *args, **options, **({"dtype": dtype} if in_dtype else {}))

    return checked


def check_parameters(estimator: Any, table: Mapping[str, Check]) -> dict[str, Any]:
    """The values to use. The error names the first parameter, in the order of the table, whose value is not allowed.

    Parameters
    ----------
    estimator : object
        Has an attribute for each parameter, among them `dtype`.
    table : mapping of str to Check
    """
    dtype = check_dtype(estimator.dtype)
    return {"dtype": dtype} | {name: check(name, getattr(estimator, name), dtype) for name, check in table.items()}


def with_parameters_of(parent: Callable[..., Any]) -> Callable[[Function], Function]:
    """Show a function that passes ``**parameters`` on to another with the parameters of both; defaults are its own."""

    def show(function: Function) -> Function:
        signature, parameters = inspect.signature(parent), inspect.signature(function).parameters
        own = {
            name: value for name, value in parameters.items() if value.kind not in (value.VAR_POSITIONAL, value.VAR_KEYWORD)
        }
        both = {**signature.parameters, **own}
        vars(function)["__signature__"] = signature.replace(parameters=list(both.values()))
        return function

    return show
