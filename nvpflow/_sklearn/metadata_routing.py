"""scikit-learn's metadata routing: which arguments besides X pipelines, searches and cross-validation pass on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

from nvpflow._validation.arguments import shown

__all__ = ["MetadataConsumer", "RequestMethod"]

Request: TypeAlias = bool | str | None
UNCHANGED: Final = "$UNCHANGED$"  # scikit-learn's word for a request that stays as it is

DOCSTRING = """Request metadata for `{method}` from scikit-learn's metadata routing.

Routing is on after ``sklearn.set_config(enable_metadata_routing=True)``. Pipelines, searches and cross-validation then pass
arguments besides X to the methods that request them.

Parameters
----------
{names} : bool, str or None, default "$UNCHANGED$"
    True: pass it on. False: do not pass it on. None: raise an error if it is given. A name: pass on the argument of that
    name.

Returns
-------
self

Raises
------
ValueError
    If a request is none of these. Nothing changes then.
"""


class MetadataConsumer:
    """Base class of estimators whose methods take metadata: arguments besides X, such as sample weights.

    Each `RequestMethod` of the class declares the metadata of a method. The requests are stored as plain values.
    """

    _consumes: ClassVar[dict[str, tuple[str, ...]]] = {}  # {method: names of its metadata}
    _requests: dict[str, dict[str, Request]]

    def get_metadata_routing(self) -> Any:
        """Get the requests for metadata. Only scikit-learn, from 1.6, calls this.

        Returns
        -------
        sklearn.utils.metadata_routing.MetadataRequest
        """
        from sklearn.utils.metadata_routing import MetadataRequest

        routing, made = MetadataRequest(owner=type(self).__name__), getattr(self, "_requests", {})
        for method, names in self._consumes.items():
            for name in names:
                getattr(routing, method).add_request(param=name, alias=made.get(method, {}).get(name))
        return routing

    # The default scorer of scikit-learn before 1.8 looks for the requests here.
    _metadata_request = property(get_metadata_routing)


Consumer = TypeVar("Consumer", bound=MetadataConsumer)


class RequestMethod:
    """Descriptor that creates a method ``set_<method>_request``, like the class of this name in scikit-learn.

    Parameters
    ----------
    *names : str
        Names of the metadata that the method takes.
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    def __set_name__(self, owner: type[MetadataConsumer], name: str) -> None:
        method = name.removeprefix("set_").removesuffix("_request")
        owner._consumes = owner._consumes | {method: self.names}
        kind = inspect.Parameter.KEYWORD_ONLY
        keywords = [inspect.Parameter(n, kind, default=UNCHANGED, annotation=Request) for n in self.names]
        signature = inspect.Signature([inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD), *keywords])

        def set_request(*args: Any, **requests: Request) -> Any:
            (estimator,) = signature.bind(*args, **requests).args  # TypeError for unknown arguments
            made = getattr(estimator, "_requests", {})
            changed = {name: _checked(name, request) for name, request in requests.items() if request != UNCHANGED}
            estimator._requests = {**made, method: made.get(method, {}) | changed}
            return estimator

        attributes = {"__module__": owner.__module__, "__name__": name, "__qualname__": f"{owner.__qualname__}.{name}"}
        for attribute, value in attributes.items():
            setattr(set_request, attribute, value)
        set_request.__dict__["__signature__"] = signature
        set_request.__doc__ = DOCSTRING.format(method=method, names=", ".join(self.names))
        self.function: Callable[..., Any] = set_request

    def __get__(self, estimator: Consumer | None, owner: type[Consumer]) -> Callable[..., Consumer]:
        method: Callable[..., Consumer] = self.function.__get__(estimator, owner)
        return method


def _checked(name: str, request: Request) -> Request:
    if request is None or isinstance(request, bool) or (isinstance(request, str) and request.isidentifier()):
        return request
    raise ValueError(f"{name} must be True, False, None or another name, got {shown(request)}")
