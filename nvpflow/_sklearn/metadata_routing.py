"""scikit-learn's metadata routing: which arguments beside X a pipeline, a search or a cross-validation passes on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

from nvpflow._validation.arguments import shown

__all__ = ["MetadataConsumer", "RequestMethod"]

Request: TypeAlias = bool | str | None
UNCHANGED: Final = "$UNCHANGED$"  # scikit-learn's word for a request that stays as it is

DOCSTRING = """Say which metadata `{method}` is to get where scikit-learn routes them.

It does so after ``sklearn.set_config(enable_metadata_routing=True)``: what a pipeline, a search or a cross-validation is
given beside X goes to those methods that request it.

Parameters
----------
{names} : bool, str or None, default "$UNCHANGED$"
    True: pass it on. False: do not. None: it is an error to give it. A name: pass on what is given by that name.

Returns
-------
self

Raises
------
ValueError
    If a request is none of these; nothing has changed then.
"""


class MetadataConsumer:
    """An estimator some of whose methods take metadata: arguments beside X, such as one with a row for each sample.

    Each `RequestMethod` of the class declares what a method takes. The requests are kept as plain values.
    """

    _consumes: ClassVar[dict[str, tuple[str, ...]]] = {}  # {method: names of its metadata}
    _requests: dict[str, dict[str, Request]]

    def get_metadata_routing(self) -> Any:
        """The requests for metadata, for scikit-learn (from 1.6), which alone calls this.

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

    # Where the default scorer of scikit-learn before 1.8 looks for the requests.
    _metadata_request = property(get_metadata_routing)


Consumer = TypeVar("Consumer", bound=MetadataConsumer)


class RequestMethod:
    """Makes a method ``set_<method>_request``, as the class of this name in scikit-learn does.

    Parameters
    ----------
    *names : str
        Of the metadata that the method takes.
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
            (estimator,) = signature.bind(*args, **requests).args  # TypeError for arguments that it does not have
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
