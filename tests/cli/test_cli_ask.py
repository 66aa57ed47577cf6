"""The commands condition and explain."""

import csv

import numpy as np
import pytest

import nvpflow
from nvpflow import cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with data.csv and a model of it, m.npz."""
    path, rng = tmp_path_factory.mktemp("ask"), np.random.default_rng(0)
    a, word = rng.normal(size=300), rng.choice(["red", "blue"], 300)
    b = 2 * a + 3 * (word == "red") + 0.1 * rng.normal(size=300)
    lines = [f"{x},{y},{w}" for x, y, w in zip(a, b, word)]
    (path / "data.csv").write_text("\n".join(["a,b,c", *lines]) + "\n")
    options = ["-q", "--max-iter", "1", "--random-state", "0", "--category", "c"]
    assert cli.main(["fit", str(path / "data.csv"), "-o", str(path / "m.npz"), *options]) == 0
    return path


@pytest.fixture
def ask(folder, monkeypatch, capsys):
    """Runs a command in the folder, and gives the table that it writes, a dict for each line."""
    monkeypatch.chdir(folder)

    def run(*arguments):
        assert cli.main([str(argument) for argument in arguments]) == 0
        return list(csv.DictReader(capsys.readouterr().out.splitlines()))

    return run


def test_given_values_have_means_and_intervals(ask):
    (line,) = ask("condition", "m.npz", "--given", "a=1,c=red", "--level", "0.5")
    found = nvpflow.load("m.npz").conditional({"a": 1.0, "c": "red"})
    assert list(line) == ["row", "column", "mean", "std", "low", "high"]
    assert (line["row"], line["column"]) == ("1", "b")
    expected = [found.mean(), found.std(), *found.interval(0.5)]
    np.testing.assert_allclose([float(line[key]) for key in ("mean", "std", "low", "high")], expected, rtol=1e-6)
    assert ask("condition", "m.npz", "--given", "1=1,3=red", "--free", "2", "--level", "0.5") == [line]


def test_columns_of_one_name_are_told_apart_by_numbers(ask, folder, capsys):
    rows = np.random.default_rng(0).normal(size=(60, 3))
    np.savetxt(folder / "twice.csv", rows, delimiter=",", header="a,a,b", comments="")
    assert cli.main(["fit", "twice.csv", "-o", "twice.npz", "--max-iter", "1", "--quiet"]) == 0
    assert len(ask("condition", "twice.npz", "--given", "1=0,2=1")) == 1
    for arguments in (["--given", "a=1"], ["--free", "a"]):
        assert cli.main(["condition", "twice.npz", *arguments]) == 1
        assert f"{arguments[0]}: the model has 2 columns 'a': use their numbers" in capsys.readouterr().err


def test_rows_of_a_table_have_quantiles(ask, folder):
    (folder / "few.csv").write_text("c,a\nred,0.5\nblue,-1\nred,\n")
    lines = ask("condition", "m.npz", "few.csv", "--free", "b", "--quantiles", "0.1,0.9")
    given = {"a": [0.5, -1.0, None], "c": ["red", "blue", "red"]}
    expected = nvpflow.load("m.npz").conditional(given, "b").ppf([0.1, 0.9])
    assert [line["row"] for line in lines] == ["1", "2", "3"]
    np.testing.assert_allclose([[float(line["q0.1"]), float(line["q0.9"])] for line in lines], expected, rtol=1e-6)
    (folder / "one.csv").write_text("a\n0.5\n")
    assert ask("condition", "m.npz", "one.csv", "--given", "c=red", "--free", "b", "--quantiles", "0.1,0.9") == lines[:1]


def test_densities_and_probabilities_of_one_column(ask):
    lines = ask("condition", "m.npz", "--given", "a=0", "--free", "b", "--grid=-1:4:501")
    assert list(lines[0]) == ["row", "b", "density"]
    assert abs(sum(float(line["density"]) for line in lines) * 0.01 - 1) < 0.01
    lines = ask("condition", "m.npz", "--given", "a=0,b=3")
    assert {line["c"]: float(line["probability"]) > 0.9 for line in lines} == {"red": True, "blue": False}


def test_samples_are_tables_of_the_free_columns(ask):
    lines = ask("condition", "m.npz", "--given", "a=1", "-n", "50", "--random-state", "1")
    assert len(lines) == 50
    assert list(lines[0]) == ["b", "c"]
    assert sum(abs(float(line["b"]) - 2 - 3 * (line["c"] == "red")) < 1 for line in lines) >= 48


def test_explanations_name_unusual_cells(ask, folder):
    (folder / "odd.csv").write_text("a,b,c\n0,3,red\n0,0,red\n")
    lines = ask("explain", "m.npz", "odd.csv")
    assert [(line["row"], line["column"]) for line in lines] == [(row, name) for row in "12" for name in "abc"]
    assert lines[4]["value"] == "0" and 2.5 < float(lines[4]["low"]) < 3 < float(lines[4]["high"]) < 3.5
    unusual = ask("explain", "m.npz", "odd.csv", "--p-value", "0.01")
    assert {line["row"] for line in unusual} == {"2"}
    assert lines[5]["typical"] == "blue"


def test_a_far_value_warns_once(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert cli.main(["condition", "m.npz", "--given", "a=50", "--free", "b"]) == 0
    assert capsys.readouterr().err.count("far from all samples of the model in 1 row") == 1


def test_errors_are_one_line(ask, capsys):
    for arguments, words in (
        (("condition", "m.npz", "--given", "z=1"), "--given must name columns of the model: the names a, b, c"),
        (("condition", "m.npz", "--given", "a=x"), "--given must have a number for a, got 'x'"),
        (("condition", "m.npz", "--given", "c=green"), "green"),
        (("condition", "m.npz", "--given", "a=1,1=2"), "--given must name each column once"),
        (
            ("condition", "m.npz", "--given", "a=1"),
            "column 'c' holds categories, which have no mean and no quantiles: --free c has",
        ),
        (("condition", "m.npz", "data.csv"), "--free must say which columns"),
        (("explain", "m.npz", "none.csv"), "none.csv: No such file"),
    ):
        assert cli.main(list(arguments)) == 1, arguments
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    for option, value in (("--grid", "1:0:5"), ("--grid", "a"), ("--given", "a"), ("--quantiles", "a"), ("--level", "2")):
        with pytest.raises(SystemExit):
            cli.main(["condition", "m.npz", option, value])
        assert f"argument {option}" in capsys.readouterr().err
