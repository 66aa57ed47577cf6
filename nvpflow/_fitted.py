"""The fitted state of an estimator, and how it reads samples and contexts."""

from __future__ import annotations

import functools
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
from nvpflow._warnings import warn_user
from nvpflow.ensemble import log_prob_and_std
from nvpflow.missing._rows import has_missing

if TYPE_CHECKING:
    from nvpflow.ensemble import FlowEnsemble
    from nvpflow.flow import Flow
    from nvpflow.missing._model import IncompleteModel, Scores
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

CACHES = ("_incomplete",)


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
        attributes = {name: value for name, value in vars(self).copy().items() if name not in OPTIONAL_ATTRIBUTES + CACHES}
        attributes |= fitted | {"n_features_in_": n_features}
        for name, value in (("feature_names_in_", names), ("context_feature_names_in_", context_names)):
            if value is not None:
                attributes[name] = value
        self.__dict__ = attributes

    def __getstate__(self) -> dict[str, Any]:
        """The attributes at one moment, even if another thread is fitting. What is only kept to save time is left out."""
        return {name: value for name, value in vars(self).copy().items() if name not in CACHES}

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
        if name == "X":
            self._refuse_missing(X, "this method")
        if name != "X" or (origin is None and supports is None):
            return self._check_columns(X, name, check_samples)
        x = self._check_columns(X, name, check_numbers)
        x = x if supports is None else supports.marked(x)
        return (x if origin is None else x - origin).astype(flow.dtype)

    def _takes_missing(self, X: ArrayLike) -> bool:
        """Whether X has missing cells, and the model takes them."""
        return bool(getattr(self, "missing", "error") == "marginalize") and has_missing(X)

    def _refuse_missing(self, X: ArrayLike, what: str) -> None:
        """Raise a ValueError that says what to do, where missing cells are allowed elsewhere."""
        if self._takes_missing(X):
            raise ValueError(
                f"X must be finite, got NaN: {what} needs complete rows even with missing='marginalize'; `impute` fills them"
            )

    def _incomplete_model(self) -> IncompleteModel:
        """The model for rows with missing cells, which is kept while the parameters stay the same."""
        from nvpflow.missing._model import IncompleteModel

        flow, supports, origin = self._fitted_flow(), self._known_supports(), self._origin()
        flows = getattr(flow, "flows", (flow,))
        state = flow, supports, [one.parameters.tobytes() for one in flows]
        kept: tuple[Any, IncompleteModel] | None = vars(self).get("_incomplete")
        if kept is None or kept[0][0] is not flow or kept[0][1] is not supports or kept[0][2] != state[2]:
            kept = state, IncompleteModel(flow, supports, origin)
            vars(self)["_incomplete"] = kept
        return kept[1]

    def _check_incomplete(self, X: ArrayLike) -> Floats:
        """Check X, which may have missing cells."""
        return self._check_columns(X, check=functools.partial(check_numbers, missing=True))

    def _scores_of_incomplete(self, X: ArrayLike, context: ArrayLike | None) -> Scores:
        """Log-densities of rows with missing cells, in the dtype of the flow. Warn of those that cannot be trusted."""
        x = self._check_incomplete(X)
        scores = self._incomplete_model().score(x, self._check_context(context, len(x)))
        n_doubtful = np.count_nonzero(scores.doubtful)
        if n_doubtful:
            warn_user(
                f"the log-density of {n_doubtful} row(s) with missing cells cannot be trusted: importance sampling had fewer "
                "than 20 effective draws. return_error=True of score_samples gives standard errors"
            )
        dtype = self._fitted_flow().dtype
        return scores._replace(
            log_density=scores.log_density.astype(dtype), std=scores.std.astype(dtype), error=scores.error.astype(dtype)
        )

    def _all_scores(self, X: ArrayLike, context: ArrayLike | None, return_std: bool, return_error: bool) -> Any:
        """What `score_samples` returns: log-densities, and if asked for their deviations over members and standard errors."""
        if self._takes_missing(X):
            scores = self._scores_of_incomplete(X, context)
            found = [scores.log_density, scores.std, scores.error]
        elif return_std:
            log_density, std = self._log_density_and_std(X, context)
            found = [log_density, std, np.zeros_like(std)]
        else:
            log_density = self._log_density(X, context)
            found = [log_density, log_density, np.zeros_like(log_density)]
        wanted = [found[0], *([found[1]] * return_std), *([found[2]] * return_error)]
        return wanted[0] if len(wanted) == 1 else tuple(wanted)

    def _log_density(self, X: ArrayLike, context: ArrayLike | None) -> Floats:
        """Log-density of X, with respect to counting measure in columns of whole numbers."""
        if self._takes_missing(X):
            return self._scores_of_incomplete(X, context).log_density
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
