"""scikit-learn's metadata routing: what a pipeline, a search or a cross-validation is to pass on to an estimator beside X."""

from typing import Any, ClassVar, Final, Self, TypeAlias

from nvpflow._validation.arguments import shown

__all__ = ["UNCHANGED", "DensityRequests", "MetadataConsumer", "Request"]

Request: TypeAlias = bool | str | None
UNCHANGED: Final = "$UNCHANGED$"  # scikit-learn's word for a request that stays as it is


class MetadataConsumer:
    """An estimator some of whose methods take metadata: arguments beside X, such as one with a row for each sample.

    The requests are plain values here; scikit-learn gets them in the form that it wants.
    """

    _consumes: ClassVar[dict[str, tuple[str, ...]]]  # {method: names of its metadata}
    _requests: dict[str, dict[str, Request]]

    def get_metadata_routing(self) -> Any:  # a class of scikit-learn
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

    @property
    def _metadata_request(self) -> Any:
        """Where the default scorer of scikit-learn before 1.8 looks for the requests."""
        return self.get_metadata_routing()

    def _request(self, method: str, **requests: Request) -> Self:
        """Keep the requests for metadata of a method. None changes when one is no request."""
        for name, request in requests.items():
            if not (request is None or isinstance(request, bool) or (isinstance(request, str) and _is_name(request))):
                raise ValueError(f"{name} must be True, False, None or another name, got {shown(request)}")
        made = getattr(self, "_requests", {})
        changed = {name: request for name, request in requests.items() if request != UNCHANGED}
        self._requests = {**made, method: made.get(method, {}) | changed}
        return self


class DensityRequests(MetadataConsumer):
    """Requests for the metadata of a density estimator."""

    _consumes = {
        "fit": ("context", "sample_weight", "callback"),
        "partial_fit": ("context", "sample_weight"),
        "score": ("context", "sample_weight"),
        "transform": ("context",),
        "inverse_transform": ("context",),
    }

    def set_fit_request(
        self, *, context: Request = UNCHANGED, sample_weight: Request = UNCHANGED, callback: Request = UNCHANGED
    ) -> Self:
        """Say which metadata `fit` is to get where scikit-learn routes them.

        It does so after ``sklearn.set_config(enable_metadata_routing=True)``: what a pipeline, a search or a cross-validation is
        given beside X goes to those methods that request it.

        Parameters
        ----------
        context, sample_weight, callback : bool, str or None, default "$UNCHANGED$"
            True: pass it on. False: do not. None: it is an error to give it. A name: pass on what is given by that name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a request is none of these; nothing has changed then.
        """
        return self._request("fit", context=context, sample_weight=sample_weight, callback=callback)

    def set_partial_fit_request(self, *, context: Request = UNCHANGED, sample_weight: Request = UNCHANGED) -> Self:
        """Say which metadata `partial_fit` is to get where scikit-learn routes them.

        Parameters
        ----------
        context, sample_weight : bool, str or None, default "$UNCHANGED$"
            As for `set_fit_request`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a request is none of these; nothing has changed then.
        """
        return self._request("partial_fit", context=context, sample_weight=sample_weight)

    def set_score_request(self, *, context: Request = UNCHANGED, sample_weight: Request = UNCHANGED) -> Self:
        """Say which metadata `score` is to get where scikit-learn routes them.

        Parameters
        ----------
        context, sample_weight : bool, str or None, default "$UNCHANGED$"
            As for `set_fit_request`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a request is none of these; nothing has changed then.
        """
        return self._request("score", context=context, sample_weight=sample_weight)

    def set_transform_request(self, *, context: Request = UNCHANGED) -> Self:
        """Say which metadata `transform` is to get where scikit-learn routes them.

        Parameters
        ----------
        context : bool, str or None, default "$UNCHANGED$"
            As for `set_fit_request`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a request is none of these; nothing has changed then.
        """
        return self._request("transform", context=context)

    def set_inverse_transform_request(self, *, context: Request = UNCHANGED) -> Self:
        """Say which metadata `inverse_transform` is to get where scikit-learn routes them.

        Parameters
        ----------
        context : bool, str or None, default "$UNCHANGED$"
            As for `set_fit_request`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a request is none of these; nothing has changed then.
        """
        return self._request("inverse_transform", context=context)


def _is_name(request: str) -> bool:
    return request == UNCHANGED or request.isidentifier()
