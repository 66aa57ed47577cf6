"""Write a flow or a fitted estimator to one .npz or .safetensors file, without pickle.

The attribute `_file_kind` of a class is its name in a file. The classes import this module, which does not import them.
"""

from __future__ import annotations

import errno
import io
import operator
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from nvpflow._io.categories import arrays_of, plain_categories, plain_encoding
from nvpflow._io.encoding import describe
from nvpflow._io.format import FORMAT_VERSION, NAMES, SEARCH, UNITS, decode_path
from nvpflow._io.npz import write_npz
from nvpflow._io.random_state import plain_random_state
from nvpflow._io.refinement import plain_refinement
from nvpflow._io.safetensors import write_safetensors
from nvpflow._io.supervised import classifier_contents, regressor_header
from nvpflow._io.writing import write_file
from nvpflow._training.history import every_epoch
from nvpflow._typing import AnyPath, BinaryWriter
from nvpflow._validation.arguments import check_real
from nvpflow.supports import plain_support

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from nvpflow.classifier import FlowClassifier
    from nvpflow.density import FlowDensity
    from nvpflow.ensemble import FlowEnsemble
    from nvpflow.flow import Flow
    from nvpflow.outliers import FlowOutlierDetector
    from nvpflow.regressor import FlowRegressor
    from nvpflow.supports._kinds import Kind

__all__ = ["save"]

Model: TypeAlias = "Flow | FlowEnsemble | FlowDensity | FlowOutlierDetector | FlowClassifier | FlowRegressor"


def save(model: Model, path: AnyPath | BinaryWriter) -> None:
    """Write a `Flow`, a `FlowEnsemble`, or a fitted estimator to a file: `FlowDensity`, `FlowOutlierDetector`,
    `FlowClassifier` or `FlowRegressor`.

    A name that ends in .safetensors gives a file for the package safetensors. Any other name gives an .npz file. Neither
    contains a pickle. A file holds

    - "header", a JSON text with the version of the format, the whole configuration, and the state of a generator in
      `random_state`;
    - "parameters", the flat array;
    - "description", the configuration of the flow as numbers, for `nvp_flow_load` of the C library, which reads .npz files;
      for an ensemble "descriptions" and "weights", for `nvp_ensemble_load`, and "parameters" are those of all members;
    - of an estimator its training curves, and for `nvp_model_load` of the C library, where they are not the default, "origin",
      "context_origin", "context_range", and "columns", three numbers for each column that is no category: 0 for reals, 1 for
      whole numbers or 2 for angles, and the least and the largest value;
    - for a classifier, in place of these: the .npz file of the density of each class, as bytes, in "density.0" and so on.

    Writing is atomic. The new file is written to the same directory and replaces the old one once it is on the disk. So the
    file is complete at any time, even if the program or the machine fails, and the directory must be writable. The new file
    has the mode of the old one and, where permitted, its owner. Symbolic links are followed and stay. Other hard links to the
    old file keep the old content. A killed program may leave files named ``.nvpflow-`` and 16 digits; the next save to the
    directory removes them. A pipe or a device, such as ``/dev/stdout``, is written to directly.

    Parameters
    ----------
    model : Flow, FlowEnsemble, FlowDensity, FlowOutlierDetector, FlowClassifier or FlowRegressor
    path : str, bytes, path-like or binary file object
        An object with a method `write`, such as an open file or ``io.BytesIO``, receives an .npz, from its position on.

    Raises
    ------
    TypeError
        If model or path has another type, or if a file object was opened for text.
    TypeError, ValueError
        If `fit` would not accept a parameter of the estimator, if the parameters of the flow are not finite, or if the bit
        generator of a `random_state` is not one of NumPy's.
    NotFittedError
        If the estimator is not fitted.
    OSError
        If the file cannot be written.
    ImportError
        If the name ends in .safetensors and the package safetensors is not installed.

    Examples
    --------
    >>> import nvpflow, tempfile
    >>> flow = nvpflow.Flow([nvpflow.ActNorm(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nvpflow.save(flow, f"{folder}/flow.npz")
    ...     nvpflow.load(f"{folder}/flow.npz").n_parameters
    4
    """
    if isinstance(path, io.TextIOBase):
        raise TypeError(f"path must be a binary file object, got one for text, {type(path).__name__}: open it with mode 'wb'")
    file = cast(BinaryWriter, path) if hasattr(path, "write") else None
    name = decode_path(path) if file is None else ""
    header, flow, arrays = _contents(model)
    if flow is not None:
        arrays |= _ensemble_arrays(flow) if _is_ensemble(flow) else _flow_arrays(flow)
    arrays = {name: array.astype(array.dtype.newbyteorder("<"), copy=False) for name, array in arrays.items()}
    import json  # imported here, like others below, so that `import nvpflow` takes no longer than `import numpy`

    header = {"format": "nvpflow", "version": FORMAT_VERSION, **header}
    text = json.dumps(header, default=_plain_number, allow_nan=False)
    write = write_safetensors if name.endswith(".safetensors") else write_npz
    content = io.BytesIO()
    write(content, text, arrays)
    if file is not None:
        _write_all(file, content.getbuffer())
    else:
        write_file(name, content.getbuffer())


def _is_ensemble(flow: Flow | FlowEnsemble) -> TypeIs[FlowEnsemble]:
    return hasattr(flow, "flows")


def _flow_arrays(flow: Flow) -> dict[str, npt.NDArray[Any]]:
    parameters = np.array(flow.parameters)  # a copy: another thread may be training them
    if not np.isfinite(parameters).all():
        raise ValueError("the parameters of model must be finite, got NaN or infinity")
    return {"parameters": parameters, "description": describe(flow.config())}


def _ensemble_arrays(ensemble: FlowEnsemble) -> dict[str, npt.NDArray[Any]]:
    """The arrays of the members one after another; each description follows its length."""
    members = [_flow_arrays(flow) for flow in ensemble]
    descriptions = [np.append(float(len(member["description"])), member["description"]) for member in members]
    return {
        "parameters": np.concatenate([member["parameters"] for member in members]),
        "descriptions": np.concatenate(descriptions),
        "weights": ensemble.weights,
    }


def _write_all(file: BinaryWriter, content: memoryview) -> None:
    """Write to a file object. A raw one may write only a part, and returns how much, or None if it would have to wait."""
    while len(content):
        try:
            written = file.write(content)
        except TypeError as error:
            raise TypeError(f"path must be a binary file object, got {type(file).__name__}: {error}") from error
        if not isinstance(written, int) and not isinstance(file, io.RawIOBase):
            return
        if not isinstance(written, int) or not 0 < written <= len(content):
            raise BlockingIOError(
                errno.EAGAIN, f"the file object wrote {written} of {len(content)} bytes: the model is not whole"
            )
        content = content[written:]


def _config(flow: Flow | FlowEnsemble | None) -> dict[str, Any]:
    """The part of the header that describes a flow, or the members of an ensemble."""
    if flow is None:  # all columns are categories
        return {"flow": None}
    return {"flows": [one.config() for one in flow]} if _is_ensemble(flow) else {"flow": flow.config()}


def _contents(model: Any) -> tuple[dict[str, Any], Flow | FlowEnsemble | None, dict[str, npt.NDArray[Any]]]:
    """The header of a model's file, its flow or ensemble, and further arrays."""
    kind: Any = next((kind for kind in type(model).__mro__ if "_file_kind" in vars(kind)), None)
    if kind is None:
        raise TypeError(
            "model must be a Flow, a FlowEnsemble, a FlowDensity, a FlowOutlierDetector, a FlowClassifier or a FlowRegressor, "
            f"got {type(model).__name__}"
        )
    name = kind._file_kind
    if name == "FlowClassifier":
        header, arrays = classifier_contents(_snapshot(model, kind))
        return header, None, arrays
    if name in ("Flow", "FlowEnsemble"):
        return {"kind": name, **_config(model)}, model, {}
    model = _snapshot(model, kind)
    if name == "FlowRegressor":
        header, flow, arrays = _contents(model.estimator_)
        return header | regressor_header(model), flow, arrays
    if name == "FlowOutlierDetector":
        header, flow, arrays = _contents(model.estimator_)
        offset = check_real("offset_", model.offset_)
        header |= {"kind": name, "detector": _plain_params(model), "offset": offset}
    else:
        flow = model.flow_
        header = {"kind": name, "estimator": _plain_params(model), **_config(flow)}
        header |= {"n_iter": _epochs_of(model), "best_iter": np.asarray(model.best_iter_).tolist()}
        header["n_samples_seen"] = model.n_samples_seen_
        arrays = {f"history.{name}": curve for name, curve in every_epoch(model.history_).items()}
        supports = model._known_supports()
        if supports is not None:
            header["columns"] = [kind._plain() for kind in supports.kinds]
            header |= {name: getattr(supports, name).tolist() for name in ("on_bounds", "is_straight")}
            arrays["columns"] = np.array([_numbers_of(kind) for kind in supports.kinds], np.float64).ravel()
        if hasattr(model, "_frame"):
            header["frame"] = model._frame.plain()
        categories, encoding = model._known_categories(), model._known_encoding()
        if categories is not None:
            header["categories"] = plain_categories(categories)
            arrays |= arrays_of(categories)
        if encoding is not None:
            header["context_encoding"] = plain_encoding(encoding)
        if hasattr(model, "search_"):
            header["search"] = [str(candidate) for candidate in model.search_["candidate"]]
            arrays |= {f"search.{name}": np.asarray(model.search_[name], np.float64) for name in SEARCH}
        if hasattr(model, "refinement_"):
            header["refinement"] = plain_refinement(model.refinement_)
        for name, attribute in UNITS.items():
            if np.any(getattr(model, attribute, 0)):  # an origin of zeros is the default
                arrays[name] = np.asarray(getattr(model, attribute), np.float64).ravel()
    for name in NAMES:
        if hasattr(model, f"{name}_"):
            header[name] = [str(text) for text in getattr(model, f"{name}_")]
    return header, flow, arrays


def _numbers_of(kind: Kind) -> tuple[float, float, float]:
    """A column as numbers for the C library: its kind, its least and its largest value."""
    number = 2 if kind.turn else 1 if kind.is_whole else 0
    return number, -np.inf if kind.low is None else kind.low, np.inf if kind.high is None else kind.high


def _epochs_of(model: FlowDensity) -> int | list[int]:
    """The number of epochs, or for an ensemble those of its members."""
    member = model.history_.get("member")
    if member is None:
        return model.n_iter_
    counts: list[int] = np.bincount(member, minlength=len(np.atleast_1d(model.best_iter_))).tolist()
    return counts


def _snapshot(model: FlowDensity | FlowOutlierDetector | FlowClassifier | FlowRegressor, kind: type[Any]) -> Any:
    """Copy a fitted estimator, perhaps of a subclass, to the class itself.

    All attributes are of one moment, even if another thread is fitting it.
    """
    model._check_fitted()
    twin = object.__new__(kind)
    twin.__dict__ = vars(model).copy()
    return twin


def _plain_params(model: FlowDensity | FlowOutlierDetector) -> dict[str, Any]:
    """The parameters of the constructor, in types that JSON has."""
    model._check_parameters()
    params = model.get_params()
    params["dtype"] = np.dtype(params["dtype"]).name
    params["hidden_dim"] = np.asarray(params["hidden_dim"]).tolist()
    for name in ("support", "context_support"):
        params[name] = plain_support(name, params[name])
    params["random_state"] = plain_random_state(params["random_state"])
    return params


def _plain_number(value: Any) -> Any:
    """Convert a number to a type that JSON has."""
    if isinstance(value, np.generic):
        return value.item()
    return operator.index(value) if hasattr(value, "__index__") else float(value)
