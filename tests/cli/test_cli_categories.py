"""Categories at the command line."""

import csv
import datetime
import io

import numpy as np
import pytest

import nvpflow
from support.command_line import error_line, main

FAST = ["--max-iter", "3", "--n-layers", "2", "--hidden-dim", "8", "--random-state", "0", "-q"]
COLOURS = ("red", "deep, blue", "green")


def rows(n=200, seed=0):
    rng = np.random.default_rng(seed)
    code = rng.integers(3, size=n)
    cells = zip(code + rng.normal(size=n), np.array(COLOURS)[code], rng.integers(2, size=n), rng.poisson(3, n))
    return [[f"{x:.5g}", colour, str(flag), str(count)] for x, colour, flag, count in cells]


def text_of(cells):
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([["x", "colour", "flag", "count"], *cells])
    return file.getvalue()


@pytest.fixture
def table(put):
    return put(text_of(rows()))


@pytest.fixture
def path(table, tmp_path, capsys):
    path = tmp_path / "model.npz"
    assert main("fit", table, "-o", path, "--category", "colour,3", "--integer", "count:0:", *FAST) == 0
    capsys.readouterr()
    return path


def test_fit_score_and_sample(table, path, capsys):
    assert main("sample", path, "-n", 100) == 0
    names, *samples = csv.reader(io.StringIO(capsys.readouterr().out))
    assert names == ["x", "colour", "flag", "count"] and len(samples) == 100
    assert {row[1] for row in samples} == set(COLOURS) and {row[2] for row in samples} == {"0", "1"}
    assert all(row[3].isdigit() for row in samples)
    assert main("score", path, table) == 0
    scores = [float(line) for line in capsys.readouterr().out.splitlines()[1:]]
    model = nvpflow.load(path)
    X = np.array([[float(x), colour, flag, float(count)] for x, colour, flag, count in rows()], dtype=object)
    with pytest.warns(UserWarning, match="valid feature names"):
        np.testing.assert_allclose(scores, model.score_samples(X), rtol=1e-6)
    assert main("info", path) == 0
    assert "categories  2: colour, flag" in capsys.readouterr().out


def test_other_formats(path, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    assert main("sample", path, "-n", 50, "-o", tmp_path / "s.parquet") == 0
    assert main("fit", tmp_path / "s.parquet", "-o", tmp_path / "p.npz", "--category", "colour,flag", *FAST) == 0
    assert main("score", tmp_path / "p.npz", tmp_path / "s.parquet", "--mean") == 0
    assert np.isfinite(float(capsys.readouterr().out))
    assert main("sample", path, "-n", 50, "-o", tmp_path / "s.npy") == 1
    assert "s.npy cannot hold categories" in error_line(capsys)


def test_categories_alone(table, tmp_path, capsys):
    path = tmp_path / "alone.npz"
    assert main("fit", table, "-o", path, "--columns", "flag,colour", "--category", "1,2", "-q") == 0
    assert main("info", path) == 0
    assert "probabilities of categories alone" in capsys.readouterr().out
    assert main("sample", path, "-n", 2) == 0 and main("score", path, table, "--mean") == 0
    assert float(capsys.readouterr().out.splitlines()[-1]) == pytest.approx(-np.log(6), abs=0.1)


def test_a_detector(table, put, tmp_path, capsys):
    path = tmp_path / "detector.npz"
    options = ["--category", "colour,flag", "--contamination", "0.1"]
    assert main("fit", table, "-o", path, *options, *FAST) == 0
    assert main("score", path, table, "--labels") == 0
    assert 3 < capsys.readouterr().out.count(",-1") <= 20  # the threshold is that of held-out rows
    assert main("score", path, put(text_of(rows(1000, seed=1)), "fresh.csv"), "--labels") == 0
    assert 50 < capsys.readouterr().out.count(",-1") < 150  # a tenth of fresh rows, too


def test_contexts(table, tmp_path, capsys):
    path = tmp_path / "conditional.npz"
    options = ["--columns", "x", "--context", "colour,count", "--context-category", "colour"]
    assert main("fit", table, "-o", path, *options, *FAST) == 0
    assert nvpflow.load(path).context_support == {0: nvpflow.Category()}
    for arguments in (["--context-values", "count=3,colour=red"], ["--context", table]):
        assert main("sample", path, *arguments) == 0
    assert main("score", path, table, "--mean") == 0
    capsys.readouterr()
    for values, message in (
        ("colour=pink,count=3", "column 'colour' of context must be one of the categories 'deep, blue', 'green', 'red'"),
        ("colour=red,count=many", "--context-values must have a number for count, got 'many'"),
        ("colour=red", "--context-values must name colour, count, got colour"),
    ):
        assert main("sample", path, "--context-values", values) == 1
        assert message in error_line(capsys)


def test_errors(table, path, put, tmp_path, capsys):
    model = tmp_path / "other.npz"
    for arguments, message in (
        (["fit", table, "-o", model, *FAST], " is not a number: --category names columns of texts"),
        (["fit", table, "-o", model, "--category", "colours"], "has no column 'colours'; it has x, colour, flag, count"),
        (["fit", table, "-o", model, "--category", "flag,colour", "--unit", "flag"], "column 'flag' has two supports"),
        (["fit", table, "-o", model, "--context-category", "colour"], "--context-category needs --context"),
        (["score", path, put("x,colour,flag,count\n1,pink,0,3\n", "a.csv")], "column 'colour' of X must be one of the"),
        (["score", path, put("x,colour,flag,count\n1,,0,3\n", "b.csv")], "line 2, column 'colour': the cell is empty"),
    ):
        assert main(*arguments) == 1
        assert message in error_line(capsys)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_missing_cells(put, tmp_path, capsys, suffix):
    cells = rows()
    for i, row in enumerate(cells):
        row[i % 4] = "" if i % 7 == 0 else row[i % 4]
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([["x", "colour", "flag", "count"], *cells])
    path, model = put(file.getvalue()), str(tmp_path / "model.npz")
    if suffix == "parquet":
        pandas = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        frame = pandas.read_csv(path, dtype={"colour": str})
        path = str(tmp_path / "table.parquet")
        frame.to_parquet(path)
    fit = ["fit", path, "-o", model, "--category", "colour", *FAST]
    assert main(*fit) == 1
    assert "the cell is empty" in error_line(capsys)
    assert main(*fit, "--missing", "marginalize") == 0
    assert main("score", model, path) == 0
    assert np.isfinite([float(line) for line in capsys.readouterr().out.splitlines()[1:]]).all()
    assert main("impute", model, path) == 0
    filled = list(csv.reader(io.StringIO(capsys.readouterr().out)))[1:]
    assert all(row[1] in COLOURS and all(row) for row in filled)
    assert all(new[1] == old[1] for new, old in zip(filled, cells) if old[1])


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([[1.0], [2.0]], "list"),
        ([{"a": 1}, {"a": 2}], "dict"),
        ([datetime.date(2020, 1, 1)] * 2, "date"),
        ([b"a", b"b"], "bytes"),
    ],
)
def test_parquet_cells_that_are_no_categories(cells, kind, tmp_path, capsys):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "table.parquet"
    parquet.write_table(pytest.importorskip("pyarrow").table({"x": [0.5, 1.5], "c": cells}), path)
    assert main("fit", path, "-o", tmp_path / "m.npz", "--category", "c", *FAST) == 1
    assert f"column 'c' of categories must hold texts, bools or numbers, got {kind}" in error_line(capsys)
