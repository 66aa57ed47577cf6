"""Convert inputs to NumPy arrays."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nvpflow._typing import FloatDType, Floats
from nvpflow._validation.cells import CellError

__all__ = ["TIMES", "Labelled", "as_array", "check_samples", "column_label", "without_masks"]

TIMES = (
    ". Convert times to numbers first, such as days since the first one; hours of a day or days of a year can be declared as "
    "an Angle. Or leave the column out"
)
TEXTS_OF_NUMBERS = ": convert texts of numbers to numbers first"
TEXTS = ". NumPy makes texts of numbers beside texts: pass a frame, a list of rows, or an array with dtype=object"


class Labelled(np.ndarray[Any, Any]):
    """An array whose columns messages call by other numbers than its own, such as some columns of a table, or by names."""

    labels: Sequence[str] | None = None

    @classmethod
    def of(cls, table: npt.NDArray[Any], labels: Sequence[object] | npt.NDArray[Any]) -> Labelled:
        """The columns of a table (n, D) with D labels: numbers of columns, or names."""
        found = table.view(cls)
        found.labels = [f"{label!r:.50}" for label in labels]
        return found


def as_array(name: str, x: object) -> npt.NDArray[Any]:
    """Convert `x` to an ndarray of any dtype and shape. The binding calls this for inputs that are not ndarrays.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    x : array_like, or an object in CPU memory with `__array__` or `__dlpack__`
        Such as data frames of pandas and polars, PyTorch tensors without gradient, JAX arrays.

    Raises
    ------
    TypeError
        If x is sparse, or cannot be converted, such as a tensor that requires gradients or is on another device.
    ValueError
        If x is a sequence of sequences of different lengths, or a masked array with masked elements.
    """
    if name.startswith("X") and isinstance(x, (str, os.PathLike)):
        raise TypeError(
            f"{name} must be an array of real numbers, got {x!r:.200}: only fit, score and score_samples of FlowDensity read "
            "files"
        )
    if _has_masked_elements(x):
        raise ValueError(f"{name} must have no masked elements: fill them, or leave their rows out")
    if hasattr(x, "nnz") and hasattr(x, "toarray"):
        raise TypeError(f"{name} must be dense, got a sparse {type(x).__name__}: use {name}.toarray()")
    _refuse_times(name, x)
    try:
        # NumPy would wrap an object that supports only DLPack in an array of objects.
        if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
            return np.from_dlpack(x)
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of real numbers: {error}") from error
    except (BufferError, RuntimeError, TypeError) as error:
        raise TypeError(f"{name} must be an array of real numbers, got a {type(x).__name__}: {error}") from error
    if array.dtype == object and array.ndim == 0:  # NumPy could not read the object
        raise TypeError(f"{name} must be an array of real numbers, got a {type(x).__name__}")
    return array


def check_samples(
    name: str, X: object, dtype: FloatDType, minimum: int = 1, *, missing: bool = False, source: object = None
) -> Floats:
    """Convert X to a contiguous array of that dtype. It must be finite, with shape (n, D) and n >= minimum.

    The messages are worded as in scikit-learn, which tests them. `missing`: cells may be NaN. `source`: what X was before it
    became an array, for the names of its columns in messages.
    """
    source = X if source is None else source
    X = as_array(name, X)
    if X.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} must be an array of real numbers, got dtype {X.dtype}")
    if X.dtype == object:
        X = _numbers(name, X, source)
    if X.dtype.kind not in "fiub":
        is_list = X.dtype.kind == "U" and isinstance(source, (list, tuple))
        hint = TIMES * (X.dtype.kind in "mM") + TEXTS * (X.dtype.kind == "U" and not is_list)
        hint += _first_object(name, np.array(source, dtype=object), source) or TEXTS_OF_NUMBERS if is_list else ""
        raise TypeError(f"{name} must be an array of real numbers, got dtype {X.dtype}{hint}")
    if X.ndim != 2:
        raise ValueError(
            f"{name} must have shape (n, D), got {X.shape}. Reshape your data: {name}.reshape(-1, 1) makes one "
            f"column, {name}.reshape(1, -1) one sample"
        )
    for axis, what, least in ((0, "sample(s)", minimum), (1, "feature(s)", 1)):
        if X.shape[axis] < least:
            raise ValueError(f"{name} has {X.shape[axis]} {what} (shape={X.shape}) while a minimum of {least} is required.")
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(X, dtype)
    good = np.isfinite(converted)
    if missing:
        good |= np.isnan(converted)
    if not good.all():
        before, row, after = _first_bad(name, X, ~good, source, missing)
        raise CellError(f"{name} must be finite in {dtype}, got NaN or infinity: {before}", row, after)
    return converted


def _first_bad(
    name: str, X: npt.NDArray[Any], bad: npt.NDArray[np.bool_], source: object, missing: bool
) -> tuple[str, int, str]:
    """The first bad number in words, its row, and what else is to say."""
    row, column = np.argwhere(bad)[0]
    value, count = X[row, column], int(np.count_nonzero(bad))
    hint = bool(name == "X" and not missing and np.isnan(value))
    more = f", and {count - 1} more" * (count > 1)
    more += ". To allow missing values, set the parameter missing='marginalize'" * hint
    return f"{value} in column {column_label(source, column)}, ", int(row), more


def column_label(source: object, column: int) -> str:
    """How a message names a column: by the name that a frame has for it, or by its number."""
    from nvpflow._sklearn.feature_names import feature_names, other_labels

    if isinstance(source, Labelled) and source.labels is not None:
        return source.labels[column]
    names = feature_names(source)
    names = other_labels(source) if names is None else names
    return str(column) if names is None else f"{names[column]!r:.50}"


def without_masks(x: Any) -> Any:
    """An array of floats with NaN for masked elements, if x is a masked array; else x itself."""
    return x.astype(np.float64).filled(np.nan) if _has_masked_elements((x,)) and x.dtype.kind in "fiub" else x


def _has_masked_elements(x: object) -> bool:
    """Whether x is a masked array, or a sequence of such arrays, with masked elements. NumPy would drop the masks."""
    arrays = x if isinstance(x, (list, tuple)) else (x,)
    # The test for the base class avoids the import of numpy.ma.
    return any(isinstance(a, np.ndarray) and type(a) is not np.ndarray and np.ma.is_masked(a) for a in arrays)


def _numbers(name: str, X: npt.NDArray[Any], source: object) -> npt.NDArray[np.float64]:
    """Convert an array of objects, as frames give it for nullable or mixed columns, to float64. Missing values become NaN."""
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        X = np.where(pandas.isna(X), np.nan, X)
    time = next((value for value in X.flat if isinstance(value, (np.datetime64, np.timedelta64))), None)
    if time is not None:  # which NumPy would convert
        raise TypeError(f"{name} must be an array of real numbers, got {time!r:.60}{TIMES}")
    try:
        return X.astype(np.float64)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        said = str(error).rstrip(".")
        raise kind(f"{name} must be an array of real numbers: {said}{_first_object(name, X, source)}") from error


def _first_object(name: str, X: npt.NDArray[Any], source: object) -> str:
    """Where the first value is that is no number, and what to do about it, in words."""
    for index, value in np.ndenumerate(X):
        try:
            float(value)
        except (TypeError, ValueError):
            if len(index) != 2:
                return ""
            where = f", got {value!r:.60} in column {column_label(source, index[1])}, row {index[0]}"
            if any(hasattr(value, part) for part in ("year", "total_seconds", "utcoffset")):
                return where + TIMES
            parameter = {"X": "support", "context": "context_support"}.get(name)
            if parameter is None or not isinstance(value, str):
                return where
            return where + f". Declare the column as 'category' in {parameter}, or leave it out"
    return ""


def _refuse_times(name: str, x: object) -> None:
    """Raise a TypeError if x is a frame of polars or a table of Arrow with columns of times.

    NumPy would read those of polars as numbers of microseconds.
    """
    polars, arrow = sys.modules.get("polars"), sys.modules.get("pyarrow")
    if polars is not None and isinstance(x, polars.DataFrame):
        columns = [(column, dtype) for column, dtype in x.schema.items() if dtype.is_temporal()]
    elif arrow is not None and isinstance(x, (arrow.Table, arrow.RecordBatch)):
        columns = [(field.name, field.type) for field in x.schema if arrow.types.is_temporal(field.type)]
    else:
        return
    if columns:
        column, dtype = columns[0]
        raise TypeError(f"{name} must be an array of real numbers, got {dtype} in column {column!r:.50}{TIMES}")
