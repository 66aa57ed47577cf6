"""Files: a flow or a fitted estimator as one .npz without pickle."""

from __future__ import annotations

import os

import numpy as np

from nvpflow._typing import PathLike
from nvpflow.estimator import RealNVP
from nvpflow.flow import Flow

__all__ = ["load", "save"]

FORMAT_VERSION = 1


def save(model: Flow | RealNVP, path: PathLike) -> None:
    """Write a `Flow` or a fitted `RealNVP` to a file.

    The file is an .npz that holds no pickle: "header", a JSON text with the format's version and the whole configuration,
    and "parameters", the flat array; for an estimator the training curves, too. It is written beside its place and moved
    there when complete, so that a file of that name is whole at any time.

    Parameters
    ----------
    model : Flow or RealNVP
    path : str or path-like

    Raises
    ------
    TypeError
        If it is neither.
    NotFittedError
        If the estimator is not fitted.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import nvpflow, tempfile
    >>> flow = nvpflow.Flow([nvpflow.ActNorm(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nvpflow.save(flow, f"{folder}/flow.npz")
    ...     nvpflow.load(f"{folder}/flow.npz").n_parameters
    4
    """
    if isinstance(model, RealNVP):
        flow = model._fitted_flow()
        header = {"kind": "RealNVP", "estimator": _plain_params(model), "flow": flow.config()}
        header |= {"n_iter": model.n_iter_, "best_iter": model.best_iter_, "n_samples_seen": model.n_samples_seen_}
        if hasattr(model, "feature_names_in_"):
            header["feature_names_in"] = [str(name) for name in model.feature_names_in_]
        arrays = {f"history.{name}": curve for name, curve in model.history_.items()}
    elif isinstance(model, Flow):
        flow, header, arrays = model, {"kind": "Flow", "flow": model.config()}, {}
    else:
        raise TypeError(f"model must be a Flow or a RealNVP, got {type(model).__name__}")
    import json  # here, as others below: `import nvpflow` should take no longer than NumPy's

    text = json.dumps({"format": "nvpflow", "version": FORMAT_VERSION, **header})
    _write_atomically(path, header=np.array(text), parameters=flow.parameters, **arrays)


def load(path: PathLike) -> Flow | RealNVP:
    """Read what `save` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    Flow or RealNVP

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file, or its parts do not fit together. Nothing in it is ever executed.

    Examples
    --------
    >>> import nvpflow
    >>> model = nvpflow.load("model.npz")  # doctest: +SKIP
    """
    arrays = _read_arrays(path)
    header = _read_header(path, arrays)
    try:
        flow = Flow.from_config(header["flow"])
        parameters = arrays["parameters"]
        if parameters.shape != (flow.n_parameters,) or parameters.dtype != flow.dtype:
            raise ValueError(
                f"parameters must have shape ({flow.n_parameters},) and dtype {flow.dtype}, "
                f"got {parameters.shape} and {parameters.dtype}"
            )
        flow.parameters[:] = parameters
        if header["kind"] == "Flow":
            return flow
        model = RealNVP(**header["estimator"])
        model.flow_, model.n_features_in_ = flow, flow.data_dim
        model.n_iter_, model.best_iter_ = header["n_iter"], header["best_iter"]
        model.n_samples_seen_ = header.get("n_samples_seen", 0)  # the first files had none
        if "feature_names_in" in header:
            model.feature_names_in_ = np.asarray(header["feature_names_in"], dtype=object)
        model.history_ = {name[8:]: array for name, array in arrays.items() if name.startswith("history.")}
        return model
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)} is damaged: {error}") from error


def _plain_params(model):
    """The constructor's parameters as JSON can hold them. A generator cannot be stored."""
    params = model.get_params()
    params["dtype"] = np.dtype(params["dtype"]).name
    params["hidden_dim"] = np.asarray(params["hidden_dim"]).tolist()
    for name, value in params.items():
        if isinstance(value, np.generic):
            params[name] = value.item()
    if not isinstance(params["random_state"], int):
        params["random_state"] = None
    return params


def _write_atomically(path, **arrays):
    import tempfile

    path = os.path.abspath(os.fspath(path))
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".nvpflow-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, **arrays)
        # mkstemp makes the file private; give it the mode that open() would have.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _read_arrays(path):
    import zipfile

    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (AttributeError, EOFError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{os.fspath(path)} is not an nvpflow file: {error}") from error


def _read_header(path, arrays):
    import json

    try:
        header = json.loads(str(arrays["header"][()]))
        if header["format"] != "nvpflow" or header["kind"] not in ("Flow", "RealNVP"):
            raise ValueError("its header is another format's")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)} is not an nvpflow file: {error}") from error
    if header["version"] != FORMAT_VERSION:
        raise ValueError(
            f"{os.fspath(path)} has format version {header['version']}; this nvpflow reads version {FORMAT_VERSION}"
        )
    return header
