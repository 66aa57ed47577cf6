"""Tables larger than memory on the command line: several files, folders and large files, in batches."""

from pathlib import Path

import numpy as np
import pytest

import nvpflow
from nvpflow.cli import _large
from support.command_line import error_line, main, numbers

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

FIT = ("-o", "m.npz", "-q", "--max-iter", "1", "--n-layers", "2", "--random-state", "0")


@pytest.fixture
def x(tmp_path, monkeypatch):
    """The rows of the files f/0.parquet and f/1.parquet, together."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").mkdir()
    x = np.random.default_rng(0).normal(size=(300, 3)) @ [[1, 2, 0], [0, 1, 0], [0, 0, 3]]
    for i, part in enumerate(np.split(x, 2)):
        parquet.write_table(pyarrow.table(list(np.ascontiguousarray(part.T)), names=list("abc")), f"f/{i}.parquet")
    return x


def scores(x):
    return nvpflow.FlowDensity(max_iter=1, n_layers=2, random_state=0).fit(x).score_samples(x)


@pytest.mark.parametrize("tables", [("f",), ("f/0.parquet", "f/1.parquet"), ("f/*.parquet",)])
def test_fit_and_score(x, tables, capsys):
    assert main("fit", *tables, *FIT) == 0
    expected = scores(x)
    for output, read in {
        "s.parquet": lambda: parquet.read_table("s.parquet")["log_density"].to_numpy(),
        "s.npy": lambda: np.load("s.npy")[:, 0],
        "s.csv": lambda: numbers(Path("s.csv").read_text())[:, 0],
        "-": lambda: numbers(capsys.readouterr().out)[:, 0],
    }.items():
        assert main("score", "m.npz", *tables, "-o", output) == 0
        np.testing.assert_allclose(read(), expected, rtol=1e-6)
    assert main("score", "m.npz", *tables, "--mean") == 0
    assert float(capsys.readouterr().out) == pytest.approx(expected.mean(), abs=1e-6)


def test_columns_and_supports(x, capsys):
    assert main("fit", "f", "--columns", "c,1", *FIT) == 0
    assert list(nvpflow.load("m.npz").feature_names_in_) == ["c", "a"]
    assert main("score", "m.npz", "f") == 0
    np.testing.assert_allclose(numbers(capsys.readouterr().out)[:, 0], scores(x[:, [2, 0]]), rtol=1e-6)
    assert main("fit", "f", "--bounds", "a:-9:9", *FIT) == 0
    assert nvpflow.load("m.npz").support == {0: (-9.0, 9.0)}


def test_large_files(x, monkeypatch, capsys):
    np.savetxt("x.csv", x, delimiter=",", header="a,b,c", comments="")
    np.save("x.npy", x)
    monkeypatch.setattr(_large, "LARGE", 1000)
    for name in ("x.csv", "x.npy"):
        assert main("fit", name, "-v", *(option for option in FIT if option != "-q")) == 0
        assert "first pass: 100% of 300 rows" in capsys.readouterr().err
        assert main("score", "m.npz", name, "--mean") == 0
        assert float(capsys.readouterr().out) == pytest.approx(scores(x).mean(), abs=1e-5)


def test_detector(x, capsys):
    assert main("fit", "f", "--contamination", "0.1", *FIT) == 0
    assert main("score", "m.npz", "f", "--labels") == 0
    found, detector = numbers(capsys.readouterr().out), nvpflow.FlowOutlierDetector(contamination=0.1, max_iter=1, n_layers=2)
    labels = detector.set_params(random_state=0).fit_predict(x)
    np.testing.assert_array_equal(found[:, 1], detector.predict(x))
    np.testing.assert_allclose(found[:, 0], detector.score_samples(x), rtol=1e-6)
    assert 0 < np.mean(labels == -1) < 0.2
    assert main("fit", "f", "--contamination", "auto", "--missing", "marginalize", *FIT) == 0
    assert main("score", "m.npz", "f", "--labels") == 1
    assert "--labels of rows with missing cells needs a table in memory" in error_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fit", "f", "--context", "c"), "--context needs a table in memory"),
        (("fit", "f", "--weight", "c"), "--weight needs a table in memory"),
        (("fit", "f", "--category", "c"), "--category needs a table in memory"),
        (("fit", "f", "--delimiter", ";"), "--delimiter and --header need a table in memory"),
        (("fit", "f", "--columns", "z"), "f has no column 'z'; it has a, b, c"),
        (("fit", "f/0.parquet", "none.parquet"), "none.parquet: No such file or directory"),
        (("fit", "f", "no*.parquet"), "no*.parquet: no file fits this pattern"),
        (("fit", "f", "m.npz"), "m.npz is read: write to another file"),
    ],
)
def test_errors_of_fit(x, arguments, words, capsys):
    Path("m.npz").touch()
    assert main(*arguments, *FIT) == 1
    assert words in error_line(capsys)


def test_index_of_a_frame_is_no_column(x, capsys):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(x, columns=list("abc"))
    frame[frame.a > 0].to_parquet("i.parquet")
    for tables in (("i.parquet",), ("i.parquet", "i.parquet")):
        assert main("fit", *tables, *FIT) == 0
        assert nvpflow.load("m.npz").feature_names_in_.tolist() == ["a", "b", "c"]
    assert main("fit", "i.parquet", "--columns", "a,__index_level_0__", *FIT) == 0


def test_a_column_that_the_first_file_lacks(x, capsys):
    parquet.write_table(parquet.read_table("f/0.parquet").rename_columns(["a", "b", "z"]), "f/1.parquet")
    assert main("fit", "f", *FIT) == 1
    assert "got 'z' in f/1.parquet, which the first file lacks" in error_line(capsys)


def test_errors_of_score(x, capsys):
    assert main("fit", "f", "--columns", "a,b", *FIT) == 0
    assert main("score", "m.npz", "f", "--columns", "a") == 1
    assert error_line(capsys) == "the model has 2 columns, got 1: --columns chooses some of a table"
    hole = pyarrow.table({"a": [1.0, None], "b": [1.0, 2.0]})
    parquet.write_table(hole, "f/2.parquet")
    assert main("score", "m.npz", "f", "-o", "s.csv") == 1
    assert "got nan in column 0, row 302" in error_line(capsys)
    assert not Path("s.csv").exists()
