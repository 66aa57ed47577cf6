"""Write a flow or a fitted estimator to one .npz or .safetensors file, without pickle.

The classes say by their `_file_kind` what they are in a file; they import this module, which does not import them.
"""

from __future__ import annotations

import io
import operator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from nvpflow._io.encoding import describe
from nvpflow._io.format import FORMAT_VERSION, NAMES, UNITS, decode_path
from nvpflow._io.npz import write_npz
from nvpflow._io.random_state import plain_random_state
from nvpflow._io.safetensors import write_safetensors
from nvpflow._io.writing import write_file
from nvpflow._training.history import every_epoch
from nvpflow._typing import AnyPath, BinaryWriter
from nvpflow._validation.arguments import check_real

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.flow import Flow
    from nvpflow.outliers import FlowOutlierDetector

__all__ = ["save"]


def save(model: Flow | FlowDensity | FlowOutlierDetector, path: AnyPath | BinaryWriter) -> None:
    """Write a `Flow`, a fitted `FlowDensity` or a fitted `FlowOutlierDetector` to a file.

    The file is an .npz, whatever its name, but for the ending .safetensors, which makes one for the package of that
    name. Neither holds a pickle, but "header", a JSON text with the format's version, the whole configuration, and the
    state of a generator as `random_state`; "parameters", the flat array; "description", the flow's configuration as plain
    numbers, for `nvp_flow_load` of the C library, which reads an .npz; and for an estimator the training curves.

    A file of that name is whole at any time, whatever happens to the program or the machine: the new one is written beside
    it, and takes its place when it is on the disk. It keeps mode and, where permitted, owner; symbolic links are followed,
    and stay. Other names of the old file (hard links) keep the old content. So the directory must be one that may be
    written. What a killed program left there, files named ``.nvpflow-`` and 16 digits, the next save removes. A pipe or a
    device, such as ``/dev/stdout``, is written through.

    Parameters
    ----------
    model : Flow, FlowDensity or FlowOutlierDetector
    path : str, bytes, path-like or binary file object
        An object with a method `write`, such as an open file or ``io.BytesIO``, gets the bytes of an .npz, from where it
        stands.

    Raises
    ------
    TypeError
        If model or path is none of them, or a file object takes text.
    TypeError, ValueError
        If a parameter of the estimator is one that `fit` would not take, or those of the flow are not finite. A generator
        as `random_state` must have a bit generator of NumPy's.
    NotFittedError
        If the estimator is not fitted.
    OSError
        If the file cannot be written.
    ImportError
        If the ending is .safetensors, and that package is not there.

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
    parameters = np.array(flow.parameters)  # which another thread may be training
    if not np.isfinite(parameters).all():
        raise ValueError("the parameters of model must be finite, got NaN or infinity")
    arrays["parameters"], arrays["description"] = parameters, describe(header["flow"])
    arrays = {name: array.astype(array.dtype.newbyteorder("<"), copy=False) for name, array in arrays.items()}
    import json  # here, as others below: `import nvpflow` should take no longer than NumPy's

    header = {"format": "nvpflow", "version": FORMAT_VERSION, **header}
    text = json.dumps(header, default=_plain_number, allow_nan=False)
    write = write_safetensors if name.endswith(".safetensors") else write_npz
    content = io.BytesIO()
    write(content, text, arrays)
    if file is not None:
        _write_all(file, content.getbuffer())
    else:
        write_file(name, content.getbuffer())


def _write_all(file: BinaryWriter, content: memoryview) -> None:
    """Write to a file object; a raw one may take a part at a time, and says how much."""
    while len(content):
        written = file.write(content)
        content = content[written if isinstance(written, int) else len(content) :]


def _contents(model: Any) -> tuple[dict[str, Any], Flow, dict[str, npt.NDArray[Any]]]:
    """The header of a model's file, its flow, and arrays that go with it."""
    kind: Any = next((kind for kind in type(model).__mro__ if "_file_kind" in vars(kind)), None)
    if kind is None:
        raise TypeError(f"model must be a Flow, a FlowDensity or a FlowOutlierDetector, got {type(model).__name__}")
    name = kind._file_kind
    if name == "Flow":
        return {"kind": name, "flow": model.config()}, model, {}
    model = _snapshot(model, kind)
    if name == "FlowOutlierDetector":
        header, flow, arrays = _contents(model.estimator_)
        offset = check_real("offset_", model.offset_)
        header |= {"kind": name, "detector": _plain_params(model), "offset": offset}
    else:
        flow = model.flow_
        header = {"kind": name, "estimator": _plain_params(model), "flow": flow.config()}
        header |= {"n_iter": model.n_iter_, "best_iter": model.best_iter_, "n_samples_seen": model.n_samples_seen_}
        arrays = {f"history.{name}": curve for name, curve in every_epoch(model.history_).items()}
        for name, attribute in UNITS.items():
            if np.any(getattr(model, attribute, 0)):  # an origin of zeros goes without saying
                arrays[name] = np.asarray(getattr(model, attribute), np.float64).ravel()
    for name in NAMES:
        if hasattr(model, f"{name}_"):
            header[name] = [str(text) for text in getattr(model, f"{name}_")]
    return header, flow, arrays


def _snapshot(model: FlowDensity | FlowOutlierDetector, kind: type[Any]) -> Any:
    """A fitted estimator, perhaps of a subclass, as one of the class itself, with the attributes of one moment: another
    thread may be fitting it."""
    model._fitted_flow()
    twin = object.__new__(kind)
    twin.__dict__ = vars(model).copy()
    return twin


def _plain_params(model: FlowDensity | FlowOutlierDetector) -> dict[str, Any]:
    """The constructor's parameters as JSON can hold them."""
    model._check_parameters()
    params = model.get_params()
    params["dtype"] = np.dtype(params["dtype"]).name
    params["hidden_dim"] = np.asarray(params["hidden_dim"]).tolist()
    params["random_state"] = plain_random_state(params["random_state"])
    return params


def _plain_number(value: Any) -> Any:
    """A number that JSON does not know as one that it does."""
    if isinstance(value, np.generic):
        return value.item()
    return operator.index(value) if hasattr(value, "__index__") else float(value)
