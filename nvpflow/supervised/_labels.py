"""The target of a classifier or a regressor: one-dimensional, and for a classifier with labels."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Ints
from nvpflow._validation.arguments import shown
from nvpflow._validation.arrays import as_array
from nvpflow._warnings import warn_user
from nvpflow.supports._category import is_missing

__all__ = ["as_target", "codes_of", "encode_labels"]

COLUMN = "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,)"


def as_target(y: Any, who: str) -> npt.NDArray[Any]:
    """Convert y to an array (n,) or (n, T). None is an error."""
    if y is None:
        raise ValueError(f"{who} requires y to be passed, but the target y is None")
    if isinstance(y, (list, tuple)) and any(isinstance(value, str) for value in y):
        return np.array(y, dtype=object)  # NumPy would turn numbers beside texts into texts
    target = as_array("y", y)
    if target.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: y must be real, got dtype {target.dtype}")
    if target.ndim not in (1, 2):
        raise ValueError(f"y should be a 1d array, got an array of shape {target.shape} instead")
    return target


def flattened(target: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A column (n, 1) as (n,), with a warning, in scikit-learn's words and of its category if that is imported."""
    if target.ndim == 2 and target.shape[1] == 1:
        exceptions = sys.modules.get("sklearn.exceptions")
        warn_user(COLUMN, exceptions.DataConversionWarning if exceptions else UserWarning)
        return target[:, 0]
    if target.ndim != 1:
        raise ValueError(f"y should be a 1d array, got an array of shape {target.shape} instead")
    return target


def encode_labels(y: Any, who: str) -> tuple[npt.NDArray[Any], Ints]:
    """The sorted classes (C,) and the code (n,) of each label, its place among them."""
    target = flattened(as_target(y, who))
    if target.dtype.kind == "f":
        if not np.isfinite(target).all():
            raise ValueError("y must hold labels, got NaN or infinity")
        if (target != np.rint(target)).any():
            raise ValueError(
                "Unknown label type: continuous. y must hold labels, got floating-point numbers that are not whole; "
                "FlowRegressor has targets of real numbers"
            )
    elif target.dtype.kind not in "iubUSO":
        raise ValueError(f"Unknown label type: y must hold whole numbers, bools or texts, got dtype {target.dtype}")
    if target.dtype == object:
        missing = [row for row, value in enumerate(target) if is_missing(value)]
        if missing:
            raise ValueError(f"y must hold labels, got {shown(target[missing[0]])} in row {missing[0]}")
    try:
        classes, codes = np.unique(target, return_inverse=True)
    except TypeError as error:
        raise ValueError(f"Unknown label type: y must hold labels of one type that can be sorted: {error}") from error
    if len(classes) < 2:
        raise ValueError(
            f"y must hold at least 2 classes, got one class, {shown(classes[:1].tolist()[0]) if len(classes) else None}"
        )
    return classes, codes.reshape(-1)


def codes_of(y: Any, classes: npt.NDArray[Any], who: str) -> Ints:
    """The code (n,) of each label, -1 for one that is none of the classes."""
    target = flattened(as_target(y, who))
    places = {value: code for code, value in enumerate(classes.tolist())}
    return np.array([places.get(value, -1) for value in target.tolist()], dtype=np.intp)
