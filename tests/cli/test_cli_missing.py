"""Tables with missing cells on the command line."""

import numpy as np
import pytest

import nvpflow
from nvpflow import cli

WORDS = ["", "NA", "nan", "null"]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table with missing cells, t.csv, and its values."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2)) + [[0, 5]]
    x[:, 1] += x[:, 0]
    missing = rng.random(x.shape) < 0.2
    missing[missing.all(axis=1), 0] = False
    cells = [[WORDS[i % 4] if hole else repr(float(v)) for v, hole in zip(*row)] for i, row in enumerate(zip(x, missing))]
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(",".join(row) + "\n" for row in cells))
    return np.where(missing, np.nan, x)


def run(*arguments):
    assert cli.main([str(argument) for argument in arguments]) == 0


def fit(*options):
    run("fit", "t.csv", "-o", "m.npz", "-q", "--max-iter", "3", "--random-state", "0", *options)


def test_fit_score_and_impute(table, capsys):
    fit("--missing", "marginalize")
    model = nvpflow.load("m.npz")
    assert model.missing == "marginalize"
    expected = nvpflow.FlowDensity(missing="marginalize", max_iter=3, random_state=0).fit(table).score_samples(table)
    run("score", "m.npz", "t.csv")
    scores = np.array(capsys.readouterr().out.split()[1:], float)
    assert np.allclose(scores, expected, atol=1e-6)
    run("impute", "m.npz", "t.csv")
    lines = capsys.readouterr().out.splitlines()
    full = np.array([line.split(",") for line in lines[1:]], float)
    assert lines[0] == "a,b" and np.isfinite(full).all()
    assert np.array_equal(full[~np.isnan(table)], table[~np.isnan(table)])
    run("impute", "m.npz", "t.csv", "-o", "full.csv", "--random-state", "1")
    again = np.loadtxt("full.csv", delimiter=",", skiprows=1)
    assert not np.allclose(again, full)
    run("score", "m.npz", "full.csv", "--mean")


def test_labels_of_a_detector(table, capsys):
    fit("--missing", "marginalize", "--contamination", "0.1")
    run("score", "m.npz", "t.csv", "--labels")
    labels = [int(line.split(",")[1]) for line in capsys.readouterr().out.split()[1:]]
    detector = nvpflow.FlowOutlierDetector(missing="marginalize", contamination=0.1, max_iter=3, random_state=0)
    assert np.count_nonzero(detector.fit_predict(table) < 0) == 20
    assert labels == detector.predict(table).tolist()


def test_npy_and_context(table, capsys):
    np.save("t.npy", np.c_[np.arange(200.0), table])
    run("fit", "t.npy", "-o", "m.npz", "-q", "--max-iter", "3", "--missing", "marginalize", "--context", "1")
    run("score", "m.npz", "t.npy", "--context", "1", "--mean")
    np.save("bad.npy", np.c_[np.where(np.arange(200) == 3, np.nan, np.arange(200)), table])
    assert cli.main(["score", "m.npz", "bad.npy", "--context", "1"]) == 1
    assert "bad.npy, row 4, column 1: nan is not a finite number" in capsys.readouterr().err


def test_other_models_and_words(table, capsys, tmp_path):
    assert cli.main(["fit", "t.csv", "-o", "m.npz"]) == 1
    assert "(--missing marginalize allows missing cells)" in capsys.readouterr().err
    (tmp_path / "u.csv").write_text("a,b\n1,2\n3,none\n")
    assert cli.main(["fit", "u.csv", "-o", "m.npz", "--missing", "marginalize"]) == 1
    assert "line 3, column 'b': 'none' is not a number" in capsys.readouterr().err
