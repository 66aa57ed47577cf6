"""The column names of data frames, checked as in scikit-learn."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from nvpflow._typing import Names
from nvpflow._warnings import warn_user

__all__ = ["as_row", "check_feature_names", "feature_names", "other_labels"]

MOST_NAMES = 5  # in a message


def feature_names(X: object) -> Names | None:
    """The column names of a frame, (D,) of str. None if X has none, or if they are not strings."""
    if not hasattr(X, "__array__"):  # a lazy frame would be computed for its names
        return None
    # In a table of pyarrow, column_names has the names and columns the data.
    names = getattr(X, "column_names", getattr(X, "columns", None))
    if names is None or callable(names) or len(names) == 0:
        return None
    types = sorted({type(name).__qualname__ for name in names})
    if types == ["str"]:
        return np.asarray(names, dtype=object)
    if "str" in types:
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your input has "
            f"{types} as feature name / column name types. Convert them all to strings, by "
            "X.columns = X.columns.astype(str) for example, or all to another type."
        )
    return None


def other_labels(X: Any) -> tuple[Any, ...] | None:
    """The labels of the columns of a pandas frame if they are no texts: numbers, pairs. None for anything else."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(X, pandas.DataFrame) or all(isinstance(label, str) for label in X.columns):
        return None
    return tuple(X.columns.tolist())


def as_row(x: Any, n_columns: int) -> Any:
    """Convert a row of a pandas frame, a Series with the column names as its index, to a frame. Return others unchanged."""
    is_row = hasattr(x, "to_frame") and hasattr(x, "index") and np.shape(x) == (n_columns,)
    return x.to_frame().T if is_row else x


def check_feature_names(estimator: object, X: object, name: str = "X") -> None:
    """Compare the names of X, or the context, with those of the fit. The messages are worded as in scikit-learn."""
    attribute, of_context = ("feature_names_in_", "") if name == "X" else ("context_feature_names_in_", " of context")
    fitted, given, who = getattr(estimator, attribute, None), feature_names(X), type(estimator).__name__
    if fitted is None and given is None:
        return
    if fitted is None:
        warn_user(f"{name} has feature names, but {who} was fitted without feature names{of_context}")
    elif given is None:
        warn_user(f"{name} does not have valid feature names, but {who} was fitted with feature names{of_context}")
    elif not np.array_equal(fitted, given):
        unseen, missing = sorted(set(given) - set(fitted)), sorted(set(fitted) - set(given))
        message = f"The feature names{of_context} should match those that were passed during fit.\n"
        message += _listed("Feature names unseen at fit time:", unseen)
        message += _listed("Feature names seen at fit time, yet now missing:", missing)
        if not unseen and not missing:
            message += "Feature names must be in the same order as they were in fit.\n"
        raise ValueError(message)


def _listed(heading: str, names: list[str]) -> str:
    lines = [heading, *(f"- {name}" for name in names[:MOST_NAMES]), *["- ..."] * (len(names) > MOST_NAMES)]
    return "\n".join(lines) + "\n" if names else ""
