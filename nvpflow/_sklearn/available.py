"""Methods that an estimator has or has not, depending on its parameters: scikit-learn's `available_if`, without it."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar, cast

__all__ = ["of_one_flow"]

Method = TypeVar("Method", bound=Callable[..., Any])


class _OfOneFlow:
    """Descriptor of a method. Access to it raises AttributeError, as `hasattr` expects, where there are several flows."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__func__ = function
        self.__doc__ = function.__doc__

    def __get__(self, estimator: Any, owner: type[Any]) -> Callable[..., Any]:
        if estimator is None:
            return self.__func__
        n = estimator._count_flows()
        if n != 1:
            raise AttributeError(
                f"{self.__func__.__name__} needs one flow, and this {type(estimator).__name__} is an average of {n}, which "
                "has no latent space and is not trained in pieces: use n_models=1"
            )
        return MethodType(self.__func__, estimator)


def of_one_flow(method: Method) -> Method:
    """Give a method only to estimators with one flow, not to ensembles."""
    return cast(Method, _OfOneFlow(method))
