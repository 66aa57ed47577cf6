"""Bad files and arguments on the command line: one line of error, never a traceback."""

import os
from pathlib import Path

import numpy as np
import pytest

import nvpflow
from nvpflow import cli


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    room = tmp_path_factory.mktemp("room")
    x = np.random.default_rng(0).normal(size=(60, 2))
    nvpflow.FlowDensity(2, 8, max_iter=2, base="normal", random_state=0).fit(x).save(room / "model.npz")
    np.savetxt(room / "data.csv", x, delimiter=",", header="a,b", comments="")
    return room


@pytest.fixture(autouse=True)
def there(room, monkeypatch):
    monkeypatch.chdir(room)


def fails(capsys, *arguments, status=1):
    """The message of a call that fails."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    assert (code, out) == (status, "")
    (line,) = err.splitlines()
    assert line.startswith("nvpflow: error: ") and len(line) < 400
    return line.removeprefix("nvpflow: error: ")


def put(name, content):
    with open(name, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    return name


class TestModels:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "m is not an nvpflow file: it is neither an .npz nor a .safetensors file"),
            (b"a,b\n1,2\n", "m is not an nvpflow file: it is neither an .npz nor a .safetensors file"),
            (b"\x93NUMPY\x01\x00", "m is not an nvpflow file: it is neither an .npz nor a .safetensors file"),
            (b"PK\3\4", "m is not an nvpflow file: the archive is damaged: File is not a zip file"),
        ],
    )
    def test_other_files(self, content, message, capsys):
        put("m", content)
        for command in (["info", "m"], ["sample", "m"], ["score", "m", "data.csv"], ["plot", "m", "-o", "x.png"]):
            assert fails(capsys, *command) == message

    def test_other_npz_and_directory(self, capsys):
        np.savez("other.npz", a=np.zeros(3))
        assert fails(capsys, "info", "other.npz") == "other.npz is not an nvpflow file: it has no 'header'"
        assert fails(capsys, "info", ".") == ".: Is a directory"

    def test_swapped_table_and_model(self, capsys):
        assert "data.csv is not an nvpflow file" in fails(capsys, "score", "data.csv", "model.npz")
        assert "model.npz is not a text in UTF-8" in fails(capsys, "score", "model.npz", "model.npz")


class TestTables:
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("1e300", "t.csv, line 3, column 'b': 1e+300 is not a finite number in float32"),
            ("-4e38", "t.csv, line 3, column 'b': -4e+38 is not a finite number in float32"),
            ("1e400", "t.csv, line 3, column 'b': inf is not a finite number"),
            ("1_000", "t.csv, line 3, column 'b': '1_000' is not a number"),
            ('"1,000"', "t.csv, line 3, column 'b': '1,000' is not a number"),
            ("١٢", "t.csv, line 3, column 'b': '١٢' is not a number"),
            ("0x10", "t.csv, line 3, column 'b': '0x10' is not a number"),
            ("1\0", "t.csv, line 3: a NUL character, so this is no text in UTF-8"),
            ('"1', "t.csv, line 3: a quoted cell has no end"),
            ("x" * 200_000, f"t.csv, line 3, column 'b': {'x' * 60!r}... is not a number"),
            (f'"{"x" * 200_000}"', "t.csv, line 3: a cell of more than 131,072 characters, or a quotation mark too many"),
        ],
    )
    def test_bad_cell(self, value, message, capsys):
        put("t.csv", f"a,b\n1,2\n3,{value}\n")
        for command in (["score", "model.npz", "t.csv"], ["fit", "t.csv", "-o", "new.npz"]):
            assert fails(capsys, *command) == message
        assert not os.path.exists("new.npz")

    @pytest.mark.parametrize(
        ("value", "what"),
        [("nan", "nan is not a finite number"), ("", "the cell is empty"), ("NA", "'NA' is not a number")],
    )
    def test_missing_cell(self, value, what, capsys):
        put("t.csv", f"a,b\n1,2\n3,{value}\n")
        message = f"t.csv, line 3, column 'b': {what}"
        assert fails(capsys, "score", "model.npz", "t.csv") == message
        hint = " (--missing marginalize allows missing cells)"
        assert fails(capsys, "fit", "t.csv", "-o", "new.npz") == message + hint

    def test_large_numbers(self, capsys):
        x = np.random.default_rng(1).normal(size=(40, 2)) * 1e100
        np.save("large.npy", x)
        assert "row 1, column 1: 3.4" in fails(capsys, "fit", "large.npy", "-o", "new.npz")
        fit = ["fit", "-q", "large.npy", "-o", "large.npz", "--dtype", "float64", "--max-iter", "2", "--n-layers", "2"]
        assert cli.main(fit) == 0
        assert cli.main(["score", "large.npz", "large.npy", "--mean"]) == 0
        assert -470 < float(capsys.readouterr().out) < -455  # 2 log(1e100) + 2.8 below 0

    def test_row_without_log_density(self, capsys, monkeypatch):
        monkeypatch.setattr(nvpflow.FlowDensity, "score_samples", lambda self, X, context: np.array([0, -np.inf, np.nan]))
        for option in ([], ["--mean"]):
            message = fails(capsys, "score", "model.npz", "data.csv", *option)
            assert message == "data.csv, row 3: the model has no log-density there, its numbers overflow"

    def test_zero_density(self, capsys, monkeypatch):
        monkeypatch.setattr(nvpflow.FlowDensity, "score_samples", lambda self, X, context: np.array([0.0, -np.inf]))
        assert cli.main(["score", "model.npz", "data.csv"]) == 0
        assert capsys.readouterr().out == "log_density\n0\n-inf\n"

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            (b"(" * 150 + b")" * 150, "Header is not a dictionary: ()"),
            (b"-" * 9000 + b"1", ""),  # whatever the parser of this Python says
            (b"(" * 9000, ""),
            (b"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2)" + b" " * 70_000 + b"}", ""),
        ],
    )
    def test_bad_npy_headers(self, header, message, capsys):
        put("h.npy", b"\x93NUMPY\2\0" + len(header).to_bytes(4, "little") + header)
        assert fails(capsys, "score", "model.npz", "h.npy").startswith(f"h.npy is not a whole NPY file of numbers: {message}")

    def test_long_and_missing_paths(self, capsys):
        assert fails(capsys, "score", "model.npz", "a" * 300).endswith("aaa: File name too long")
        assert fails(capsys, "score", "model.npz", "two\nlines.csv") == "two lines.csv: No such file or directory"


class TestOutputs:
    @pytest.mark.parametrize(
        "command",
        [
            ["fit", "data.csv", "-o", "data.csv"],
            ["fit", "data.csv", "-o", "./data.csv"],
            ["score", "model.npz", "data.csv", "-o", "data.csv"],
            ["score", "model.npz", "data.csv", "-o", "model.npz"],
            ["sample", "model.npz", "-o", "model.npz"],
            ["plot", "model.npz", "data.csv", "-o", "data.csv"],
        ],
    )
    def test_input_as_output(self, command, capsys):
        before = Path("data.csv").read_bytes(), Path("model.npz").read_bytes()
        assert fails(capsys, *command) == f"{command[-1]} is read: write to another file"
        assert before == (Path("data.csv").read_bytes(), Path("model.npz").read_bytes())

    @pytest.mark.parametrize("command", [["fit", "data.csv"], ["score", "model.npz", "data.csv"], ["sample", "model.npz"]])
    def test_unwritable(self, command, capsys):
        assert fails(capsys, *command, "-o", "no/x").endswith("no: no such directory to write to")
        assert fails(capsys, *command, "-o", ".") == ".: is a directory"
        assert fails(capsys, *command, "-o", "data.csv/x").endswith("data.csv: no such directory to write to")

    def test_link(self, tmp_path, capsys):
        os.symlink(tmp_path / "target.csv", "link.csv")
        assert cli.main(["sample", "model.npz", "-n", "3", "-o", "link.csv"]) == 0
        assert np.loadtxt(tmp_path / "target.csv", delimiter=",").shape == (3, 2)


class TestNumbers:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["-n", "1_000"], "argument -n/--n-samples: must be an integer, got '1_000' (see nvpflow sample --help)"),
            (["-n", "١٢"], "argument -n/--n-samples: must be an integer, got '١٢' (see nvpflow sample --help)"),
            (["-n", "0"], "argument -n/--n-samples: must be at least 1, got 0 (see nvpflow sample --help)"),
            (["-n", "9" * 30], "argument -n/--n-samples: must be at most 281474976710656, got 9999"),
            (["--random-state", "1e3"], "argument --random-state: must be an integer, got '1e3'"),
            (["--bogus"], "unrecognized arguments: --bogus"),
        ],
    )
    def test_wrong_usage(self, words, message, capsys):
        assert fails(capsys, "sample", "model.npz", *words, status=2).startswith(message)

    def test_too_many_samples(self, capsys):
        assert fails(capsys, "sample", "model.npz", "-n", 2**48).startswith("Unable to allocate 2.00 PiB")
