"""Model files of every kind, and checks of output paths."""

from __future__ import annotations

import argparse
import errno
import io
import os
import stat
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import nvpflow
from nvpflow._typing import ArrayLike, FloatDType, Floats, Seed
from nvpflow.cli._streams import naming, write_bytes
from nvpflow.supports._number_types import holds_whole

if TYPE_CHECKING:
    from nvpflow.supports import AnyKind
    from nvpflow.supports._coding import Coding
    from nvpflow.supports._frame import Frame

__all__ = ["Fitted", "Model", "check_place", "density_of", "load_beside", "load_model", "save_model"]


Fitted: TypeAlias = "nvpflow.Flow | nvpflow.FlowEnsemble | nvpflow.FlowDensity | nvpflow.FlowOutlierDetector"


def density_of(fitted: Fitted) -> nvpflow.FlowDensity | None:
    """The estimator of the density; a flow or an ensemble is none."""
    if isinstance(fitted, nvpflow.FlowOutlierDetector):
        return fitted.estimator_
    return None if isinstance(fitted, (nvpflow.Flow, nvpflow.FlowEnsemble)) else fitted


class Model:
    """The content of a model file, and the names of its columns.

    The names are removed from the estimators: the command matches the columns of tables, and the estimators see arrays and
    draw arrays, of numbers that the types of columns hold.

    Attributes
    ----------
    fitted : Flow, FlowEnsemble, FlowDensity or FlowOutlierDetector
    flow : Flow or FlowEnsemble
    estimator : FlowDensity or None
        None for a Flow or a FlowEnsemble.
    threshold : float or None
        The log-density below which a row is an outlier, for a detector.
    names, context_names : list of str or None
    categories, context_categories : dict of int to dict
        For each column of categories of the samples and of the context, its values by their texts.
    """

    def __init__(self, fitted: Fitted) -> None:
        self.fitted = fitted
        self.flow = fitted if isinstance(fitted, (nvpflow.Flow, nvpflow.FlowEnsemble)) else fitted.flow_
        self.estimator = density_of(fitted)
        self.threshold = fitted.offset_ if isinstance(fitted, nvpflow.FlowOutlierDetector) else None
        self.names, self.context_names = self._take("feature_names_in_"), self._take("context_feature_names_in_")
        categories = None if self.estimator is None else self.estimator._known_categories()
        encoding = None if self.estimator is None else self.estimator._known_encoding()
        self.categories = {} if categories is None else _by_text(categories.coding)
        self.context_categories = {} if encoding is None else _by_text(encoding.coding)

    def _take(self, attribute: str) -> list[str] | None:
        names = getattr(self.fitted, attribute, getattr(self.estimator, attribute, None))
        for holder in filter(None, (self.fitted, self.estimator)):
            vars(holder).pop(attribute, None)
            if "_frame" in vars(holder):
                vars(holder)["_frame"] = vars(holder)["_frame"].as_array()
        return None if names is None else [str(name) for name in names]

    @property
    def data_dim(self) -> int:
        """The number of columns of a sample."""
        return self.flow.data_dim if self.estimator is None else self.estimator.n_features_in_

    @property
    def context_dim(self) -> int:
        """The number of columns of the context."""
        return self.flow.context_dim if self.estimator is None else self.estimator._count_context()

    @property
    def dtype(self) -> FloatDType:
        return self.flow.dtype if self.estimator is None else self.estimator._flow_dtype()

    def log_prob(self, x: ArrayLike, context: ArrayLike | None) -> Floats:
        """Log-densities in nats, shape (n,)."""
        if self.estimator is None:
            return self.flow.log_prob(x, context)
        return self.estimator.score_samples(x, context=context)

    @property
    def dtypes(self) -> list[str]:
        """The types of the columns of a sample, "" where unknown."""
        if self.estimator is None:
            return [""] * self.data_dim
        frame: Frame | None = vars(self.estimator).get("_frame")
        found = [""] * self.data_dim if frame is None else list(frame.dtypes)
        supports, categories = self.estimator._known_supports(), self.estimator._known_categories()
        others = range(self.data_dim) if categories is None else categories.coding.others
        for place, is_whole in zip(others, () if supports is None else supports.is_whole):
            if is_whole and not holds_whole(found[place]):
                found[place] = "int64"
        return ["" if place not in others else dtype for place, dtype in enumerate(found)]

    @property
    def support(self) -> dict[int, AnyKind]:
        """The supports of the columns of a sample, by their number."""
        if self.estimator is None:
            return {}
        supports, categories = self.estimator._known_supports(), self.estimator._known_categories()
        others = range(self.data_dim) if categories is None else categories.coding.others
        found: dict[int, AnyKind] = dict(zip(others, () if supports is None else supports.kinds))
        return found | {place: nvpflow.Category() for place in self.categories}

    @property
    def takes_missing(self) -> bool:
        """Whether the model gives rows with missing cells a density."""
        return self.estimator is not None and getattr(self.fitted, "missing", "error") == "marginalize"

    def sample(self, n: int, random_state: Seed, context: ArrayLike | None) -> Floats:
        """Samples, shape (n, D)."""
        return (self.estimator or self.flow).sample(n, random_state, context=context)


def _by_text(coding: Coding) -> dict[int, dict[str, Any]]:
    """For each column of categories its values by the texts that stand for them in a table."""
    return {
        column: {text: value for value in values for text in _texts(value)}
        for column, values in zip(coding.columns, coding.values)
    }


def _texts(value: Any) -> list[str]:
    if isinstance(value, bool):
        return [str(value), str(value).lower()]
    return [str(value), f"{value:.9g}", f"{value:.17g}"] if isinstance(value, (int, float)) else [str(value)]


def load_model(path: str) -> Model:
    """The Model in a file or a pipe; "-" is standard input."""
    return Model(_load(path))


def _load(path: str) -> Fitted:
    if path == "-":
        return _load_stream(sys.stdin.buffer, "standard input")
    if stat.S_ISFIFO(os.stat(path).st_mode):
        with open(path, "rb") as stream:
            return _load_stream(stream, path)
    with naming(path):
        return _checked(nvpflow.load(path), path)


def _load_stream(stream: BinaryIO, source: str) -> Fitted:
    content = io.BytesIO(stream.read())
    content.name = source  # for messages
    return _checked(nvpflow.load(content), source)


def _checked(model: Any, source: str) -> Fitted:
    if isinstance(model, (nvpflow.Flow, nvpflow.FlowEnsemble, nvpflow.FlowDensity, nvpflow.FlowOutlierDetector)):
        return model
    raise ValueError(f"{source} holds a {type(model).__name__}, for which there is no command: use nvpflow.load in Python")


def load_beside(options: argparse.Namespace, table: str | None) -> Model:
    """Load the model of a command that also reads a table."""
    if options.model == "-" == table:
        raise ValueError('model and table cannot both be "-", standard input')
    return load_model(options.model)


def save_model(model: Fitted, path: str) -> None:
    if path != "-":
        return model.save(path)
    content = io.BytesIO()
    model.save(content)
    write_bytes(content.getvalue())


def check_place(path: str, *inputs: str | None) -> None:
    """Fail early if the path cannot be written, or is one of the inputs."""
    if path == "-":
        return
    if not path:
        raise ValueError("the file to write to has an empty name")
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "is a directory", path)
    if os.path.exists(path) and not os.path.isfile(path):  # a device or a pipe
        return
    directory = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(directory):
        raise FileNotFoundError(errno.ENOENT, "no such directory to write to", directory)
    if not os.access(directory, os.W_OK):
        raise PermissionError(errno.EACCES, "no permission to write there", directory)
    for source in inputs:
        if source not in (None, "-") and os.path.exists(path) and os.path.samefile(source, path):
            raise ValueError(f"{path} is read: write to another file")
