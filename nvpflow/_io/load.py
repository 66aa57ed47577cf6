"""Read a flow or a fitted estimator from an .npz or a .safetensors file, without pickle."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt

from nvpflow import _core
from nvpflow._io.categories import ARRAYS as OF_CATEGORIES
from nvpflow._io.categories import restore_categories, restore_encoding
from nvpflow._io.containers import Reader, open_container
from nvpflow._io.encoding import describe
from nvpflow._io.format import FORMAT_VERSION, HISTORY, NAMES, SEARCH, UNITS, decode_path
from nvpflow._io.load_supervised import restore_classifier, restore_regressor
from nvpflow._io.random_state import restore_random_state
from nvpflow._io.refinement import restore_refinement
from nvpflow._training.history import validated
from nvpflow._typing import AnyPath, BinaryReader, Bools, Floats, Names, Search
from nvpflow._validation.arguments import check_bool, check_choice, check_int, check_real, shown
from nvpflow.density import FlowDensity
from nvpflow.ensemble import FlowEnsemble
from nvpflow.flow import Flow
from nvpflow.layers import Bounded
from nvpflow.outliers import FlowOutlierDetector
from nvpflow.real_nvp import RealNVP
from nvpflow.supports import restore_kinds, restore_support
from nvpflow.supports._fitted import Supports
from nvpflow.supports._frame import Frame

if TYPE_CHECKING:
    from nvpflow.classifier import FlowClassifier
    from nvpflow.regressor import FlowRegressor

__all__ = ["load"]

ARRAYS = (
    "header",
    "parameters",
    "description",
    "descriptions",
    "weights",
    *(f"history.{name}" for name in HISTORY),
    *(f"search.{name}" for name in SEARCH),
    *UNITS,
    *OF_CATEGORIES,
    "columns",  # for the C library; the header says the same
)
DENSITIES = {"FlowDensity": FlowDensity, "RealNVP": RealNVP}
Model: TypeAlias = "Flow | FlowEnsemble | FlowDensity | FlowOutlierDetector | FlowClassifier | FlowRegressor"
KINDS = ("Flow", "FlowEnsemble", *DENSITIES, "FlowOutlierDetector", "FlowClassifier", "FlowRegressor")


def load(path: AnyPath | BinaryReader) -> Model:
    """Read a model that `save` wrote. The name of the file does not matter.

    Files need not be trusted. Nothing in them is executed, and every size is checked before use. A flow is created only if
    the file holds all of its parameters, and an estimator only with parameters that `fit` would accept. Time and memory are
    proportional to the size of the file, with at most about 35 times its size for a flow of many small layers.

    A generator in `random_state` continues from where it was when the model was saved. An instance of a subclass of `Flow`,
    `FlowEnsemble`, `FlowDensity`, `RealNVP` or `FlowOutlierDetector` is loaded as that class itself, with its parameters.

    Parameters
    ----------
    path : str, bytes, path-like or binary file object
        An object with a method `read`, such as an open file or ``io.BytesIO``, is read from its position to the end.

    Returns
    -------
    Flow, FlowEnsemble, FlowDensity, FlowOutlierDetector, FlowClassifier or FlowRegressor

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file, is damaged, or its parts do not fit together.
    ImportError
        If it is a .safetensors file and the package safetensors is not installed.

    Examples
    --------
    >>> import nvpflow
    >>> model = nvpflow.load("model.npz")  # doctest: +SKIP
    """
    if hasattr(path, "read"):
        source, name = _read_all(cast(BinaryReader, path))
    else:
        source = name = decode_path(path)
    what = "is not an nvpflow file"
    try:
        with open_container(source) as file:
            header = _read_header(file)
            what = "is damaged"
            return _restore(header, file)
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{name} {what}: {reason!s:.500}") from error


def _read_all(file: BinaryReader) -> tuple[str | bytes, str]:
    """The rest of a file object, and its name for messages."""
    content = file.read()
    if not isinstance(content, bytes):
        raise TypeError(f"path must be a file object that reads bytes, got one that reads {type(content).__name__}")
    return content, str(getattr(file, "name", type(file).__name__))


def _read_header(file: Reader) -> dict[str, Any]:
    import json

    header = json.loads(file.header, object_pairs_hook=_unique_names, parse_constant=_refuse_constant)
    if not isinstance(header, dict) or header.get("format") != "nvpflow" or header.get("kind") not in KINDS:
        raise ValueError("its header is another format's")
    if header["version"] != FORMAT_VERSION:
        raise ValueError(f"it has format version {shown(header['version'])}, this nvpflow reads {FORMAT_VERSION}")
    return header


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError(f"its header has an object with a name twice: {shown([name for name, _ in pairs])}")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"its header holds {name}, which is no JSON")


def _restore(header: dict[str, Any], file: Reader) -> Model:
    if header["kind"] == "FlowClassifier":
        return restore_classifier(header, file, load)
    unknown = set(file.names) - set(ARRAYS)
    if unknown:
        raise ValueError(f"it holds unknown arrays: {shown(sorted(unknown))}")
    ensemble = header["kind"] == "FlowEnsemble" or (header["kind"] != "Flow" and "flows" in header)
    is_alone = header["kind"] in ("Flow", "FlowEnsemble")
    flow: Flow | FlowEnsemble | None = None
    if ensemble:
        flow = _restore_ensemble(header["flows"], file)
    elif is_alone or header["flow"] is not None:  # an estimator has no flow where all columns are categories
        flow = _restore_flow(header["flow"], file)
    if is_alone and flow is not None:
        return flow
    model = _restore_estimator(header, flow, file)
    if header["kind"] == "FlowRegressor":
        return restore_regressor(header, model)
    return _restore_detector(header, model) if header["kind"] == "FlowOutlierDetector" else model


def _restore_flow(config: dict[str, Any], file: Reader) -> Flow:
    description = describe(config)
    described = "description" in file.names  # the first files have none
    if described and not np.array_equal(file.read("description", "float64", len(description)), description):
        raise ValueError("header and description are those of different flows")
    parameters = _read_parameters(file, config["dtype"], _count_parameters(description))
    return _with_parameters(config, parameters)


def _restore_ensemble(configs: object, file: Reader) -> FlowEnsemble:
    if not (isinstance(configs, list) and configs and all(isinstance(config, dict) for config in configs)):
        raise TypeError(f"flows must be a list of at least one flow, got {shown(configs)}")
    described = [describe(config) for config in configs]
    counts = [_count_parameters(description) for description in described]
    numbers = np.concatenate([part for description in described for part in ([float(len(description))], description)])
    if not np.array_equal(file.read("descriptions", "float64", len(numbers)), numbers):
        raise ValueError("header and descriptions are those of different flows")
    parameters = _read_parameters(file, configs[0]["dtype"], sum(counts))
    parts = np.split(parameters, np.cumsum(counts)[:-1])
    weights = np.array(file.read("weights", "float64", len(configs)))
    return FlowEnsemble([_with_parameters(*flow) for flow in zip(configs, parts)], weights)


def _count_parameters(description: npt.NDArray[np.float64]) -> int:
    try:
        return _core.count_parameters(description)
    except MemoryError as error:
        raise ValueError(f"its flow is too large: {error}") from error


def _read_parameters(file: Reader, dtype: str, n: int) -> Floats:
    parameters = file.read("parameters", dtype, n)
    if not np.isfinite(parameters).all():
        raise ValueError("parameters must be finite, got NaN or infinity")
    return parameters


def _with_parameters(config: dict[str, Any], parameters: Floats) -> Flow:
    flow = Flow.from_config(config)
    flow.parameters[:] = parameters
    return flow


def _restore_estimator(header: dict[str, Any], flow: Flow | FlowEnsemble | None, file: Reader) -> FlowDensity:
    params = header["estimator"]
    kind = FlowDensity if _is_old(params) else DENSITIES.get(header["kind"], FlowDensity)
    model = _with_params(kind, params)
    if flow is not None:
        flow.n_jobs = model.n_jobs
    mixed = _restore_mixed(header, flow, file)
    categories, encoding = mixed.get("_categories"), mixed.get("_encoding")
    data_dim, context_dim = (0, 0) if flow is None else (flow.data_dim, flow.context_dim)
    n_features = data_dim if categories is None else categories.coding.n_columns
    n_context = context_dim - (0 if categories is None else categories.width)
    n_context = n_context if encoding is None else encoding.n_columns
    fitted: dict[str, Any] = {
        "flow_": flow,
        **_restore_epochs(header, flow, file),
        "n_samples_seen_": check_int("n_samples_seen", header.get("n_samples_seen", 0), 0),  # the first files had none
        "origin_": np.zeros(data_dim),
    }
    if context_dim:
        fitted["context_origin_"] = np.zeros(context_dim)
    if "frame" in header:
        fitted["_frame"] = Frame.restore(header["frame"], n_features)
    if "search" in header:
        fitted["search_"] = _restore_search(header["search"], file)
    if "refinement" in header:
        fitted["refinement_"] = restore_refinement(header["refinement"])
    names = [_restore_names(header, *of) for of in zip(NAMES, (n_features, n_context))]
    if flow is not None:
        fitted |= _restore_units(flow, file) | _restore_supports(header, flow)
    model._keep(fitted | mixed, n_features, *names)
    return model


def _restore_mixed(header: dict[str, Any], flow: Flow | FlowEnsemble | None, file: Reader) -> dict[str, Any]:
    """The categories of X, and the encoding of a context with categories or angles. They must fit the flow."""
    found: dict[str, Any] = {}
    data_dim, context_dim = (0, 0) if flow is None else (flow.data_dim, flow.context_dim)
    if "categories" in header:
        found["_categories"] = categories = restore_categories(header["categories"], file)
        if len(categories.coding.others) != data_dim:
            raise ValueError(
                f"categories and flow must have {categories.coding.n_columns} columns together, got "
                f"{len(categories.coding.columns)} and {data_dim}"
            )
        if context_dim != categories.width and (flow is not None or data_dim):
            raise ValueError(f"the flow must read {categories.width} numbers of categories, got {context_dim}")
    elif flow is None:
        raise ValueError("it has neither a flow nor categories")
    if "context_encoding" in header:
        found["_encoding"] = encoding = restore_encoding(header["context_encoding"])
        if context_dim != encoding.width or "categories" in header:
            raise ValueError(f"the flow must read the {encoding.width} numbers of a context, got {context_dim}")
    return found


def _restore_epochs(header: dict[str, Any], flow: Flow | FlowEnsemble | None, file: Reader) -> dict[str, Any]:
    """The numbers of epochs and the curves; for an ensemble those of the members, one after another."""
    n_iter, best_iter, member = header["n_iter"], header["best_iter"], None
    if isinstance(flow, FlowEnsemble):
        counts = _counts("n_iter", n_iter, len(flow))
        best_iter = np.array(_counts("best_iter", best_iter, len(flow), counts))
        n_iter, member = sum(counts), counts
    else:
        n_iter = check_int("n_iter", n_iter, 0)
        best_iter = check_int("best_iter", best_iter, 0, n_iter)
    curves = validated(
        {
            name: np.array(file.read(f"history.{name}", "float64", n_iter), np.float64)
            for name in HISTORY
            if name == "train_nll" or f"history.{name}" in file.names
        }
    )
    if member is not None:
        curves["member"] = np.repeat(np.arange(len(member)), member)
    return {"n_iter_": n_iter, "best_iter_": best_iter, "history_": curves}


def _counts(name: str, values: object, n: int, maxima: list[int] | None = None) -> list[int]:
    """Check a list of n counts, and of their maxima."""
    if not (isinstance(values, list) and len(values) == n):
        raise ValueError(f"{name} must be a list of {n} integers, one for each flow, got {shown(values)}")
    return [check_int(name, value, 0, sys.maxsize if maxima is None else maxima[i]) for i, value in enumerate(values)]


def _restore_detector(header: dict[str, Any], estimator: FlowDensity) -> FlowOutlierDetector:
    model = _with_params(FlowOutlierDetector, header["detector"])
    if header["detector"].get("random_state") == header["estimator"].get("random_state"):
        estimator.random_state = model.random_state  # both share one generator, as after `fit`
    fitted = {"estimator_": estimator, "offset_": np.float64(check_real("offset", header["offset"]))}
    names = [getattr(estimator, f"{name}_", None) for name in NAMES]
    model._keep(fitted, estimator.n_features_in_, *names)
    return model


E = TypeVar("E", FlowDensity, FlowOutlierDetector)


def _with_params(kind: type[E], params: object) -> E:
    """Create an estimator with these parameters, checked as by `fit`."""
    if not isinstance(params, dict):
        raise TypeError(f"the parameters of {kind.__name__} must be an object, got {shown(params)}")
    params = _translate(params) if _is_old(params) else dict(params)
    supports = {
        name: restore_support(name, params.get(name)) for name in ("support", "context_support")
    }  # old files have none
    model = kind(**params | supports)
    model.random_state = restore_random_state(model.random_state)
    model._check_parameters()
    return model


def _is_old(params: object) -> bool:
    """Whether a file dates from when `FlowDensity` was called RealNVP, and some of its parameters had other names."""
    return isinstance(params, dict) and "scale" in params


def _translate(params: dict[str, Any]) -> dict[str, Any]:
    """Rename old parameters to their present names."""
    params = dict(params)
    scale = check_choice("scale", params.pop("scale"), ("spline", "tanh", "exp"))
    params["coupling"] = "spline" if scale == "spline" else "affine"
    if scale == "exp":
        params["scale_bound"] = None
    if not check_bool("early_stopping", params.pop("early_stopping", True)):
        params["validation_fraction"] = None
    return params


def _restore_search(candidates: object, file: Reader) -> Search:
    if not (isinstance(candidates, list) and candidates and all(isinstance(name, str) for name in candidates)):
        raise ValueError(f"search must be a list of texts, got {shown(candidates)}")
    score, validation_score, weight = (
        np.array(file.read(f"search.{name}", "float64", len(candidates)), np.float64) for name in SEARCH
    )
    return {"candidate": np.array(candidates), "score": score, "validation_score": validation_score, "weight": weight}


def _restore_units(flow: Flow | FlowEnsemble, file: Reader) -> dict[str, Floats]:
    """Read origins, range and units. Files omit those that are zero, and the first files have none."""
    shapes = {"origin": (flow.data_dim,), "context_origin": (flow.context_dim,)}
    units = {}
    for name, attribute in UNITS.items():
        if name in file.names:
            shape = shapes.get(name, (2, flow.context_dim))
            units[attribute] = np.array(file.read(name, "float64", int(np.prod(shape)))).reshape(shape)
            if not np.isfinite(units[attribute]).all():
                raise ValueError(f"{name} must be finite, got NaN or infinity")
    return units


def _restore_supports(header: dict[str, Any], flow: Flow | FlowEnsemble) -> dict[str, Supports]:
    """The supports of the columns, which the last layer of each flow leads to. Files of real columns have none."""
    if "columns" not in header:
        return {}
    last, *others = [one.layers[-1] for one in (flow if isinstance(flow, FlowEnsemble) else [flow])]
    kinds = restore_kinds(header["columns"], flow.data_dim)
    if not isinstance(last, Bounded):
        raise ValueError("columns have a support, and the flow has no layer that leads to it")
    if any(other.config() != last.config() for other in others):
        raise ValueError("columns have one support, and the flows have layers that lead to different ones")
    scales = np.array(last.scales)
    # Earlier files do not say it.
    on_bounds = _restore_flags(header, "on_bounds", np.zeros(len(kinds), bool))
    is_straight = _restore_flags(header, "is_straight", scales < 0)
    supports = Supports(kinds, scales, np.array(last.edges), on_bounds, is_straight)
    if supports.layer(flow.dtype).bounds != last.bounds:
        raise ValueError(f"the columns and the flow have different bounds: {shown(header['columns'])}, {shown(last.bounds)}")
    return {"_supports": supports}


def _restore_flags(header: dict[str, Any], key: str, default: Bools) -> Bools:
    flags, n = header.get(key, default.tolist()), len(default)
    if not isinstance(flags, list) or [type(flag) for flag in flags] != [bool] * n:
        raise ValueError(f"{key} must be {n} times true or false, got {shown(flags)}")
    return np.array(flags)


def _restore_names(header: dict[str, Any], key: str, n: int) -> Names | None:
    names = header.get(key)
    if names is None:
        return None
    if not (isinstance(names, list) and len(names) == n and all(isinstance(name, str) for name in names)):
        raise ValueError(f"{key} must be {n} texts, got {shown(names)}")
    return np.array(names, dtype=object)
