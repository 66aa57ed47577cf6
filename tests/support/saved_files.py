"""Helpers for tests of files: models, their comparison, and manipulated files."""

import json
import os
import signal
import tracemalloc
import zipfile

import numpy as np
import pytest

import nvpflow

POINTS = np.random.RandomState(0).normal(size=(60, 3))


def conditional_flow():
    options = {"context_dim": 2, "random_state": 0}
    return nvpflow.Flow([nvpflow.CouplingLayer(3, (4, 5), [1, 0, 1], **options), nvpflow.SplineCoupling(3, **options)])


def fitted(kind):
    options = {"contamination": 0.1} if kind is nvpflow.FlowOutlierDetector else {}
    return kind(2, [4, 3], max_iter=5, n_jobs=2, random_state=np.int64(7), dtype=np.float64, **options).fit(POINTS)


MODELS = ("flow", "everything", "conditional", "empty", "estimator", "detector")


every_model = pytest.mark.parametrize("name", MODELS)


def save_to(directory, model, ending):
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    path = directory / f"model.{ending}"
    nvpflow.save(model, path)
    return path


def assert_same(twin, model):
    """Check that the public state of two flows, or two estimators, is the same to the last bit."""
    assert type(twin) is type(model)
    if isinstance(model, nvpflow.Flow):
        assert twin.config() == model.config() and twin.n_jobs == model.n_jobs
        np.testing.assert_array_equal(twin.parameters, model.parameters)
        return
    as_stored = {"dtype": twin.dtype, "random_state": twin.random_state}
    assert repr(twin.get_params()) == repr(model.get_params() | as_stored)
    assert vars(twin).keys() == vars(model).keys()
    for name, value in vars(model).items():
        if name in ("flow_", "estimator_"):
            assert_same(getattr(twin, name), value)
        elif name in ("history_", "search_"):
            assert getattr(twin, name).keys() == value.keys()
            for key in value:
                np.testing.assert_array_equal(getattr(twin, name)[key], value[key])
        elif name.endswith("_"):
            np.testing.assert_array_equal(getattr(twin, name), value)
            assert type(getattr(twin, name)) is type(value)
    np.testing.assert_array_equal(twin.score_samples(POINTS), model.score_samples(POINTS))


def contents(path):
    """Header and arrays of an .npz."""
    with np.load(path) as arrays:
        arrays = dict(arrays)
    return json.loads(str(arrays.pop("header"))), arrays


def write(path, header, arrays):
    text = header if isinstance(header, str) else json.dumps(header)
    np.savez(path, header=np.array(text), **arrays)
    return path


def spoiled_headers(path, *changes):
    """Replace values in the header of a file. `changes` are pairs of a path into the header and the new value."""
    header, arrays = contents(path)
    for place, value in changes:
        *way, last = place
        inner = header
        for key in way:
            inner = inner[key]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    # The second description would not agree.
    del arrays["description"]
    return write(path, header, arrays)


def overwrite(path, content):
    """Overwrite a file. On some file systems this is a thousand times faster than to truncate it first."""
    with open(path, "r+b") as file:
        file.write(content)
        file.truncate()


class bounded_memory:
    """Fail if more than 20 MB are allocated.

    tracemalloc counts every request of NumPy and Python, even of memory that is never used. The C library allocates as much
    for the parameters of a flow as NumPy does.
    """

    def __enter__(self):
        tracemalloc.start()

    def __exit__(self, *error):
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20e6


def rewrite(path, change):
    """Rewrite an archive. `change` converts the dict of its members to pairs of a name and bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in change(members):
            archive.writestr(name, content)


def load_in_bounds(path, seconds):
    """Load a file with at most 40 times its size plus 40 MB of memory, and `seconds` of processor time.

    Return "loaded", the message of an exception, or the name of the signal that ended the process.
    """
    resource = pytest.importorskip("resource")
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("it tells how much memory is in use")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with open("/proc/self/statm") as file:
                used = int(file.read().split()[0]) * resource.getpagesize()
            most = used + 40 * os.path.getsize(path) + 40_000_000
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            resource.setrlimit(resource.RLIMIT_CPU, (int(sum(os.times()[:2])) + seconds,) * 2)
            try:
                nvpflow.load(path)
                result = "loaded"
            except Exception as error:
                result = f"{type(error).__name__}: {error}"
            os.write(writer, result.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        result = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return result if status == 0 else signal.Signals(-status).name
