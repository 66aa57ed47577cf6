"""Model files of every kind, and the places that files are written to."""

import errno
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

import nvpflow
from nvpflow.cli._streams import write_bytes

__all__ = [
    "check_place",
    "context_names",
    "estimator_of",
    "feature_names",
    "flow_of",
    "load_beside",
    "load_model",
    "sampler_of",
    "save_model",
]


def load_model(path):
    """From a file, or from a pipe: standard input if it is "-"."""
    if path == "-":
        return _load_stream(sys.stdin.buffer, "standard input")
    if stat.S_ISFIFO(os.stat(path).st_mode):
        with open(path, "rb") as stream:
            return _load_stream(stream, path)
    return nvpflow.load(path)


def _load_stream(stream, source):
    with tempfile.TemporaryDirectory() as directory:  # the format needs a file that can be read in any order
        copy = Path(directory) / "model"
        with open(copy, "wb") as file:
            shutil.copyfileobj(stream, file)
        try:
            return nvpflow.load(copy)
        except ValueError as error:
            raise ValueError(str(error).replace(str(copy), source)) from error


def load_beside(options, table):
    """The model of a command that also reads a table."""
    if options.model == "-" == table:
        raise ValueError('model and table cannot both be "-", standard input')
    return load_model(options.model)


def save_model(model, path):
    if path != "-":
        return model.save(path)
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "model.npz"
        model.save(copy)
        write_bytes(copy.read_bytes())


def check_place(path, *inputs):
    """Fail early if no file can be written there, or if it would replace one that is read."""
    if path == "-":
        return
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


def flow_of(model):
    """The flow in a file of any kind."""
    return model if isinstance(model, nvpflow.Flow) else model.flow_


def estimator_of(model):
    """The RealNVP in a file: a detector's, itself, or None."""
    if isinstance(model, nvpflow.FlowOutlierDetector):
        return model.estimator_
    return model if isinstance(model, nvpflow.RealNVP) else None


def sampler_of(model):
    """What draws samples: an estimator, which has a seed of its own, or a flow."""
    return estimator_of(model) or model


def feature_names(model):
    """Names of the columns that the model was fitted to, or None."""
    return _texts(getattr(model, "feature_names_in_", None))


def context_names(model):
    """Names of the columns of its context, or None."""
    return _texts(getattr(estimator_of(model), "context_feature_names_in_", None))


def _texts(names):
    return None if names is None else [str(name) for name in names]
