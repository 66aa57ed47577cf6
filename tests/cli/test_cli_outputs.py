"""Files that the command line cannot write: one line that names them, and what they held before."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nvpflow
from nvpflow._io import writing
from nvpflow.cli.tables import read_table, write_table, writing_table
from support.command_line import ENVIRONMENT, command, error_line, main

FULL = f": {os.strerror(errno.ENOSPC)}"
COMMANDS = {
    "fit": ("data.csv", "-q", "--max-iter", 1, "--n-layers", 1, "--base", "normal"),
    "sample": ("model.npz", "-n", 9),
    "score": ("model.npz", "data.csv"),
    "impute": ("model.npz", "data.csv"),
    "explain": ("model.npz", "data.csv"),
    "condition": ("model.npz", "--given", "a=1"),
    "plot": ("model.npz", "--kind", "density"),
}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    room = tmp_path_factory.mktemp("room")
    x = np.random.default_rng(0).normal(size=(40, 2))
    np.savetxt(room / "data.csv", x, delimiter=",", header="a,b", comments="")
    assert main("fit", room / "data.csv", "-o", room / "model.npz", *COMMANDS["fit"][1:]) == 0
    return room


@pytest.fixture
def there(room, monkeypatch):
    monkeypatch.chdir(room)


@pytest.fixture
def full_disk(monkeypatch):
    """A disk that takes the content of a file and then is full."""

    def fail(file):
        file.write(b"some")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(writing, "_flush_and_sync", fail)


@pytest.mark.parametrize(
    ("name", "ending"),
    [("fit", ".npz"), ("plot", ".png"), *((name, ".csv") for name in COMMANDS if name not in ("fit", "plot"))],
)
def test_full_disk(there, full_disk, name, ending, tmp_path, capsys):
    path = tmp_path / f"new{ending}"
    for before in (None, b"old"):
        if before is not None:
            path.write_bytes(before)
        assert main(name, *COMMANDS[name], "-o", path) == 1
        assert error_line(capsys) == f"{path}{FULL}"
        assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [(path.name, before)] * (
            before is not None
        )


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".npy", ".parquet"])
def test_formats_on_full_disk(there, full_disk, ending, tmp_path, capsys):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    assert main("sample", "model.npz", "-o", tmp_path / f"new{ending}") == 1
    assert error_line(capsys) == f"{tmp_path / f'new{ending}'}{FULL}" and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
@pytest.mark.parametrize("n", [3, 50_000])
@pytest.mark.parametrize("ending", ["", ".npy"])
def test_full_device(there, n, ending, tmp_path, capsys):
    link = tmp_path / f"link{ending}"
    link.symlink_to("/dev/full")
    assert main("sample", "model.npz", "-n", n, "-o", link) == 1
    assert error_line(capsys) == f"{link}{FULL}"


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
@pytest.mark.parametrize("ending", [".csv", ".npy"])
def test_parts_beyond_a_limit(ending, tmp_path):
    """Parts that do not fit are an error, and not the end of the process, as with a memory map of a file."""
    path = tmp_path / f"new{ending}"
    path.write_bytes(b"old")
    program = f"""
import numpy as np, resource
from nvpflow.cli.tables import writing_table
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    with writing_table({str(path)!r}, ["a", "b"], 3000) as write:
        for _ in range(30):
            write(np.ones((100, 2)))
except OSError as error:
    print(error.filename)
"""
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == (f"{path}\n", "") and path.read_bytes() == b"old"


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".npy", ".parquet"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parts(ending, dtype, tmp_path):
    """A table in parts is the same as one that is written at once."""
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    values = np.asfortranarray(np.random.default_rng(0).normal(size=(50, 3))).astype(dtype)
    paths = [tmp_path / f"{name}{ending}" for name in ("whole", "parts")]
    write_table(paths[0], values, ["a", "b", "c"])
    with writing_table(paths[1], ["a", "b", "c"], 50) as write:
        for start in (0, 20, 40):
            write(values[start : start + 20])
    for path in paths:
        np.testing.assert_array_equal(read_table(path, dtype=dtype)[0].astype(dtype), values)
    if ending == ".npy":
        assert all(np.load(path).dtype == dtype for path in paths)


def test_interrupted_write(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), writing_table(path, ["a"], 2) as write:
        write(np.ones((1, 1)))
        raise KeyboardInterrupt
    assert path.read_text() == "old" and [found.name for found in tmp_path.iterdir()] == ["new.csv"]


def test_empty_names(there, capsys):
    assert main("sample", "model.npz", "-o", "") == 1
    assert error_line(capsys) == "the file to write to has an empty name"
    assert main("score", "model.npz", "") == 1
    assert error_line(capsys) == f"'': {os.strerror(errno.ENOENT)}"


def test_failing_reads(there, monkeypatch, capsys):
    """An error of the disk names the file."""

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("nvpflow.cli.tables.read_text", fail)
    assert main("score", "model.npz", "data.csv") == 1
    assert error_line(capsys) == f"data.csv: {os.strerror(errno.EIO)}"
    monkeypatch.setattr(nvpflow, "load", fail)
    assert main("info", "model.npz") == 1
    assert error_line(capsys) == f"model.npz: {os.strerror(errno.EIO)}"


class Zeros(io.RawIOBase):
    """A device such as /dev/zero, of which a megabyte may be read."""

    n_read = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        self.n_read += len(buffer)
        assert self.n_read < 1 << 20
        buffer[:] = bytes(len(buffer))
        return len(buffer)


def test_endless_line(there, monkeypatch, capsys):
    monkeypatch.setattr("nvpflow.cli.tables._open", lambda path: io.BufferedReader(Zeros()))
    assert main("score", "model.npz", "data.csv") == 1
    assert error_line(capsys) == "data.csv, line 1: a NUL character, so this is no text in UTF-8"


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["fit"], ["score", "model.npz"], ["fit", "data.csv", "-o"]])
def test_wrong_usage(arguments):
    done = subprocess.run(command(*arguments), env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("nvpflow: error: ") and done.stderr.count("\n") == 1
