"""Read a classifier and a regressor: undo supervised.py."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from nvpflow._io.containers import Reader
from nvpflow._io.random_state import restore_random_state
from nvpflow._io.supervised import SUPPORTS
from nvpflow._validation.arguments import check_bool, check_int, shown
from nvpflow.supports import Category, restore_support
from nvpflow.supports._category import restore_values
from nvpflow.supports._kinds import check_kind

if TYPE_CHECKING:
    from nvpflow.classifier import FlowClassifier
    from nvpflow.density import FlowDensity
    from nvpflow.regressor import FlowRegressor

__all__ = ["restore_classifier", "restore_regressor"]

Load = Callable[[io.BytesIO], Any]
E = TypeVar("E", "FlowClassifier", "FlowRegressor")


def restore_classifier(header: dict[str, Any], file: Reader, load: Load) -> FlowClassifier:
    """Undo `classifier_contents`, with `nvpflow.load` for the densities.

    What does not fit together is a ValueError or TypeError.
    """
    from nvpflow.classifier import FlowClassifier
    from nvpflow.supervised._columns import Columns

    model = _with_params(FlowClassifier, header["classifier"])
    classes = _restore_classes(header)
    n_classes, names = len(classes), header.get("feature_names_in")
    plain = _list_of("columns", header["columns"], (dict, list, str, type(None)))
    kinds = tuple(check_kind(f"columns[{i}]", kind) for i, kind in enumerate(plain))
    if any(isinstance(kind, Category) and kind.values is None for kind in kinds):
        raise ValueError("columns of categories must have values")
    is_kept = np.array(_list_of("is_kept", header["is_kept"], (bool,), len(kinds)), dtype=bool)
    columns = Columns(kinds, tuple(_list_of("labels", header["labels"], (str,), len(kinds))), is_kept)
    sizes = [check_int("sizes", size, 0) for size in _list_of("sizes", header["sizes"], (int,), n_classes)]
    normals = _restore_normals(file, n_classes, int(columns.is_linear.sum()))
    expected = {"priors", "pool", *(f"density.{k}" for k in range(n_classes))}
    expected |= {"normals.means", "normals.whitening"} if normals is not None else set()
    if set(file.names) - {"header"} != expected:  # one of the two formats counts it as an array
        raise ValueError(f"it must hold the arrays {sorted(expected)}, got {shown(sorted(file.names))}")
    priors, pool = _read(file, "priors", n_classes), _read(file, "pool", 2)
    if (priors < 0).any() or (pool < 0).any() or (pool[1] > 0) != (normals is not None):
        raise ValueError("priors and the weights of the pool do not fit together")
    first, second = (float(share) for share in _list_of("shrinkage", header["shrinkage"], (int, float), 2))
    fitted = {
        "classes_": classes,
        "priors_": priors,
        "densities_": [_restore_density(file, k, size, columns, load) for k, size in enumerate(sizes)],
        "pool_": pool,
        "shrinkage_": (first, second),
        "n_samples_seen_": check_int("n_samples_seen", header["n_samples_seen"], 0),
        "_columns": columns,
        "_normals": normals,
    }
    names = None if names is None else np.array(_list_of("feature_names_in", names, (str,), len(kinds)), dtype=object)
    model._keep(fitted, len(kinds), names)
    return model


def restore_regressor(header: dict[str, Any], estimator: FlowDensity) -> FlowRegressor:
    """Undo `regressor_header`, with the density of the file."""
    from nvpflow.regressor import FlowRegressor

    model = _with_params(FlowRegressor, header["regressor"])
    estimator.random_state = model.random_state  # both share one generator, as after `fit`
    n_columns, n_targets = check_int("n_columns", header["n_columns"], 1), estimator.n_features_in_
    is_flat = check_bool("is_flat", header["is_flat"])
    if estimator._count_context() != n_columns or (is_flat and n_targets != 1):
        raise ValueError(f"the density must read {n_columns} columns, and have one target if y is flat")
    fitted: dict[str, Any] = {"estimator_": estimator, "n_targets_": n_targets, "_is_flat": is_flat}
    if "levels" in header:
        fitted["levels_"] = levels = np.array(_list_of("levels", header["levels"], (int, float)), dtype=np.float64)
        if not (len(levels) and (np.diff(levels) >= 0).all() and levels[0] >= 0 and levels[-1] <= 1):
            raise ValueError("levels must be sorted and in [0, 1]")
    names = header.get("regressor_names")
    names = None if names is None else np.array(_list_of("regressor_names", names, (str,), n_columns), dtype=object)
    model._keep(fitted | {"n_samples_seen_": estimator.n_samples_seen_}, n_columns, names)
    return model


def _with_params(kind: type[E], params: object) -> E:
    if not isinstance(params, dict):
        raise TypeError(f"the parameters of {kind.__name__} must be an object, got {shown(params)}")
    model = kind(**params | {name: restore_support(name, params[name]) for name in SUPPORTS & params.keys()})
    model.random_state = restore_random_state(model.random_state)
    model._check_parameters()
    return model


def _restore_density(file: Reader, k: int, size: int, columns: Any, load: Load) -> Any:
    """A density of `FlowDensity.save`, which must have the columns that the classifier keeps."""
    from nvpflow.density import FlowDensity

    density = load(io.BytesIO(file.read(f"density.{k}", "uint8", size).tobytes()))
    n_kept = int(columns.is_kept.sum())
    if not isinstance(density, FlowDensity) or density.n_features_in_ != n_kept:
        raise ValueError(f"density.{k} must be a FlowDensity of {n_kept} columns")
    return density


def _restore_classes(header: dict[str, Any]) -> npt.NDArray[Any]:
    values, dtype = restore_values("classes", header["classes"]), np.dtype(header["classes_dtype"])
    if dtype.kind not in "biufUO" or len(values) < 2:
        raise ValueError(f"classes must be at least 2 labels, got {shown(values)} of dtype {dtype}")
    classes = np.array(values, dtype=dtype)
    if classes.ndim != 1 or len(np.unique(classes)) != len(values) or classes.tolist() != list(values):
        raise ValueError(f"classes must be different labels of dtype {dtype}, got {shown(values)}")
    return classes


def _restore_normals(file: Reader, n_classes: int, n_columns: int) -> Any:
    from nvpflow.supervised._normals import ClassNormals

    if "normals.means" not in file.names:
        return None
    means = _read(file, "normals.means", n_classes * n_columns).reshape(n_classes, n_columns)
    whitening = _read(file, "normals.whitening", n_classes * n_columns**2).reshape(n_classes, n_columns, n_columns)
    if not (np.diagonal(whitening, axis1=1, axis2=2) > 0).all():
        raise ValueError("normals.whitening must have positive diagonals")
    return ClassNormals(means, whitening)


def _read(file: Reader, name: str, n: int) -> npt.NDArray[np.float64]:
    values = np.array(file.read(name, "float64", n), np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return values


def _list_of(name: str, values: object, types: tuple[type, ...], n: int | None = None) -> list[Any]:
    if not isinstance(values, list) or (n is not None and len(values) != n) or not all(type(v) in types for v in values):
        raise ValueError(f"{name} must be a list of {'' if n is None else n} entries of {types}, got {shown(values)}")
    return values
