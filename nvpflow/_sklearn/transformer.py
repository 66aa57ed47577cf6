"""scikit-learn's conventions for transformers: `fit_transform`, and data frames as the output of `transform`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np

from nvpflow._sklearn.available import of_one_flow
from nvpflow._sklearn.estimator import Estimator
from nvpflow._typing import ArrayLike, Bools, Floats, Ints, Names
from nvpflow._validation.arguments import check_choice
from nvpflow.supports._frame import ARRAY, Frame

__all__ = ["Transformer"]


class Transformer(Estimator):
    """Base class of estimators with a method `transform`, whose output has as many columns as its input."""

    fit: Callable[..., Any]
    _output_container: str

    @of_one_flow
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
        return self.fit(X, y, context=context, **fit_params).transform(X, context=context)

    @of_one_flow
    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Names:
        """Names of the output columns of `transform`: the name of the class in lower case, and a number.

        Parameters
        ----------
        input_features : array_like of str, shape (D,), optional
            Checked, but otherwise not used.

        Returns
        -------
        names : ndarray of str objects, shape (D,)

        Raises
        ------
        NotFittedError
        ValueError
            If `input_features` differ from those of `fit` in name or number.
        """
        self._fitted_flow()
        n_features = self.n_features_in_
        if input_features is not None:
            given: Names = np.asarray(input_features, dtype=object)
            if not np.array_equal(getattr(self, "feature_names_in_", given), given):
                raise ValueError("input_features is not equal to feature_names_in_")
            if len(given) != n_features:
                raise ValueError(
                    f"input_features should have length equal to number of features ({n_features}), got {len(given)}"
                )
        return np.array([f"{type(self).__name__.lower()}{i}" for i in range(n_features)], dtype=object)

    def set_output(self, *, transform: Literal["default", "pandas", "polars"] | None = None) -> Self:
        """Set the output type of `transform` and `sample`.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, optional
            "default": an ndarray. None: no change.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `transform` is none of these.
        """
        if transform is not None:
            self._output_container = check_choice("transform", transform, ("default", "pandas", "polars"))
        return self

    def _output(self, array: Floats, X: ArrayLike) -> Any:
        """Convert latent points of X to the type of `set_output`."""
        return self._as_frame(array, self.get_feature_names_out(), X)

    def _data_output(self, x: Floats, codes: Ints | None = None) -> Any:
        """Convert samples, numbers and codes of categories, to the type of `set_output`, or else to a frame like that of
        `fit`."""
        categories, frame = self._known_categories(), getattr(self, "_frame", None)
        n_columns = x.shape[1] if categories is None else categories.coding.n_columns
        labels = frame.labels if isinstance(frame, Frame) else None
        names = getattr(self, "feature_names_in_", labels or [f"x{i}" for i in range(n_columns)])
        kind = self._output_kind()
        is_like = isinstance(frame, Frame) and kind in (None, frame.library) and frame.library != ARRAY
        x = self._of_types(x, np.dtype(np.float64) if is_like else x.dtype)
        columns = list(x.T) if categories is None or codes is None else categories.columns(x, codes)
        if isinstance(frame, Frame) and is_like:
            return frame.build(columns, names)
        if categories is None or codes is None:
            return self._as_frame(x, names)
        if kind in ("pandas", "polars"):
            library = importlib.import_module(kind)
            return library.DataFrame(dict(zip(map(str, names), columns)))
        return categories.array(x, codes)

    def _is_whole(self) -> Bools:
        """Which of all columns have a support of whole numbers."""
        categories, supports = self._known_categories(), self._known_supports()
        others = slice(None) if categories is None else categories.coding.others
        is_whole = np.zeros(self.n_features_in_, dtype=bool)
        if supports is not None:
            is_whole[others] = supports.is_whole
        return is_whole

    def _output_kind(self) -> str | None:
        """What `set_output`, or else ``sklearn.set_config``, says: None if neither says anything."""
        sklearn = sys.modules.get("sklearn")
        default = sklearn.get_config()["transform_output"] if sklearn else "default"
        kind: str | None = getattr(self, "_output_container", None if default == "default" else default)
        return kind

    def _as_frame(self, array: Floats, names: Names | Sequence[Any], X: ArrayLike | None = None) -> Any:
        """Return the array, or a frame with column names, according to `set_output` or else ``sklearn.set_config``."""
        kind = self._output_kind()
        if kind == "pandas":
            import pandas

            index = X.index if isinstance(X, (pandas.DataFrame, pandas.Series)) else None
            return pandas.DataFrame(array, index=index, columns=names)
        if kind == "polars":
            import polars

            return polars.DataFrame(array, schema=[str(name) for name in names], orient="row")
        return array
