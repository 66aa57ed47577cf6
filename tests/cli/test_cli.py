"""The command line: what it prints, writes and returns."""

import functools
import pkgutil
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import nvpflow
from nvpflow import cli, plot
from nvpflow.cli import _plot
from support.command_line import ENVIRONMENT, command, error_line, main, numbers, run


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A directory with a table and a model that was fitted to it."""
    room = tmp_path_factory.mktemp("room")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)) @ [[2, 1], [0, 0.5]] + [10, -3]
    rows = [f"row {i},{a!r},{b!r}" for i, (a, b) in enumerate(x.tolist())]
    (room / "data.csv").write_text("\n".join(["name,height,weight", *rows]) + "\n")
    np.save(room / "data.npy", x)
    assert cli.main([*FIT, str(room / "data.csv"), "--columns", "height,weight", "-o", str(room / "model.npz")]) == 0
    return room


FIT = [
    "fit",
    "-q",
    "--n-layers",
    "2",
    "--hidden-dim",
    "8",
    "--max-iter",
    "20",
    "--random-state",
    "5",
    "--base",
    "normal",
    "--n-init",
    "2",
]


class TestFit:
    def test_same_as_estimator(self, room):
        model = nvpflow.load(room / "model.npz")
        x = np.load(room / "data.npy")
        expected = nvpflow.FlowDensity(2, 8, base="normal", n_init=2, max_iter=20, random_state=5).fit(x)
        np.testing.assert_array_equal(model.flow_.parameters, expected.flow_.parameters)
        assert model.get_params() == expected.get_params()
        assert list(model.feature_names_in_) == ["height", "weight"]

    def test_options(self, room, tmp_path):
        options = [
            "--n-layers",
            "3",
            "--hidden-dim",
            "8,4",
            "--activation",
            "tanh",
            "--coupling",
            "affine",
            "--scale-bound",
            "2.5",
            "--n-bins",
            "4",
            "--tail-bound",
            "3.5",
            "--base",
            "normal",
            "--n-init",
            "3",
            "--n-models",
            "2",
            "--time-limit",
            "60",
            "--warmup",
            "0.25",
            "--average",
            "0.5",
            "--no-standardize",
            "--max-iter",
            "7",
            "--batch-size",
            "full",
            "--learning-rate",
            "0.001",
            "--schedule",
            "constant",
            "--noise",
            "0",
            "--validation-fraction",
            "0.3",
            "--n-iter-no-change",
            "3",
            "--tol",
            "0.5",
            "--dtype",
            "float64",
            "--n-jobs",
            "1",
            "--random-state",
            "9",
        ]
        assert main("fit", room / "data.npy", "-o", tmp_path / "m.npz", "-q", *options) == 0
        params = nvpflow.load(tmp_path / "m.npz").get_params()
        assert params == {
            "n_layers": 3, "hidden_dim": [8, 4], "activation": "tanh", "coupling": "affine", "scale_bound": 2.5,
            "n_bins": 4, "tail_bound": 3.5, "base": "normal", "n_init": 3, "n_models": 2, "time_limit": 60.0, "warmup": 0.25, "average": 0.5, "standardize": False, "support": None, "context_support": None, "missing": "error", "latent": "base", "constant_columns": "error", "max_iter": 7, "batch_size": None, "learning_rate": 1e-3, "schedule": "constant",
            "noise": 0, "validation_fraction": 0.3, "n_iter_no_change": 3, "tol": 0.5,
            "dtype": "float64", "n_jobs": 1, "random_state": 9, "verbose": 0,
            "warm_start": False,  # of no use to a command that ends
        }  # fmt: skip
        assert not hasattr(nvpflow.load(tmp_path / "m.npz"), "feature_names_in_")

    def test_progress_and_summary(self, room, tmp_path, capsys):
        arguments = [*FIT, room / "data.npy", "-o", tmp_path / "m.npz"]
        arguments.remove("-q")
        assert main(*arguments) == 0
        quiet = capsys.readouterr()
        assert main(*arguments, "-v") == 0
        loud = capsys.readouterr()
        assert quiet.out == loud.out == ""
        assert re.fullmatch(r"300 rows, 2 columns, .* s: 20 epochs, .* validation NLL \S+ nats\n", quiet.err)
        assert len(re.findall("^epoch ", loud.err, re.MULTILINE)) == 10

    def test_pipeline(self, room):
        with open(room / "data.csv", "rb") as table:
            fit = run(*FIT, "-", "--columns", "2,3", "-o", "-", stdin=table, text=False)
        assert fit.returncode == 0, fit.stderr
        sample = run("sample", "-", "-n", 4, input=fit.stdout, text=False)
        expected = nvpflow.load(room / "model.npz").sample(4)
        assert sample.stdout.startswith(b"height,weight\n")
        np.testing.assert_array_equal(numbers(sample.stdout.decode()).astype(np.float32), expected)

    def test_errors(self, room, tmp_path, capsys):
        model = tmp_path / "m.npz"
        (tmp_path / "bad.csv").write_text("a,b\n1,2\n3,x\n")
        (tmp_path / "constant.csv").write_text("a,b\n1,2\n3,2\n")
        for arguments, message in (
            ([tmp_path / "bad.csv", "-o", model], "bad.csv, line 3, column 'b': 'x' is not a number"),
            ([tmp_path / "constant.csv", "-o", model], "X must have no constant column"),
            ([tmp_path / "none.csv", "-o", model], "none.csv: No such file or directory"),
            ([tmp_path, "-o", model], f"{tmp_path}: Is a directory"),
            ([room / "data.csv", "-o", tmp_path / "no" / "m.npz"], "no: no such directory to write to"),
            ([room / "data.csv", "-o", tmp_path], f"{tmp_path}: is a directory"),
        ):
            assert main("fit", *arguments) == 1
            assert message in error_line(capsys)
            assert not model.exists()

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            (["--hidden-dim", "8,x"], "argument --hidden-dim: must be an integer, got 'x'"),
            (["--learning-rate", "0"], "argument --learning-rate: must be finite and greater than 0, got 0"),
            (["--validation-fraction", "1"], "argument --validation-fraction: must be below 1 and greater than 0"),
            (["--n-layers", "1000000000"], "argument --n-layers: must be at most 10000, got 1000000000"),
            (["--batch-size", "0"], "argument --batch-size: must be at least 1, got 0"),
            (["--columns", "a,,b"], "argument --columns: must be names or numbers with commas"),
            (["--delimiter", "::"], "argument --delimiter: must be one character or tab"),
            (["-q", "-v"], "argument -v/--verbose: not allowed with argument -q/--quiet"),
        ],
    )
    def test_wrong_usage(self, option, message, capsys):
        with pytest.raises(SystemExit) as exit_info:
            main("fit", "data.csv", "-o", "m.npz", *option)
        assert exit_info.value.code == 2 and message in capsys.readouterr().err.splitlines()[-1]

    @pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
    def test_ctrl_c(self, room, tmp_path):
        arguments = command(*FIT, room / "data.npy", "-o", tmp_path / "m.npz", "-v", "--max-iter", 200_000)
        arguments.remove("-q")
        with subprocess.Popen(arguments, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr.readline().startswith("epoch 20000/200000")
                process.send_signal(signal.SIGINT)
                _, stderr = process.communicate(timeout=60)
            finally:
                process.kill()
        assert process.returncode == 130 and stderr.strip().splitlines()[-1] == "interrupted"
        assert "Traceback" not in stderr and list(tmp_path.iterdir()) == []


class TestScore:
    def test_log_densities(self, room, tmp_path, capsys):
        expected = nvpflow.load(room / "model.npz").flow_.log_prob(np.load(room / "data.npy"))
        assert main("score", room / "model.npz", room / "data.csv") == 0
        printed = capsys.readouterr().out
        assert printed.startswith("log_density\n")
        np.testing.assert_array_equal(numbers(printed)[:, 0].astype(np.float32), expected)
        assert main("score", room / "model.npz", room / "data.npy", "-o", tmp_path / "s.npy", "--n-jobs", 2) == 0
        np.testing.assert_array_equal(np.load(tmp_path / "s.npy")[:, 0], expected)
        assert main("score", room / "model.npz", room / "data.npy", "--mean") == 0
        assert float(capsys.readouterr().out) == pytest.approx(expected.astype(float).mean(), abs=1e-6)

    def test_columns_by_name(self, room, tmp_path, capsys):
        x = np.load(room / "data.npy")[:5].tolist()
        (tmp_path / "other.csv").write_text("weight,id,height\n" + "".join(f"{b!r},id,{a!r}\n" for a, b in x))
        assert main("score", room / "model.npz", tmp_path / "other.csv") == 0
        expected = nvpflow.load(room / "model.npz").flow_.log_prob(x)
        np.testing.assert_array_equal(numbers(capsys.readouterr().out)[:, 0].astype(np.float32), expected)

    def test_flow_without_estimator(self, room, tmp_path, capsys):
        flow = nvpflow.load(room / "model.npz").flow_
        flow.save(tmp_path / "flow.npz")
        assert main("score", tmp_path / "flow.npz", room / "data.npy", "--mean") == 0
        assert float(capsys.readouterr().out) == pytest.approx(-flow.nll(np.load(room / "data.npy")), abs=1e-5)

    def test_errors(self, room, tmp_path, capsys):
        (tmp_path / "few.csv").write_text("height,age\n1,2\n")
        (tmp_path / "text.npz").write_text("not a model")
        np.save(tmp_path / "three.npy", np.zeros((2, 3)))
        for arguments, message in (
            ([room / "model.npz", tmp_path / "few.csv"], "has no column 'weight'; it has height, age"),
            ([room / "model.npz", tmp_path / "three.npy"], "the model has 2 columns, got 3 from"),
            ([tmp_path / "text.npz", room / "data.npy"], "text.npz is not an nvpflow file"),
            ([tmp_path / "none.npz", room / "data.npy"], "none.npz: No such file or directory"),
            (["-", "-"], 'model and table cannot both be "-"'),
        ):
            assert main("score", *arguments) == 1
            assert message in error_line(capsys)

    @pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
    def test_broken_pipe(self, room):
        many = command("sample", room / "model.npz", "-n", 200_000)
        with subprocess.Popen(many, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"height,weight\n"
            process.stdout.close()
            assert process.wait(60) == 1
            assert process.stderr.read() == b""


class TestSample:
    def test_column_names(self, room, tmp_path, capsys):
        model = nvpflow.load(room / "model.npz")
        assert main("sample", room / "model.npz", "-n", 50) == 0
        printed = capsys.readouterr().out
        assert printed.splitlines()[0] == "height,weight" and len(printed.splitlines()) == 51
        np.testing.assert_array_equal(numbers(printed).astype(np.float32), model.sample(50))
        assert main("sample", room / "model.npz", "-n", 50, "--random-state", 1, "-o", tmp_path / "s.npy") == 0
        np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), model.sample(50, random_state=1))

    def test_output_can_be_scored(self, room, tmp_path, capsys):
        pytest.importorskip("pyarrow")
        for name in ("s.csv", "s.tsv", "s.parquet"):
            assert main("sample", room / "model.npz", "-n", 50, "-o", tmp_path / name) == 0
            assert main("score", room / "model.npz", tmp_path / name, "--mean") == 0
        assert len(set(capsys.readouterr().out.split())) == 1


class TestPlot:
    @pytest.mark.parametrize("kind", [None, *_plot.KINDS])
    def test_every_kind_of_figure(self, room, tmp_path, kind):
        path = tmp_path / "figure.png"
        assert main("plot", room / "model.npz", room / "data.csv", "-o", path, *(["--kind", kind] if kind else [])) == 0
        assert path.read_bytes().startswith(b"\x89PNG")

    def test_without_data_and_other_formats(self, room, tmp_path, capsysbinary, monkeypatch):
        assert main("plot", room / "model.npz", "-o", tmp_path / "figure.svg", "--kind", "contours") == 0
        assert b"<svg" in (tmp_path / "figure.svg").read_bytes()
        assert main("plot", room / "model.npz", "-o", "-", "--kind", "corner") == 0
        assert capsysbinary.readouterr().out.startswith(b"\x89PNG")
        monkeypatch.setattr(plot, "animation", functools.partial(plot.animation, n=20, frames_per_layer=1))
        assert main("plot", room / "model.npz", "-o", tmp_path / "film.gif", "--kind", "evolution") == 0
        assert (tmp_path / "film.gif").read_bytes().startswith(b"GIF89a")

    def test_three_columns(self, tmp_path, monkeypatch):
        np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(50, 3)))
        assert main(*FIT, tmp_path / "x.npy", "-o", tmp_path / "m.npz") == 0
        drawn = []
        corner = plot.corner
        monkeypatch.setattr(plot, "corner", lambda *clouds, **options: drawn.append(clouds) or corner(*clouds, **options))
        assert main("plot", tmp_path / "m.npz", tmp_path / "x.npy", "-o", tmp_path / "c.png", "-n", 20) == 0
        assert [len(cloud) for cloud in drawn[0]] == [50, 20]

    def test_errors(self, room, tmp_path, capsys, monkeypatch):
        nvpflow.load(room / "model.npz").flow_.save(tmp_path / "flow.npz")
        for arguments, message in (
            ([room / "model.npz", "-o", "x.png", "--kind", "samples"], "a figure of the kind samples needs a table"),
            ([tmp_path / "flow.npz", "-o", "x.png", "--kind", "training"], "only an estimator's file holds training"),
            ([room / "model.npz", "-o", tmp_path / "x.xyz", "--kind", "density"], "Format 'xyz' is not supported"),
        ):
            assert main("plot", *arguments) == 1
            assert message in error_line(capsys)
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        plot._canvas._figure_class.cache_clear()
        assert main("plot", room / "model.npz", "-o", tmp_path / "x.png", "--kind", "density") == 1
        assert "figures need matplotlib: pip install nvpflow[plot]" in error_line(capsys)


def test_mixture_without_layers(room, tmp_path, capsys):
    """Normal samples need no layers."""
    model = tmp_path / "m.npz"
    arguments = [argument for argument in FIT if argument != "-q"] + ["--base", "mixture", "--n-init", "1"]
    assert main(*arguments, room / "data.npy", "-o", model) == 0
    assert capsys.readouterr().err.endswith("20 epochs, the start, since no epoch improved on it, kept\n")
    assert main("info", model) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["base"] == "normal distribution" and lines["layers"] == "2 SplineCoupling, 1 ActNorm"
    assert main("score", model, room / "data.npy", "--mean") == 0


def test_info(room, tmp_path, capsys):
    model = nvpflow.load(room / "model.npz")
    assert main("info", room / "model.npz") == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["columns"] == "2: height, weight"
    assert lines["layers"] == "2 SplineCoupling, 1 LULinear, 1 ActNorm"
    assert lines["parameters"] == f"{model.flow_.n_parameters}, float32"
    assert lines["base"] == "standard normal"
    assert lines["model"] == "FlowDensity(base='normal', hidden_dim=8, max_iter=20, n_init=2, n_layers=2, random_state=5)"
    best = model.history_["validation_nll"].min()
    assert lines["training"].startswith(f"20 epochs, the parameters of epoch {model.best_iter_} kept")
    assert lines["training"].endswith(f"validation NLL {best:.4f} nats")
    model.flow_.save(tmp_path / "flow.npz")
    assert main("info", tmp_path / "flow.npz") == 0
    assert "training" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["fit", "score", "sample", "plot", "info", "moons"])
def test_help_has_examples(name, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(name, "--help")
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    assert f"\nexamples:\n  nvpflow {name}" in text or f"| nvpflow {name}" in text
    # Examples are right: they can be parsed.
    for line in text.split("examples:\n")[1].splitlines():
        arguments = shlex.split(line.split("| ")[-1].split(" > ")[0], comments=True)
        cli._parser().parse_args(arguments[1:])


def test_saved_column_names(room, tmp_path):
    model = nvpflow.load(room / "model.npz")
    model.save(tmp_path / "again.npz")
    assert list(nvpflow.load(tmp_path / "again.npz").feature_names_in_) == ["height", "weight"]


def test_console_script():
    scripts = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]
    assert pkgutil.resolve_name(scripts["nvpflow"]) is cli.main
