"""The fitted state of an estimator, and how it reads samples and contexts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nvpflow._sklearn.feature_names import as_row, check_feature_names
from nvpflow._training.context import clip_context
from nvpflow._training.dataset import check_numbers
from nvpflow._typing import ArrayLike, FloatDType, Floats, Names
from nvpflow._validation.arrays import as_array, check_samples
from nvpflow.ensemble import log_prob_and_std

if TYPE_CHECKING:
    from nvpflow.ensemble import FlowEnsemble
    from nvpflow.flow import Flow
    from nvpflow.supports._fitted import Supports

__all__ = ["FittedModel", "NotFittedError"]

# Attributes that only some fits set. A later fit must remove those of an earlier one.
OPTIONAL_ATTRIBUTES = (
    "_stream",
    "_context_units",
    "_frame",
    "_supports",
    "context_feature_names_in_",
    "context_origin_",
    "context_range_",
    "feature_names_in_",
    "search_",
)


class _UsedTooEarly(ValueError, AttributeError):
    """A base class in Python: the bases of `NotFittedError` can be assigned only if the present ones are Python classes."""


class NotFittedError(_UsedTooEarly):
    """The estimator was used before `fit`.

    If scikit-learn is imported, this is also a ``sklearn.exceptions.NotFittedError``.
    """

    def __init__(self, *args: object) -> None:
        exceptions = sys.modules.get("sklearn.exceptions")
        if exceptions:
            NotFittedError.__bases__ = (exceptions.NotFittedError,)
        super().__init__(*args)


class FittedModel:
    """A model with a `flow_` once fitted. It converts samples and contexts to the inputs of that flow."""

    n_features_in_: int
    feature_names_in_: Names
    context_feature_names_in_: Names

    def _keep(self, fitted: dict[str, Any], n_features: int, names: Names | None, context_names: Names | None = None) -> None:
        """Replace the fitted attributes, in one step for the sake of other threads that read them."""
        attributes = {name: value for name, value in vars(self).copy().items() if name not in OPTIONAL_ATTRIBUTES}
        attributes |= fitted | {"n_features_in_": n_features}
        for name, value in (("feature_names_in_", names), ("context_feature_names_in_", context_names)):
            if value is not None:
                attributes[name] = value
        self.__dict__ = attributes

    def __getstate__(self) -> dict[str, Any]:
        """The attributes at one moment, even if another thread is fitting."""
        return vars(self).copy()

    def _fitted_flow(self) -> Flow | FlowEnsemble:
        flow: Flow | FlowEnsemble | None = getattr(self, "flow_", None)
        if flow is None:
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")
        return flow

    def _origin(self, name: str = "origin_") -> Floats | None:
        """The origin that is subtracted from X or the context before `flow_` reads it. None if it is zero."""
        origin: Floats | None = getattr(self, name, None)  # models from old files have none
        return origin if origin is not None and origin.any() else None

    def _to_own_units(self, x: Floats) -> Floats:
        """Add the origin to outputs of `flow_`."""
        origin, supports = self._origin(), self._known_supports()
        x = x if origin is None else x + origin
        return x if supports is None else supports.clipped(x)

    def _known_supports(self) -> Supports | None:
        """The supports of the columns of X. None if all are real."""
        supports: Supports | None = getattr(self, "_supports", None)
        return supports

    def _check_samples(self, X: ArrayLike, name: str = "X") -> Floats:
        """Check X and convert it to the input of the flow: finite, with the columns of the fit, in the flow's dtype."""
        flow, origin, supports = self._fitted_flow(), self._origin(), self._known_supports()
        if name != "X" or (origin is None and supports is None):
            return self._check_columns(X, name, check_samples)
        x = self._check_columns(X, name, check_numbers)
        x = x if supports is None else supports.marked(x)
        return (x if origin is None else x - origin).astype(flow.dtype)

    def _log_density(self, X: ArrayLike, context: ArrayLike | None) -> Floats:
        """Log-density of X, with respect to counting measure in columns of whole numbers."""
        flow, supports = self._fitted_flow(), self._known_supports()
        if supports is None or not supports.is_sum:
            x = self._check_samples(X)
            return flow.log_prob(x, self._check_context(context, len(x)))
        x = self._check_columns(X)
        return supports.log_masses(flow, x, self._origin(), self._check_context(context, len(x))).astype(flow.dtype)

    def _log_density_and_std(self, X: ArrayLike, context: ArrayLike | None) -> tuple[Floats, Floats]:
        """The same, and its standard deviation over the members of an ensemble: zeros for a single flow."""
        flow, supports = self._fitted_flow(), self._known_supports()
        if supports is None or not supports.is_sum:
            x = self._check_samples(X)
            rows = self._check_context(context, len(x))
            return log_prob_and_std(flow, lambda one: one.log_prob(x, rows))
        x = self._check_columns(X)
        masses, std = supports.log_masses_and_std(flow, x, self._origin(), self._check_context(context, len(x)))
        return masses.astype(flow.dtype), std.astype(flow.dtype)

    def _check_columns(
        self, X: ArrayLike, name: str = "X", check: Callable[[str, ArrayLike, FloatDType], Floats] = check_numbers
    ) -> Floats:
        """Check X, which must have the columns of the fit. The result has its own precision, or that of `check`."""
        flow = self._fitted_flow()
        if name == "X":
            check_feature_names(self, X)
        checked = check(name, X, flow.dtype)
        if checked.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{name} has {checked.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )
        return checked

    def _check_context(self, context: ArrayLike | None, n: int) -> Floats | None:
        """Convert the context of n samples to the input of the flow: clipped to the range of training, in its dtype."""
        rows, flow = self._check_context_rows(context, n), self._fitted_flow()
        if rows is None:
            return None
        limits, origin = getattr(self, "context_range_", None), self._origin("context_origin_")
        if limits is not None:
            rows = clip_context(rows, limits, getattr(self, "context_feature_names_in_", None))
        return np.ascontiguousarray(rows if origin is None else rows - origin, flow.dtype)

    def _check_context_rows(self, context: ArrayLike | None, n: int) -> Floats | None:
        """Check the context of n samples: n finite rows, or one row for all. Its precision is kept."""
        flow = self._fitted_flow()
        n_columns = flow.context_dim
        if context is None and n_columns == 0:
            return None
        if context is None:
            raise ValueError(f"context must be given, as to fit: {n_columns} column(s)")
        if n_columns == 0:
            raise ValueError(
                f"context must be None, as {type(self).__name__} was fitted without, got a {type(context).__name__}"
            )
        context = as_row(context, n_columns)
        check_feature_names(self, context, "context")
        rows: npt.NDArray[Any] = as_array("context", context)
        if rows.shape == (n_columns,):
            rows = rows[np.newaxis]
        checked = check_numbers("context", rows, flow.dtype, minimum=min(n, 1))
        if checked.shape not in ((1, n_columns), (n, n_columns)):
            raise ValueError(
                f"context must have shape ({n}, {n_columns}), or ({n_columns},) or (1, {n_columns}) for all samples, "
                f"got {checked.shape}"
            )
        return np.broadcast_to(checked, (n, n_columns))
