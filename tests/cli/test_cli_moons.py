"""The command `moons`: training on the two moons, scores, figures and the saved model."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import make_moons

import nvpflow
from nvpflow import cli, datasets
from nvpflow.cli import _arguments, _moons
from support.command_line import ENVIRONMENT, command, run

FIGURES = {"samples.png", "layers.png", "density.png", "training.png"}


QUICK = ["--layers", "4", "--hidden", "16", "--epochs", "30", "--n-fresh", "2000"]


def value(name, stdout):
    """The number of nats in a row of the output."""
    return float(re.search(rf"^ *{name} +(\S+) nats", stdout, re.MULTILINE)[1])


def test_output(tmp_path):
    output = tmp_path / "new" / "moons"
    result = run("moons", *QUICK, "--random-state", 3, "--output", output)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in output.iterdir()} == FIGURES | {"model.npz"}
    for name in FIGURES:
        assert (output / name).read_bytes().startswith(b"\x89PNG")

    model = nvpflow.load(output / "model.npz")
    assert (model.n_layers, model.hidden_dim, model.random_state) == (4, 16, 3)
    train = make_moons(1000, noise=0.1, random_state=3)[0]
    fresh = make_moons(2000, noise=0.1, random_state=4)[0]
    held_out = -model.score_samples(fresh).astype(float).mean()
    assert value("training NLL", result.stdout) == pytest.approx(-model.score(train), abs=2e-4)
    assert value("held-out NLL", result.stdout) == pytest.approx(held_out, abs=2e-4)
    assert value("entropy", result.stdout) == pytest.approx(datasets.moons_entropy(0.1), abs=1e-4)
    assert value("gap", result.stdout) == pytest.approx(held_out - datasets.moons_entropy(0.1), abs=3e-4)
    assert "2000 fresh points" in result.stdout
    assert re.search(r"trained in \d+\.\d\d s: 30 epochs", result.stdout)
    assert "loaded again, it gives the same log-densities" in result.stdout
    # Progress, ten lines of it as this is no terminal, keeps out of the results.
    assert len(re.findall(r"^epoch \d+/30: training NLL", result.stderr, re.MULTILINE)) == 10
    assert "epoch 30/30" in result.stderr and "epoch" not in result.stdout.split("trained")[0]


def test_defaults_come_close_to_entropy(tmp_path):
    result = run("moons", "--no-plots", "--output", "here", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["model.npz"]
    assert -0.01 < value("gap", result.stdout) < 0.2
    model = nvpflow.load(tmp_path / "here" / "model.npz")
    expected = nvpflow.FlowDensity(8, base="normal", n_init=2, random_state=0).get_params()
    assert model.get_params() == expected


def test_article(tmp_path):
    options = cli._parser().parse_args(["moons", "--article", "--dtype", "float64"])
    model = _moons._moons_model(options)
    assert (model.coupling, model.scale_bound, model.dtype, model.max_iter) == ("affine", None, "float64", 1000)
    assert (model.standardize, model.validation_fraction, model.batch_size) == (False, None, None)
    assert (model.noise, model.schedule, model.learning_rate) == (0, "constant", 1e-3)

    result = run("moons", *QUICK, "--article", "--no-plots", "--output", tmp_path)
    assert result.returncode == 0, result.stderr
    model = nvpflow.load(tmp_path / "model.npz")
    assert (model.scale_bound, model.batch_size, model.n_iter_) == (None, None, 30)
    train = make_moons(1000, noise=0.1, random_state=0)[0]
    assert value("training NLL", result.stdout) == pytest.approx(-model.score(train), abs=2e-4)
    assert "trained in" in result.stdout and "s: 30 epochs\n" in result.stdout


def test_random_state(tmp_path):
    first, second = (run("moons", *QUICK, "--no-plots", "--output", tmp_path / name).stdout for name in "ab")
    for name in ("training NLL", "held-out NLL"):
        assert value(name, first) == value(name, second)


def test_nonfinite_scores(capsys):
    fresh = np.full(5000, -1.25, np.float32)
    fresh[:3] = [-np.inf, np.nan, np.inf]
    _moons._print_scores(np.full(10, -1.0), fresh, 1.0)
    printed = capsys.readouterr().out
    assert value("held-out NLL", printed) == value("gap", printed) == np.inf
    assert "3 of 5000 fresh points have no finite log-density" in printed
    assert value("most points", printed) == 1.25
    assert "without the worst 5 of them" in printed


def test_huge_scores(capsys):
    fresh = np.array([-1.0, -1e300, -1e200, -2.0])
    _moons._print_scores(np.full(10, -np.inf), fresh, 1.0)
    printed = capsys.readouterr().out
    assert value("training NLL", printed) == np.inf
    assert value("held-out NLL", printed) == 2.5e299 and "+- inf, 4 fresh points" in printed
    _moons._print_scores(np.full(10, -1.0), np.full(4, -np.inf), 1.0)
    assert "4 of 4 fresh points" in capsys.readouterr().out


def test_divergence_warning(capsys, monkeypatch):
    model = nvpflow.FlowDensity(2, 8, coupling="affine", scale_bound=None, learning_rate=1e20, max_iter=20, random_state=0)
    _arguments.fit_model(model, make_moons(100, noise=0.1, random_state=0)[0])
    lines = [line for line in capsys.readouterr().err.splitlines() if "epoch" not in line[:5]]
    assert len(lines) == 1 and lines[0].startswith("nvpflow: warning: training diverged")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: command"),
        (["suns"], "invalid choice: 'suns'"),
        (["moons", "--layers", "0"], "argument --layers: must be at least 1, got 0"),
        (["moons", "--n-samples", "1"], "argument --n-samples: must be at least 2, got 1"),
        (["moons", "--epochs", "1.5"], "argument --epochs: must be an integer, got '1.5'"),
        (["moons", "--noise", "0"], "argument --noise: must be finite and at least 0.001, got 0"),
        (["moons", "--noise", "nan"], "argument --noise: must be finite and at least 0.001"),
        (["moons", "--noise", "much"], "argument --noise: must be a number, got 'much'"),
        (["moons", "--coupling", "log"], "argument --coupling: invalid choice: 'log'"),
        (["moons", "--random-state", "-1"], "argument --random-state: must be at least 0, got -1"),
        (["moons", "--random-state", 2**32], "argument --random-state: must be at most"),
        (["moons", "--dtype", "int8"], "argument --dtype: invalid choice: 'int8'"),
    ],
)
def test_wrong_usage(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit_info:
        cli.main([str(argument) for argument in arguments])
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_output_is_a_file(tmp_path):
    (tmp_path / "taken").write_text("")
    result = run("moons", *QUICK, "--output", tmp_path / "taken")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()  # before any training
    assert line.startswith("nvpflow: error: ") and "taken" in line


def test_help_and_version():
    result = run("moons", "--help")
    assert result.returncode == 0 and "nvpflow moons --article" in result.stdout
    assert "moons" in run("--help").stdout
    assert run("--version").stdout == f"nvpflow {nvpflow.__version__}\n"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("sklearn.datasets", "the moons need scikit-learn: pip install nvpflow[moons]"),
        ("matplotlib.figure", "figures need matplotlib: pip install nvpflow[moons], or --no-plots"),
    ],
)
def test_missing_package(module, message, monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(["moons", "--output", str(tmp_path / "moons")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "moons").exists()


def test_no_plots_without_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert cli.main(["moons", *QUICK, "--no-plots", "--output", str(tmp_path)]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c(tmp_path):
    arguments = command("moons", "--epochs", 10**8, "--article", "--output", tmp_path)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, env=ENVIRONMENT, **pipes) as process:
        try:
            assert "1000 samples of the two moons" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert stderr.strip() == "interrupted"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_broken_pipe(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    result = run("moons", *QUICK, "--no-plots", "--output", tmp_path, capture_output=False,
                 stdout=writer, stderr=subprocess.PIPE)  # fmt: skip
    os.close(writer)
    assert result.returncode == 1
    assert "Error" not in result.stderr and "Exception" not in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")
def test_progress_bar(tmp_path):
    pytest.importorskip("tqdm")
    import pty
    import termios

    terminal, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    result = run("moons", *QUICK, "--no-plots", "--output", tmp_path, capture_output=False,
                 stdout=subprocess.PIPE, stderr=slave)  # fmt: skip
    os.close(slave)
    shown = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert result.returncode == 0
    assert "30/30" in shown and "%" in shown and "epoch 3/30" not in shown
