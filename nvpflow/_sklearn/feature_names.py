"""Data frames, as scikit-learn treats them: their column names are checked, and `transform` can make them."""

import sys

import numpy as np

from nvpflow._warnings import warn_user

__all__ = ["as_row", "check_feature_names", "feature_names", "to_frame", "transform_output"]


def feature_names(X):
    """The column names of a frame, (D,) of str, or None if X has none or they are not strings."""
    if not hasattr(X, "__array__"):  # a lazy frame would have to be computed for its names
        return None
    # A table of pyarrow calls its names column_names and its data columns.
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


def as_row(x, n_columns):
    """A row of a frame of pandas, which is a Series with the columns' names as its index, as a frame; others as they are."""
    is_row = hasattr(x, "to_frame") and hasattr(x, "index") and np.shape(x) == (n_columns,)
    return x.to_frame().T if is_row else x


def check_feature_names(estimator, X, name="X"):
    """Compare the names of X, or the context, with those that the estimator was fitted with; the words are scikit-learn's."""
    attribute, of_context = ("feature_names_in_", "") if name == "X" else ("context_feature_names_in_", " of context")
    fitted, given = getattr(estimator, attribute, None), feature_names(X)
    who = type(estimator).__name__
    if fitted is None and given is not None:
        warn_user(f"{name} has feature names, but {who} was fitted without feature names{of_context}")
    elif fitted is not None and given is None:
        warn_user(f"{name} does not have valid feature names, but {who} was fitted with feature names{of_context}")
    elif fitted is not None and not np.array_equal(fitted, given):
        unseen, missing = sorted(set(given) - set(fitted)), sorted(set(fitted) - set(given))
        message = f"The feature names{of_context} should match those that were passed during fit.\n"
        if unseen:
            message += "Feature names unseen at fit time:\n" + _bullets(unseen)
        if missing:
            message += "Feature names seen at fit time, yet now missing:\n" + _bullets(missing)
        if not unseen and not missing:
            message += "Feature names must be in the same order as they were in fit.\n"
        raise ValueError(message)


def _bullets(names, at_most=5):
    return "".join(f"- {name}\n" for name in names[:at_most]) + "- ...\n" * (len(names) > at_most)


def transform_output(estimator):
    """What `transform` returns: "default" (an ndarray), "pandas" or "polars".

    The estimator's own `set_output` comes first, then ``sklearn.set_config(transform_output=...)``.
    """
    container = getattr(estimator, "_output_container", None)
    if container is not None:
        return container
    sklearn = sys.modules.get("sklearn")
    return sklearn.get_config()["transform_output"] if sklearn else "default"


def to_frame(kind, array, names, X):
    """`array` as a frame of that kind; one of pandas takes over the index of X."""
    if kind == "pandas":
        import pandas

        index = X.index if isinstance(X, (pandas.DataFrame, pandas.Series)) else None
        return pandas.DataFrame(array, index=index, columns=names)
    import polars

    return polars.DataFrame(array, schema=list(names), orient="row")
