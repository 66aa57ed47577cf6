"""scikit-learn's conventions for estimators, without scikit-learn.

Nearly all that scikit-learn asks of an estimator is a matter of names. Its tags and its NotFittedError are classes of
its own: they are used when scikit-learn is there to ask for them, and nothing here imports it before.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from nvpflow._sklearn.feature_names import as_row, check_feature_names, to_frame, transform_output
from nvpflow._sklearn.metadata_routing import MetadataConsumer
from nvpflow._sklearn.parameters import check_parameters
from nvpflow._training.context import clip_context
from nvpflow._training.dataset import check_numbers
from nvpflow._typing import ArrayLike
from nvpflow._validation.arguments import check_choice
from nvpflow._validation.arrays import as_array, check_samples

__all__ = ["Estimator", "NotFittedError", "Transformer"]

# What only some fits learn, so that a later one must not leave it behind.
OPTIONAL_ATTRIBUTES = (
    "_stream",
    "_context_units",
    "context_feature_names_in_",
    "context_origin_",
    "context_range_",
    "feature_names_in_",
)


class NotFittedError(ValueError, AttributeError):
    """The estimator was used before `fit`.

    In a program that has imported scikit-learn it is a ``sklearn.exceptions.NotFittedError``, too.
    """

    def __new__(cls, *args):
        exceptions = sys.modules.get("sklearn.exceptions")
        made = _join(cls, exceptions.NotFittedError) if exceptions else cls  # type: ignore[arg-type]
        return super().__new__(made, *args)

    def __reduce__(self):  # by the public name: nothing can import a class that was made at run time
        return NotFittedError, self.args


@functools.cache
def _join(ours, theirs):
    return type(ours.__name__, (ours, theirs), {"__module__": ours.__module__, "__doc__": ours.__doc__})


class Estimator(MetadataConsumer):
    """Parameters, tags, and the check of what comes after `fit`.

    A subclass has a `flow_` when it is fitted, and `n_features_in_`.
    """

    _estimator_type: str | None = None
    _parameter_checks: dict[str, Any]
    n_features_in_: int
    feature_names_in_: npt.NDArray[np.object_]
    context_feature_names_in_: npt.NDArray[np.object_]

    @classmethod
    def _parameter_names(cls):
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters of the constructor and their values, as scikit-learn wants them.

        Parameters
        ----------
        deep : ignored
            No parameter is an estimator.

        Returns
        -------
        params : dict of str to object
        """
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the constructor.

        Parameters
        ----------
        **params : object
            Values by name. `fit` checks them.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no such parameter; nothing has changed then.
        """
        names = self._parameter_names()
        for name in params:
            if name not in names:
                raise ValueError(
                    f"Invalid parameter {name!r} for {type(self).__name__}; valid parameters are {', '.join(names)}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def _changed_params(self):
        """The parameters that are not the defaults."""
        defaults = inspect.signature(type(self).__init__).parameters
        return {
            name: value
            for name, value in self.get_params().items()
            if type(value) is not type(defaults[name].default) or value != defaults[name].default
        }

    def __repr__(self):
        changed = ", ".join(f"{name}={value!r}" for name, value in self._changed_params().items())
        return f"{type(self).__name__}({changed})"

    def _repr_html_(self):
        from nvpflow._display import estimator_html

        return estimator_html(self)

    def __sklearn_tags__(self):
        """What scikit-learn (from 1.6) wants to know of an estimator. Only scikit-learn calls this."""
        from sklearn.utils import Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]) if isinstance(self, Transformer) else None,
        )

    def __sklearn_clone__(self) -> Self:
        """An estimator of the same parameters, not fitted, for `sklearn.base.clone`."""
        twin = type(self)(**copy.deepcopy(self.get_params()))
        for name in ("_output_container", "_requests"):  # set_output, and requests for metadata
            if name in vars(self):
                setattr(twin, name, copy.deepcopy(getattr(self, name)))
        return twin

    def _check_parameters(self):
        """Raise TypeError or ValueError if a parameter is unfit, whether or not the others make use of it."""
        check_parameters(self, self._parameter_checks)

    def _keep(self, fitted, n_features, names, context_names=None):
        """Put what was learned, a dict, in place of what was learned before: in one step, for threads that read meanwhile."""
        attributes = {name: value for name, value in vars(self).copy().items() if name not in OPTIONAL_ATTRIBUTES}
        attributes |= fitted | {"n_features_in_": n_features}
        for name, value in (("feature_names_in_", names), ("context_feature_names_in_", context_names)):
            if value is not None:
                attributes[name] = value
        self.__dict__ = attributes

    def __getstate__(self):
        """The attributes as they are at one moment, though another thread should be fitting."""
        return vars(self).copy()

    def _fitted_flow(self):
        if not hasattr(self, "flow_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet: call fit first")
        return self.flow_

    def _origin(self, name="origin_"):
        """What is subtracted from X, or from the context, before `flow_` reads it; None if nothing is."""
        origin = getattr(self, name, None)  # files of old have none
        return origin if origin is not None and origin.any() else None

    def _to_own_units(self, x):
        """What `flow_` makes, as samples."""
        origin = self._origin()
        return x if origin is None else x + origin

    def _check_samples(self, X, name="X"):
        """X as the fitted flow reads it: finite, with the columns that it knows, in its dtype."""
        flow, origin = self._fitted_flow(), self._origin() if name == "X" else None
        if origin is None:
            return self._check_columns(X, name, check_samples)
        return (self._check_columns(X, name, check_numbers) - origin).astype(flow.dtype)

    def _check_columns(self, X, name="X", check=check_numbers):
        """X with the columns that the fitted flow knows, in its own precision or what else `check` gives it."""
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

    def _check_context(self, context, n):
        """The context of n samples as the fitted flow reads it: within the range of training, in its dtype."""
        context, flow = self._check_context_rows(context, n), self._fitted_flow()
        if context is None:
            return None
        limits, origin = getattr(self, "context_range_", None), self._origin("context_origin_")
        if limits is not None:
            context = clip_context(context, limits, getattr(self, "context_feature_names_in_", None))
        return np.ascontiguousarray(context if origin is None else context - origin, flow.dtype)

    def _check_context_rows(self, context, n):
        """The context of n samples in its own precision, finite: n rows, or one that stands for all."""
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
        context = as_array("context", context)
        if context.shape == (n_columns,):
            context = context[np.newaxis]
        checked = check_numbers("context", context, flow.dtype, minimum=min(n, 1))
        if checked.shape not in ((1, n_columns), (n, n_columns)):
            raise ValueError(
                f"context must have shape ({n}, {n_columns}), or ({n_columns},) or (1, {n_columns}) for all samples, "
                f"got {context.shape}"
            )
        return np.broadcast_to(checked, (n, n_columns))


class Transformer(Estimator):
    """`fit_transform`, and frames as the output of `transform`."""

    def fit_transform(
        self, X: ArrayLike, y: object = None, *, context: ArrayLike | None = None, **fit_params: Any
    ) -> Any:  # as `transform`
        """Fit to X, then transform it. See `fit` and `transform`.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
        y : ignored
        context : array_like of real numbers, shape (n, C), optional
        **fit_params : object
            Further arguments of `fit`.

        Returns
        -------
        Z : ndarray, shape (n, D)
            Or a frame, as `set_output` says.

        Raises
        ------
        TypeError, ValueError
            As `fit`.
        """
        return self.fit(X, y, context=context, **fit_params).transform(X, context=context)  # type: ignore[attr-defined]

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> npt.NDArray[np.object_]:
        """Names of the columns of `transform`'s output: the class's in lower case, and a number.

        Parameters
        ----------
        input_features : array_like of str, shape (D,), optional
            Only checked.

        Returns
        -------
        names : ndarray of str objects, shape (D,)

        Raises
        ------
        NotFittedError
        ValueError
            If `input_features` are not those of `fit`, or not as many.
        """
        self._fitted_flow()
        n_features = self.n_features_in_
        if input_features is not None:
            given, fitted = np.asarray(input_features, dtype=object), getattr(self, "feature_names_in_", None)
            if fitted is not None and not np.array_equal(fitted, given):
                raise ValueError("input_features is not equal to feature_names_in_")
            if len(given) != n_features:
                raise ValueError(
                    f"input_features should have length equal to number of features ({n_features}), got {len(given)}"
                )
        return np.array([f"{type(self).__name__.lower()}{i}" for i in range(n_features)], dtype=object)

    def set_output(self, *, transform: Literal["default", "pandas", "polars"] | None = None) -> Self:
        """What `transform` and `sample` return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            "default" is an ndarray; None leaves it as it is.

        Returns
        -------
        self

        Raises
        ------
        ValueError
        """
        if transform is not None:
            self._output_container = check_choice("transform", transform, ("default", "pandas", "polars"))
        return self

    def _output(self, array, X):
        """Latent points of X as `set_output` says."""
        kind = transform_output(self)
        return array if kind == "default" else to_frame(kind, array, self.get_feature_names_out(), X)

    def _data_output(self, array):
        """Samples as `set_output` says."""
        kind = transform_output(self)
        if kind == "default":
            return array
        return to_frame(kind, array, getattr(self, "feature_names_in_", [f"x{i}" for i in range(array.shape[1])]), None)
