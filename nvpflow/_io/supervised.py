"""What the files of a classifier and a regressor hold: headers, arrays, and a file within the file for each class."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nvpflow._io.random_state import plain_random_state
from nvpflow.supports import plain_support
from nvpflow.supports._category import plain_values

if TYPE_CHECKING:
    from nvpflow.classifier import FlowClassifier
    from nvpflow.regressor import FlowRegressor

__all__ = ["SUPPORTS", "classifier_contents", "regressor_header"]

Arrays = dict[str, npt.NDArray[Any]]
SUPPORTS = {"support", "context_support"}


def classifier_contents(model: FlowClassifier) -> tuple[dict[str, Any], Arrays]:
    """The header and the arrays of a fitted classifier."""
    columns = model._columns
    inner = [_bytes_of(density) for density in model.densities_]
    header = {
        "kind": "FlowClassifier",
        "classifier": _plain_params(model),
        "classes": plain_values("classes_", model.classes_.tolist()),
        "classes_dtype": model.classes_.dtype.str.replace(">", "<"),
        "columns": [kind._plain() for kind in columns.kinds],
        "labels": list(columns.labels),
        "is_kept": columns.is_kept.tolist(),
        "shrinkage": list(model.shrinkage_),
        "n_samples_seen": model.n_samples_seen_,
        "sizes": [len(content) for content in inner],
    }
    if hasattr(model, "feature_names_in_"):
        header["feature_names_in"] = [str(name) for name in model.feature_names_in_]
    arrays: Arrays = {"priors": model.priors_, "pool": model.pool_}
    arrays |= {f"density.{k}": content for k, content in enumerate(inner)}
    if model._normals is not None:
        arrays |= {"normals.means": model._normals.means.ravel(), "normals.whitening": model._normals.whitening.ravel()}
    return header, arrays


def regressor_header(model: FlowRegressor) -> dict[str, Any]:
    """What the header of a regressor has beside that of its density."""
    header = {"kind": "FlowRegressor", "regressor": _plain_params(model), "is_flat": model._is_flat}
    header["n_columns"] = model.n_features_in_
    if model.levels_ is not None:
        header["levels"] = model.levels_.tolist()
    if hasattr(model, "feature_names_in_"):
        header["regressor_names"] = [str(name) for name in model.feature_names_in_]
    return header


def _plain_params(model: FlowClassifier | FlowRegressor) -> dict[str, Any]:
    """The parameters of the constructor, in types that JSON has."""
    model._check_parameters()
    params = model.get_params()
    params["dtype"] = np.dtype(params["dtype"]).name
    params["hidden_dim"] = np.asarray(params["hidden_dim"]).tolist()
    for name in SUPPORTS & params.keys():
        params[name] = plain_support(name, params[name])
    params["random_state"] = plain_random_state(params["random_state"])
    if params.get("priors") is not None:
        params["priors"] = np.asarray(params["priors"], np.float64).tolist()
    return params


def _bytes_of(model: Any) -> npt.NDArray[np.uint8]:
    content = io.BytesIO()
    model.save(content)
    return np.frombuffer(content.getbuffer(), np.uint8)
