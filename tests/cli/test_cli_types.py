"""Columns of whole numbers on the command line."""

import numpy as np
import pytest

import nvpflow
from nvpflow.cli.tables import Columns, read_typed, write_table
from support.command_line import error_line, main

FAST = ["--max-iter", "3", "--n-layers", "2", "--hidden-dim", "8", "--random-state", "0", "-q"]
ROWS = np.random.default_rng(0).poisson([30, 300, 5], (200, 3))


def csv_of(rows, names="a,b,c"):
    return "\n".join([names, *(",".join(row) for row in rows)]) + "\n"


def cells(capsys, column):
    return [line.split(",")[column] for line in capsys.readouterr().out.splitlines()[1:]]


@pytest.fixture
def model(put, tmp_path):
    """Of whole numbers, whole numbers with a decimal point in one row, and numbers with a gap."""
    rows = ROWS.astype(str).tolist()
    rows[7][1] += ".0"
    rows[5][2] = ""
    path = tmp_path / "model.npz"
    assert main("fit", put(csv_of(rows)), "-o", path, "--missing", "marginalize", *FAST) == 0
    return path


pytestmark = pytest.mark.filterwarnings("ignore:column.* repeat few values")


def test_samples_are_whole_where_training_cells_were(model, capsys):
    assert main("sample", model, "-n", "50") == 0
    out = capsys.readouterr().out
    columns = list(zip(*(line.split(",") for line in out.splitlines()[1:])))
    assert [all("." not in cell for cell in column) for column in columns] == [True, False, True]
    array = nvpflow.load(model).sample(50)
    assert isinstance(array, np.ndarray)
    np.testing.assert_allclose(array, np.loadtxt(out.splitlines()[1:], delimiter=","), rtol=1e-6)


def test_filled_and_conditional_cells(model, put, capsys):
    assert main("impute", model, put(csv_of([["1", "", ""], ["", "2.5", ""]]), "gaps.csv")) == 0
    out = capsys.readouterr().out
    assert all("." not in line.split(",")[0] + line.split(",")[2] for line in out.splitlines()[1:])
    assert main("condition", model, "--given", "b=300", "-n", "20") == 0
    assert all("." not in line for line in capsys.readouterr().out.splitlines()[1:])


def test_a_model_of_a_frame(put, tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS.astype("uint16"), columns=list("abc")).astype({"b": "float32"})
    options = dict(max_iter=3, n_layers=2, hidden_dim=8, random_state=0)
    nvpflow.FlowDensity(**options).fit(frame).save(tmp_path / "model.npz")
    assert main("sample", tmp_path / "model.npz", "-n", "50") == 0
    out = capsys.readouterr().out.splitlines()[1:]
    assert all(line.split(",")[0].isdigit() for line in out) and any("." in line.split(",")[1] for line in out)


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_files_with_types(tmp_path, dtype, capsys):
    """An NPY file gives an NPY file of its type, and Parquet columns those of theirs."""
    np.save(tmp_path / "data.npy", ROWS[:, ::2].astype(dtype))
    assert main("fit", tmp_path / "data.npy", "-o", tmp_path / "model.npz", *FAST) == 0
    assert main("sample", tmp_path / "model.npz", "-n", "9", "-o", tmp_path / "new.npy") == 0
    assert np.load(tmp_path / "new.npy").dtype == dtype
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": ROWS[:, 0].astype(dtype), "y": ROWS[:, 1] + 0.5, "t": ROWS[:, 2] > 5})
    frame.to_parquet(tmp_path / "data.parquet")
    for data in ([tmp_path / "data.parquet"], [tmp_path / "data.parquet"] * 2):  # in memory, and in batches
        columns = ["--columns", "a,y"] if len(data) == 2 else []
        assert main("fit", *data, "-o", tmp_path / "model.npz", *columns, *FAST) == 0
        assert main("sample", tmp_path / "model.npz", "-n", "9", "-o", tmp_path / "new.parquet") == 0
        found = pandas.read_parquet(tmp_path / "new.parquet").dtypes
        assert found["a"] == dtype and found["y"].kind == "f" and (columns or found["t"].kind == "b")


def test_large_whole_numbers_have_all_their_digits(put, tmp_path, capsys):
    """1e+09 is no whole number to most readers."""
    rows = np.c_[ROWS[:, 0] * 1_000_000_000, ROWS[:, 1] * 10**16, np.where(ROWS[:, 2] > 5, 1, 0)].tolist()
    table = put("a,b,c\n" + "\n".join(f"{a},{b},{'xy'[c]}" for a, b, c in rows))
    assert main("fit", table, "-o", tmp_path / "model.npz", "--category", "c", *FAST) == 0
    assert main("sample", tmp_path / "model.npz", "-n", "50") == 0
    out = capsys.readouterr().out.splitlines()[1:]
    assert all(cell.isdigit() for line in out for cell in line.split(",")[:2])


def test_files_of_earlier_versions(model, tmp_path, capsys):
    """They say nothing of types: samples are real numbers."""
    import json

    with np.load(model) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(str(arrays["header"])) if "header" in arrays else None
    assert header is not None and header.pop("frame") == ["array", ["int64", "", "int64"]]
    arrays["header"] = np.array(json.dumps(header))
    np.savez(tmp_path / "old.npz", **arrays)
    assert main("sample", tmp_path / "old.npz", "-n", "20") == 0
    assert any("." in cell for cell in cells(capsys, 0))


@pytest.mark.parametrize("text, types", [
    ("a,b\n1,2\n-3,+4\n", ["int64", "int64"]),
    ("a,b\n1,2.0\n3,4\n", ["int64", ""]),
    ("a,b\n1,2\n3e0,4\n", ["", "int64"]),
    ("a,b\n1,2\n99999999999999999999,4\n", ["", "int64"]),
    ('a,b\n"1"," 2"\n3, 4 \n', ["int64", "int64"]),
    ("1 2\n3 4.5\n", ["int64", ""]),
    ("a,b\n1,\n,2\n", ["int64", "int64"]),
    ("a,b\n1,nan\n3,2\n", ["int64", "int64"]),
    ("a,b\n1,NA\n\n3,x\n", None),
])  # fmt: skip
def test_types_of_texts(put, text, types):
    groups = [Columns(missing=True)]
    if types is None:
        with pytest.raises(ValueError, match="line 4, column 'b': 'x' is not a number"):
            read_typed(put(text), groups)
    else:
        assert read_typed(put(text), groups)[2] == [types]


def test_types_beyond_a_category(put):
    text = "colour,n,x\nred,1,0.5\nblue,2,7\n"
    _, categories, types = read_typed(put(text), [Columns(["n", "colour"], categories=["colour"]), Columns(["x"])])
    assert types == [["int64", ""], [""]] and categories[0] == {1: ["red", "blue"]}


def test_messages_name_columns(put, tmp_path, capsys):
    table = put(
        "k,x,c\n" + "\n".join(f"7,{x:.3f},{'ab'[i % 2]}" for i, x in enumerate(np.random.default_rng(0).normal(size=50)))
    )
    for options, name in ((["--category", "c"], "'k'"), (["--columns", "1,2"], "'k'")):
        assert main("fit", table, "-o", tmp_path / "model.npz", *options, *FAST) == 1
        assert f"must have no constant column, got one in column(s) {name}" in error_line(capsys)
    bare = put("\n".join(f"{x:.3f} 7" for x in np.random.default_rng(0).normal(size=50)), "bare.txt")
    assert main("fit", bare, "-o", tmp_path / "model.npz", *FAST) == 1
    assert "column(s) '2'" in error_line(capsys)


def test_written_whole_numbers(tmp_path, capsys):
    write_table("-", np.array([[1.0, 1e17], [-2, 3]], dtype=np.float32), ["a", "b"], ["int8", ""])
    assert capsys.readouterr().out == "a,b\n1,9.99999984e+16\n-2,3\n"
    write_table("-", np.array([[1e10, "x"]], dtype=object), ["a", "b"], ["int64", ""])
    assert capsys.readouterr().out == "a,b\n10000000000,x\n"


def test_figures_of_categories_and_angles(put, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    table = put(
        "k,wind,c\n" + "\n".join(f"{rng.poisson(3)},{w:.3f},{'ab'[i % 2]}" for i, w in enumerate(rng.uniform(0, 6, 60)))
    )
    path, figure = tmp_path / "model.npz", tmp_path / "figure.png"
    options = ["--angle", "wind", "--integer", "k:0:", "--category", "c"]
    assert main("fit", table, "-o", path, *options, *FAST) == 0
    assert main("plot", path, table, "-o", figure) == 0 and figure.stat().st_size > 1000
    assert main("plot", path, table, "-o", figure, "--kind", "samples") == 1
    assert "has columns of categories: a figure of the kind samples needs numbers" in error_line(capsys)
