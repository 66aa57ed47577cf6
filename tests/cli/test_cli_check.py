"""The command check."""

import numpy as np
import pytest

import nvpflow
from nvpflow import cli


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """The files train.csv, test.csv and far.csv."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, n, shift in (("train", 300, 0), ("test", 100, 0), ("far", 100, 2)):
        a, b, word = rng.normal(size=n), rng.normal(size=n) + shift, rng.choice(["red", "blue"], n)
        lines = [f"{x},{x + y},{w}" for x, y, w in zip(a, b, word)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["a,b,c", *lines]) + "\n")


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def fit(*options):
    assert run("fit", "train.csv", "-o", "m.npz", "-q", "--max-iter", "3", "--random-state", "0", *options) == 0


def test_findings_are_lines(tables, capsys):
    fit("--columns", "a,b")
    assert run("check", "m.npz", "test.csv", "--train", "train.csv") == 0
    out = capsys.readouterr().out
    assert "normal distribution" in out and out.rstrip().endswith("Findings\n  nothing significant")
    assert run("check", "m.npz", "far.csv") == 0  # what it finds is no error
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  column b is not distributed like samples of the model") for line in lines)


def test_numbers_are_those_of_the_method(tables, capsys):
    fit("--columns", "a,b")
    assert run("check", "m.npz", "test.csv", "--train", "train.csv", "--random-state", "3") == 0
    x, train = (np.genfromtxt(f"{name}.csv", delimiter=",", skip_header=1, usecols=(0, 1)) for name in ("test", "train"))
    model = nvpflow.load("m.npz")
    del model.feature_names_in_
    expected = str(model.check(x, X_train=train, random_state=3))
    assert capsys.readouterr().out.split() == expected.replace("x0", "a").replace("x1", "b").split()


def test_context_and_categories(tables, capsys):
    fit("--columns", "a", "--context", "b")
    assert run("check", "m.npz", "test.csv", "--train", "train.csv") == 0
    assert "normal distribution" in capsys.readouterr().out
    fit("--category", "c")
    assert run("check", "m.npz", "test.csv", "--train", "train.csv") == 0
    assert "categories are taken in the order of their codes" in capsys.readouterr().out


def test_errors_are_one_line(tables, capsys):
    fit("--columns", "a,b")
    for arguments, words in (
        (("m.npz", "none.csv"), "none.csv: No such file"),
        (("m.npz", "test.csv", "--train", "none.csv"), "none.csv: No such file"),
        (("-", "test.csv", "--train", "-"), "only one of model, table and --train"),
    ):
        assert run("check", *arguments) == 1
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    nvpflow.Flow([nvpflow.AffineCoupling(2, 4, mask=[1, 0])]).save("flow.npz")
    assert run("check", "flow.npz", "test.csv", "--columns", "a,b") == 1
    assert "flow.npz holds a Flow: check needs an estimator" in capsys.readouterr().err
