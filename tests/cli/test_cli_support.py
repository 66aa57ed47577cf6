"""Supports of columns at the command line."""

import numpy as np
import pytest

import nvpflow
from support.command_line import error_line, main, numbers

FAST = ["--max-iter", "3", "--n-layers", "2", "--hidden-dim", "8", "--random-state", "0", "-q"]
SUPPORT = ["--positive", "price", "--unit", "2", "--bounds", "x:-10:10,y::50", "--integer", "count:0:,code"]


@pytest.fixture
def table(put):
    rng = np.random.default_rng(0)
    rows = np.c_[rng.lognormal(size=200), rng.beta(2, 2, 200), rng.normal(size=(200, 2)), rng.poisson([3, 8], (200, 2))]
    return put("price,share,x,y,count,code\n" + "\n".join(",".join(f"{v:.6g}" for v in row) for row in rows))


def test_fit_and_sample(table, tmp_path, capsys):
    path = tmp_path / "model.npz"
    assert main("fit", table, "-o", path, *SUPPORT, *FAST) == 0
    expected = {0: (0, None), 1: (0, 1), 2: (-10, 10), 3: (None, 50), 4: nvpflow.Integer(0), 5: nvpflow.Integer()}
    assert nvpflow.load(path).support == expected
    capsys.readouterr()
    assert main("sample", path, "-n", 500) == 0
    text = capsys.readouterr().out
    samples = numbers(text)
    assert text.startswith("price,share,x,y,count,code\n") and samples.shape == (500, 6)
    assert (samples[:, 0] >= 0).all() and (samples[:, 1] <= 1).all()
    assert all("." not in line.split(",")[4] + line.split(",")[5] for line in text.splitlines()[1:])
    assert main("score", path, table, "--mean") == 0
    assert np.isfinite(float(capsys.readouterr().out))


def test_angles(table, tmp_path, capsys):
    path = tmp_path / "model.npz"
    assert main("fit", table, "-o", path, "--angle", "x:0:360,y", *FAST) == 0
    assert nvpflow.load(path).support == {2: nvpflow.Angle(0, 360), 3: nvpflow.Angle()}
    assert main("sample", path, "-n", 100) == 0
    samples = numbers(capsys.readouterr().out)
    assert (samples[:, 2:4] >= 0).all() and (samples[:, 2:4] < [360, 2 * np.pi]).all()


def test_detector_and_columns(table, tmp_path):
    """Numbers count the columns of the model."""
    path = tmp_path / "model.npz"
    assert main("fit", table, "-o", path, "--columns", "share,price", "--unit", "1", "--contamination", "auto", *FAST) == 0
    assert nvpflow.load(path).support == {0: (0, 1)}


@pytest.mark.parametrize("options, message", [
    (["--positive", "prize"], "the model has no column 'prize'; it has price, share, x, y, count, code"),
    (["--positive", "7"], "the model has no column '7'; it has price, share, x, y, count, code"),
    (["--positive", "price", "--unit", "1"], "column '1' has two supports"),
    (["--unit", "price"], "column 'price' of X must be in [0, 1], its support, got "),
    (["--bounds", "x:3:2"], "support[2] must be a pair (low, high) with low < high, got (3.0, 2.0)"),
    (["--integer", "x"], "column 'x' of X must be in the whole numbers below 2**53 in size, its support, got "),
    (["--integer", "x:3:2"], "low must be at most high, got 3 and 2"),
    (["--angle", "x:3:"], "--angle must have both ends of the range of 'x', or none"),
    (["--angle", "x:3:3"], "the range of an Angle must be a pair (low, high) with low < high, got (3.0, 3.0)"),
])  # fmt: skip
def test_errors(table, tmp_path, capsys, options, message):
    assert main("fit", table, "-o", tmp_path / "model.npz", *options, *FAST) == 1
    assert error_line(capsys).startswith(message)
    assert not (tmp_path / "model.npz").exists()


@pytest.mark.parametrize("options, message", [
    (["--bounds", "x"], "must be columns with bounds, as in x:0:10, got 'x'"),
    (["--bounds", "x:a:3"], "must be a number, got 'a'"),
    (["--bounds", "x:nan:3"], "must be finite and greater than -inf, got nan"),
    (["--integer", "x:0.5:"], "must be an integer, got '0.5'"),
])  # fmt: skip
def test_bad_options(table, tmp_path, capsys, options, message):
    with pytest.raises(SystemExit):
        main("fit", table, "-o", tmp_path / "model.npz", *options)
    assert message in capsys.readouterr().err


def test_models_of_frames_are_sampled_as_tables(tmp_path, capsys):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"n": np.random.default_rng(0).poisson(3, 100)})
    nvpflow.FlowDensity(support={"n": "integer"}, n_layers=2, max_iter=2).fit(frame).save(tmp_path / "model.npz")
    assert main("sample", tmp_path / "model.npz", "-n", 3) == 0
    assert capsys.readouterr().out.startswith("n\n")


@pytest.mark.parametrize(("header", "column"), [("price,x\n", "'price'"), ("", "1")])
def test_messages_count_from_one(tmp_path, capsys, header, column):
    """As the options do, which name columns by numbers from 1."""
    rows = [f"{1 + i % 7 / 10},{i % 11}\n" for i in range(50)]
    rows[16] = "-1,3\n"
    (tmp_path / "bad.csv").write_text(header + "".join(rows))
    assert main("fit", tmp_path / "bad.csv", "-o", tmp_path / "model.npz", "--positive", 1, *FAST) == 1
    assert error_line(capsys) == f"column {column} of X must be in [0, inf), its support, got -1 in row 17"
