"""The command line with standard streams that are closed, full, broken or pipes."""

import os
import subprocess
import sys

import numpy as np
import pytest

import nvpflow
from nvpflow import cli
from support.command_line import ENVIRONMENT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")

CLOSED = "nvpflow: error: standard input or standard output is closed\n"


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    room = tmp_path_factory.mktemp("room")
    x = np.random.default_rng(0).normal(size=(60, 2))
    nvpflow.FlowDensity(2, 8, max_iter=2, base="normal", random_state=0).fit(x).save(room / "model.npz")
    np.savetxt(room / "data.csv", x, delimiter=",")
    return room


def shell(room, line):
    """Exit code, standard output and standard error of a shell command; "nvpflow" is this checkout."""
    line = line.replace("nvpflow ", f"'{sys.executable}' -m nvpflow ")
    result = subprocess.run(
        ["bash", "-c", line], cwd=room, env=ENVIRONMENT | {"PYTHONUNBUFFERED": ""}, capture_output=True, text=True, timeout=120
    )
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("nvpflow score - data.csv <&-", (1, "", CLOSED)),
        ("nvpflow score model.npz - --mean <&-", (1, "", CLOSED)),
        ("nvpflow score model.npz data.csv >&-", (1, "", CLOSED)),
        ("nvpflow score model.npz data.csv --mean >&-", (1, "", CLOSED)),
        ("nvpflow info model.npz >&-", (1, "", CLOSED)),
        ("nvpflow plot model.npz --kind training -o - >&-", (1, "", CLOSED)),
        ("nvpflow --help >&-", (1, "", CLOSED)),
        # Errors have no place to go to, and go nowhere.
        ("nvpflow info none.npz 2>&-", (1, "", "")),
        ("nvpflow info none.npz <&- >&- 2>&-", (1, "", "")),
        ("nvpflow --bogus 2>&-", (2, "", "")),
        ("nvpflow info none.npz 2> /dev/full", (1, "", "")),
        ("nvpflow sample model.npz -n 3 > /dev/full", (1, "", "nvpflow: error: No space left on device\n")),
        ("nvpflow info model.npz > /dev/full", (1, "", "nvpflow: error: No space left on device\n")),
    ],
)
def test_closed_streams(room, line, expected):
    assert shell(room, line) == expected


def test_unused_closed_streams(room):
    result = shell(room, "nvpflow score model.npz data.csv -o scores.npy <&- >&- 2>&-")
    assert result == (0, "", "") and np.load(room / "scores.npy").shape == (60, 1)
    status, stdout, stderr = shell(room, "nvpflow score model.npz data.csv --mean <&-")
    assert (status, stderr) == (0, "") and float(stdout) == pytest.approx(np.load(room / "scores.npy").mean(), abs=1e-5)


def test_closed_stderr_does_not_reach_files(room):
    """A file that is opened next would get their descriptors."""
    fit = "nvpflow fit data.csv -o new.npz --n-layers 2 --max-iter 2 -v"
    assert shell(room, f"{fit} <&- >&- 2>&-") == (0, "", "")
    assert nvpflow.load(room / "new.npz").n_iter_ == 2
    assert shell(room, "nvpflow sample model.npz -n 5 -o new.csv <&- >&- 2>&-") == (0, "", "")
    assert np.loadtxt(room / "new.csv", delimiter=",").shape == (5, 2)


@pytest.mark.parametrize("command", ["sample model.npz -n 200000", "--help", "info model.npz"])
def test_broken_pipe(room, command):
    assert shell(room, f"nvpflow {command} | true; exit ${{PIPESTATUS[0]}}")[1:] == ("", "")


def test_model_from_pipe(room):
    expected = shell(room, "nvpflow info model.npz")
    assert expected[0] == 0 and expected[1].startswith("columns     2\n")
    for line in (
        "nvpflow info - < model.npz",
        "cat model.npz | nvpflow info -",
        "nvpflow info <(cat model.npz)",
        "mkfifo pipe; cat model.npz > pipe & nvpflow info pipe",
    ):
        assert shell(room, line) == expected
    (room / "pipe").unlink()


def test_name_of_pipe_in_errors(room):
    what = "is not an nvpflow file: it is neither an .npz nor a .safetensors file\n"
    assert shell(room, "cat data.csv | nvpflow info -") == (1, "", f"nvpflow: error: standard input {what}")
    status, _, stderr = shell(room, "nvpflow info <(cat data.csv)")
    assert status == 1 and stderr.startswith("nvpflow: error: /dev/fd/") and stderr.endswith(what)


def test_open_streams(capsys):
    before = sys.stdin, sys.stdout, sys.stderr, [os.fstat(number).st_ino for number in range(3)]
    assert cli.main(["info", "none.npz"]) == 1
    assert before == (sys.stdin, sys.stdout, sys.stderr, [os.fstat(number).st_ino for number in range(3)])
    assert capsys.readouterr().err == "nvpflow: error: none.npz: No such file or directory\n"
