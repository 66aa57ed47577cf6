"""Tables at the limits: one line on standard error, in time."""

import numpy as np
import pytest

import nvpflow
from nvpflow.cli.tables import TableError, read_table
from support.command_line import error_line, main

LONG = "a" * 140_000  # characters, more than the module csv takes


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.npz"
    X = np.random.default_rng(0).normal(size=(50, 2))
    nvpflow.FlowDensity(n_layers=1, hidden_dim=2, max_iter=1, random_state=0).fit(X).save(path)
    return path


@pytest.mark.parametrize("text", [f'x,y\n1,"{LONG}"\n', f"x,y\n1,{LONG}\n", f'"{LONG}",y\n1,2\n', f'x y\n1 "{LONG}"\n'])
def test_long_cells(text, saved, put, capsys):
    path = put(text)
    for arguments in (("score", saved, path), ("fit", path, "-o", path.with_name("new.npz"))):
        assert main(*arguments) == 1
        line = error_line(capsys)
        assert str(path) in line and len(line) < 500


def test_many_columns(saved, put, capsys):
    n = 100_000
    row = ",".join(["1.5"] * n)
    path = put(f"{','.join(f'c{i}' for i in range(n))}\n{row}\n{row.replace('1', '2')}\n")
    values, names = read_table(path, ["c7", "99999-100000"])
    assert values.tolist() == [[1.5] * 3, [2.5] * 3] and names == ["c7", "c99998", "c99999"]
    assert main("score", saved, path) == 1
    assert f"the model has 2 columns, got {n}" in error_line(capsys)
    with pytest.raises(TableError, match="has no column 'x'"):
        read_table(path, ["x"])


def test_overflow(put, capsys):
    """Scores of what a float32 cannot square are -inf; the warnings of NumPy on the way say nothing to a user."""
    rows = np.random.default_rng(0).normal(size=(40, 2))
    usual = put("\n".join(f"{x},{y}" for x, y in rows.tolist()))
    model, scores = usual.with_name("model.npz"), usual.with_name("scores.csv")
    assert main("fit", usual, "-o", model, "--contamination", 0.1, "--max-iter", 2, "--n-layers", 1, "-q") == 0
    rows[3], rows[4] = [1e30, 3e38], [-1e30, 1]
    path = put("\n".join(f"{x},{y}" for x, y in rows.tolist()))
    assert main("score", model, path, "--labels", "-o", scores) == 0
    said = capsys.readouterr().err.splitlines()
    assert all(line.startswith("nvpflow: warning: ") and "encountered in" not in line for line in said), said
    assert np.isfinite(np.loadtxt(scores, delimiter=",", skiprows=1)).any(axis=0).all()


def test_fewer_columns_than_the_model(put, capsys):
    path = put("x,c\n" + "\n".join(f"{i / 7},{'ab'[i % 2]}" for i in range(60)))
    model = path.with_name("model.npz")
    assert main("fit", path, "-o", model, "--category", 2, "--max-iter", 1, "--n-layers", 1, "-q") == 0
    capsys.readouterr()
    assert main("score", model, path, "--columns", 1) == 1
    assert "categories in column 2, got 1 column(s)" in error_line(capsys)
