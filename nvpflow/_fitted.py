"""The fitted state of an estimator, and how it reads samples and contexts."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from nvpflow._sklearn.feature_names import as_row, check_feature_names
from nvpflow._training.context import clip_context
from nvpflow._training.dataset import check_numbers
from nvpflow._typing import ArrayLike, FloatDType, Floats, Names
from nvpflow._validation.arguments import FLOAT64, check_dtype
from nvpflow._validation.arrays import as_array, check_samples
from nvpflow._warnings import warn_user
from nvpflow.ensemble import log_prob_and_std
from nvpflow.missing._rows import has_missing
from nvpflow.supports._category import is_missing
from nvpflow.supports._encoding import as_rows
from nvpflow.supports._kinds import REALS
from nvpflow.supports._tables import take_apart

if TYPE_CHECKING:
    from nvpflow.ensemble import FlowEnsemble
    from nvpflow.flow import Flow
    from nvpflow.missing._model import IncompleteModel, Scores
    from nvpflow.missing._table import IncompleteTable
    from nvpflow.supports._categories import Categories
    from nvpflow.supports._encoding import ContextEncoding
    from nvpflow.supports._fitted import Supports
    from nvpflow.supports._frame import Frame

__all__ = ["FittedModel", "NotFittedError"]

# Attributes that only some fits set. A later fit must remove those of an earlier one.
OPTIONAL_ATTRIBUTES = (
    "_stream",
    "_categories",
    "_context_units",
    "_encoding",
    "_frame",
    "_supports",
    "context_feature_names_in_",
    "context_origin_",
    "context_range_",
    "feature_names_in_",
    "levels_",
    "refinement_",
    "search_",
)

CACHES = ("_incomplete",)
LARGEST_NORM = 1e37  # squared, of samples that are finite in float32, and for which it does not overflow
# With one of these, there is more to do than to subtract the origin.
NEEDS_MORE = frozenset(("_categories", "_encoding", "_frame", "_supports", "feature_names_in_"))
INCOMPLETE = "X must be finite, got NaN: {} needs complete rows even with missing='marginalize'; `impute` fills them"


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


class _Inputs(NamedTuple):
    """What a density is computed from."""

    x: Floats | None  # numbers for the flow, or for the sums of `Supports`; None without columns of numbers
    rows: Floats | None  # the context that the flow reads
    log_p: Floats | None  # log-probability of the categories; None without any


class FittedModel:
    """A model with a `flow_` once fitted. It converts samples and contexts to the inputs of that flow."""

    n_features_in_: int
    feature_names_in_: Names
    context_feature_names_in_: Names
    _frame: Frame

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
            self._check_fitted()
            raise ValueError(f"this {type(self).__name__} has no flow, because all columns of X are categories")
        return flow

    def _check_fitted(self) -> None:
        if not hasattr(self, "flow_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")

    def _flow_dtype(self) -> FloatDType:
        """The dtype of log-densities."""
        self._check_fitted()
        flow: Flow | FlowEnsemble | None = getattr(self, "flow_", None)
        return check_dtype(getattr(self, "dtype", "float32")) if flow is None else flow.dtype

    def _origin(self, name: str = "origin_") -> Floats | None:
        """The origin that is subtracted from X or the context before `flow_` reads it. None if it is zero."""
        origin: Floats | None = getattr(self, name, None)  # models from old files have none
        return origin if origin is not None and origin.any() else None

    def _to_own_units(self, x: Floats) -> Floats:
        """Add the origin to outputs of `flow_`."""
        origin, supports = self._origin(), self._known_supports()
        x = x if origin is None else x + origin
        return x if supports is None else supports.clipped(x)

    def _of_types(self, x: Floats, dtype: FloatDType) -> Floats:
        """The nearest numbers to x (..., R) that the types of the columns of `fit` hold, such as whole ones, in this dtype."""
        frame: Frame | None = getattr(self, "_frame", None)
        if frame is None:
            return x
        categories, supports = self._known_categories(), self._known_supports()
        columns = range(x.shape[-1]) if categories is None else categories.coding.others
        kinds = (REALS,) * x.shape[-1] if supports is None else supports.kinds
        return frame.nearest(x, kinds, columns).astype(dtype, copy=False)

    def _log_density_of_draws(self, x: Floats, log_p: Floats, rows: Floats | None) -> Floats:
        """Log-densities (n,) of outputs x (n, R) of the flow, where it has log_p, as samples: summed over cells and windings,
        and rounded for the types of a frame."""
        flow, supports, points = self._fitted_flow(), self._known_supports(), self._to_own_units(x)
        typed = self._of_types(points, FLOAT64)
        if supports is not None and supports.is_sum:
            return supports.log_masses(flow, typed.astype(np.float64), self._origin(), rows)
        return log_p if np.array_equal(typed, points) else flow.log_prob(self._to_flow(typed), rows)

    def _known_supports(self) -> Supports | None:
        """The supports of the columns of X. None if all are real."""
        supports: Supports | None = getattr(self, "_supports", None)
        return supports

    def _known_categories(self) -> Categories | None:
        """The columns of X that are categories. None if there are none."""
        categories: Categories | None = getattr(self, "_categories", None)
        return categories

    def _known_encoding(self) -> ContextEncoding | None:
        """The encoding of a context with categories or angles. None if it is read as it is."""
        encoding: ContextEncoding | None = getattr(self, "_encoding", None)
        return encoding

    def _refuse_categories(self, method: str) -> None:
        """Raise a ValueError if columns of X are categories."""
        categories = self._known_categories()
        if categories is not None:
            columns = ", ".join(categories.coding.labels[:10])
            raise ValueError(f"{method} needs columns of real numbers, and column(s) {columns} of X are categories")

    def _check_samples(self, X: ArrayLike, name: str = "X") -> Floats:
        """Check X and convert it to the input of the flow: finite, with the columns of the fit, in the flow's dtype."""
        if name == "X":
            self._refuse_missing(X, "this method")
        return self._read_samples(X, name)

    def _read_samples(self, X: ArrayLike, name: str = "X") -> Floats:
        """`_check_samples` where it is known that the model does not take missing cells, or that X has none."""
        origin, supports = self._origin(), self._known_supports()
        if name != "X" or (origin is None and supports is None):
            return self._check_columns(X, name, check_samples)
        return self._to_flow(self._check_columns(X, name, check_numbers))

    def _to_flow(self, x: Floats) -> Floats:
        """Convert checked numbers to the input of the flow."""
        flow, origin, supports = self._fitted_flow(), self._origin(), self._known_supports()
        x = x if supports is None else supports.marked(x)
        return (x if origin is None else x - origin).astype(flow.dtype)

    def _takes_missing(self, X: ArrayLike) -> bool:
        """Whether X has missing cells, and the model takes them."""
        return bool(getattr(self, "missing", "error") == "marginalize") and self._has_missing(X)

    def _has_missing(self, X: ArrayLike) -> bool:
        categories = self._known_categories()
        if categories is None:
            return has_missing(X)
        try:
            parts = take_apart("X", X, categories.coding.columns)
        except (TypeError, ValueError, IndexError):  # for others to say
            return False
        return has_missing(parts.numbers) or any(is_missing(value) for values in parts.values for value in values)

    def _refuse_missing(self, X: ArrayLike, what: str) -> None:
        """Raise a ValueError that says what to do, where missing cells are allowed elsewhere."""
        if self._takes_missing(X):
            raise ValueError(INCOMPLETE.format(what))

    def _incomplete_model(self) -> IncompleteModel | IncompleteTable:
        """The model for rows with missing cells, which is kept while the parameters stay the same."""
        from nvpflow.missing._model import IncompleteModel
        from nvpflow.missing._table import IncompleteTable

        self._check_fitted()
        flow: Flow | FlowEnsemble | None = getattr(self, "flow_", None)
        supports, categories = self._known_supports(), self._known_categories()
        flows = () if flow is None else getattr(flow, "flows", (flow,))
        state = (flow, supports, categories), [one.parameters.tobytes() for one in flows]
        kept: tuple[Any, IncompleteModel | IncompleteTable] | None = vars(self).get("_incomplete")
        if kept is None or any(a is not b for a, b in zip(kept[0][0], state[0])) or kept[0][1] != state[1]:
            model = None if flow is None else IncompleteModel(flow, supports, self._origin())
            if categories is not None:
                kept = state, IncompleteTable(model, categories, self._flow_dtype())
            else:
                kept = state, cast(IncompleteModel, model)
            vars(self)["_incomplete"] = kept
        return kept[1]

    def _check_incomplete(self, X: ArrayLike) -> Floats:
        """Check X, which may have missing cells. With categories: the columns of numbers, and then the codes."""
        categories = self._known_categories()
        if categories is None:
            return self._check_columns(X, check=functools.partial(check_numbers, missing=True))
        from nvpflow.missing._table import with_codes

        check_feature_names(self, X)
        numbers, codes = categories.read(X, missing=True)
        empty = np.empty((len(codes), 0))
        return with_codes(check_numbers("X", numbers, self._flow_dtype(), missing=True) if numbers.shape[1] else empty, codes)

    def _context_of_incomplete(self, context: ArrayLike | None, n: int) -> Floats | None:
        """The context of n rows. A model with categories has none, and its flow reads the codes."""
        return self._check_context(context, n) if self._known_categories() is None else self._check_context_rows(context, n)

    def _scores_of_incomplete(self, X: ArrayLike, context: ArrayLike | None) -> Scores:
        """Log-densities of rows with missing cells, in the dtype of the flow. Warn of those that cannot be trusted."""
        x = self._check_incomplete(X)
        scores = self._incomplete_model().score(x, self._context_of_incomplete(context, len(x)))
        n_doubtful = np.count_nonzero(scores.doubtful)
        if n_doubtful:
            warn_user(
                f"the log-density of {n_doubtful} row(s) with missing cells cannot be trusted: importance sampling had fewer "
                "than 20 effective draws. return_error=True of score_samples gives standard errors"
            )
        dtype = self._flow_dtype()
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
            log_density = self._log_density_of_complete(X, context)
            found = [log_density, log_density, np.zeros_like(log_density)]
        wanted = [found[0], *([found[1]] * return_std), *([found[2]] * return_error)]
        return wanted[0] if len(wanted) == 1 else tuple(wanted)

    def _inputs(self, X: ArrayLike, context: ArrayLike | None) -> _Inputs:
        """Check samples without missing cells and their context."""
        self._check_fitted()
        supports, categories = self._known_supports(), self._known_categories()
        is_sum = supports is not None and supports.is_sum
        if categories is None:
            x = self._check_columns(X) if is_sum else self._read_samples(X)
            return _Inputs(x, self._check_context(context, len(x)), None)
        check_feature_names(self, X)
        numbers, codes = categories.read(X)
        log_p = categories.log_prob(codes)
        if not categories.coding.others:
            self._check_context_rows(context, len(codes))
            return _Inputs(None, None, log_p)
        x = check_numbers("X", numbers, self._flow_dtype())
        rows = categories.rows(self._check_context(context, len(x)), codes, self._flow_dtype())
        return _Inputs(x if is_sum else self._to_flow(x), rows, log_p)

    def _log_density(self, X: ArrayLike, context: ArrayLike | None) -> Floats:
        """Log-density of X, with respect to counting measure in columns of whole numbers and categories."""
        if self._takes_missing(X):
            return self._scores_of_incomplete(X, context).log_density
        return self._log_density_of_complete(X, context)

    def _log_density_of_complete(self, X: ArrayLike, context: ArrayLike | None) -> Floats:
        return self._log_density_of(self._inputs(X, context))

    def _log_density_of_table(self, table: Floats, rows: Floats | None) -> Floats:
        """The same of checked rows, columns of numbers and then codes, with the context (n, C) that the flow reads."""
        supports, categories, log_p = self._known_supports(), self._known_categories(), None
        x = table
        if categories is not None:
            x, codes = np.split(table, [len(categories.coding.others)], axis=1)
            codes = codes.astype(np.intp)
            rows, log_p = categories.rows(rows, codes, self._flow_dtype()), categories.log_prob(codes)
        is_sum = supports is not None and supports.is_sum
        return self._log_density_of(_Inputs(x if is_sum else self._to_flow(x), rows, log_p))

    def _log_density_of(self, inputs: _Inputs) -> Floats:
        x, rows, log_p = inputs
        supports, dtype = self._known_supports(), self._flow_dtype()
        if x is None or supports is None or not supports.is_sum:
            found = np.zeros(0 if log_p is None else len(log_p)) if x is None else self._fitted_flow().log_prob(x, rows)
        else:
            found = supports.log_masses(self._fitted_flow(), x, self._origin(), rows)
        return (found if log_p is None else found + log_p).astype(dtype, copy=False)

    def _log_density_of_plain(self, X: ArrayLike) -> Floats | None:
        """The log-density of an array of finite floats by a model of unnamed real columns, with the same bits as otherwise.

        None where something else is to be checked or converted: a few rows are scored in less time than that takes.
        """
        state = self.__dict__
        if type(X) is not np.ndarray or X.dtype.char not in "fd" or X.ndim != 2 or not NEEDS_MORE.isdisjoint(state):
            return None
        flow, origin = state.get("flow_"), state.get("origin_")
        if flow is None or origin is None or flow.context_dim or X.shape[1] != state["n_features_in_"]:
            return None
        if not len(X) or not np.vdot(X, X) < LARGEST_NORM:
            return None
        found: Floats = flow.log_prob((X - origin).astype(flow.dtype) if any(origin.tolist()) else X)
        return found

    def _log_density_and_std(self, X: ArrayLike, context: ArrayLike | None) -> tuple[Floats, Floats]:
        """The same, and its standard deviation over the members of an ensemble: zeros for a single flow."""
        x, rows, log_p = self._inputs(X, context)
        supports, dtype = self._known_supports(), self._flow_dtype()
        if x is None:
            found, std = np.zeros(0 if log_p is None else len(log_p)), np.zeros(0 if log_p is None else len(log_p))
        elif supports is None or not supports.is_sum:
            found, std = log_prob_and_std(self._fitted_flow(), lambda one: one.log_prob(x, rows))
        else:
            found, std = supports.log_masses_and_std(self._fitted_flow(), x, self._origin(), rows)
        found = found if log_p is None else found + log_p  # which all members share
        return found.astype(dtype, copy=False), std.astype(dtype, copy=False)

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
        rows = self._check_context_rows(context, n)
        if rows is None:
            return None
        n_columns, names, encoding = rows.shape[1], getattr(self, "context_feature_names_in_", None), self._known_encoding()
        limits, origin = getattr(self, "context_range_", None), self._origin("context_origin_")
        if limits is not None:
            if encoding is not None:
                sources = encoding.sources
                names = np.array(sources, dtype=object) if names is None else names[sources]
            rows = clip_context(rows, limits[:, :n_columns], names)
        return np.ascontiguousarray(rows if origin is None else rows - origin[:n_columns], self._flow_dtype())

    def _count_context(self) -> int:
        """The number of columns of a context."""
        categories, encoding = self._known_categories(), self._known_encoding()
        if encoding is not None:
            return encoding.n_columns
        if categories is None:
            return self._fitted_flow().context_dim
        return 0 if not categories.coding.others else self._fitted_flow().context_dim - categories.width

    def _check_context_rows(self, context: ArrayLike | None, n: int) -> Floats | None:
        """Check the context of n samples: n finite rows, or one row for all, as numbers. Its precision is kept."""
        n_columns, encoding = self._count_context(), self._known_encoding()
        if context is None and n_columns == 0:
            return None
        if context is None:
            raise ValueError(f"context must be given, as to fit: {n_columns} column(s)")
        if n_columns == 0:
            raise ValueError(
                f"context must be None, as {type(self).__name__} was fitted without, got a {type(context).__name__}"
            )
        names = getattr(self, "context_feature_names_in_", None)
        is_dict = isinstance(context, Mapping)
        if is_dict or encoding is not None:
            context = as_rows(context, names, n_columns)
        if not is_dict:
            context = as_row(context, n_columns)
            check_feature_names(self, context, "context")
        if encoding is not None:
            checked = encoding.read(context, self._flow_dtype())
        else:
            rows: npt.NDArray[Any] = as_array("context", context)
            if rows.shape == (n_columns,):
                rows = rows[np.newaxis]
            checked = check_numbers("context", rows, self._flow_dtype(), minimum=min(n, 1))
        if len(checked) not in (1, n) or (encoding is None and checked.shape[1] != n_columns):
            raise ValueError(
                f"context must have shape ({n}, {n_columns}), or ({n_columns},) or (1, {n_columns}) for all samples, "
                f"got {(len(checked), n_columns) if encoding is not None else checked.shape}"
            )
        return np.broadcast_to(checked, (n, checked.shape[1]))
