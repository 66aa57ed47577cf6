"""The command line with ensembles, and with a time limit."""

import numpy as np
import pytest

import nvpflow
from support.command_line import error_line, main, numbers

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 2)) @ [[1.0, 2.0], [0.0, 0.5]]
WORDS = ["--n-layers", 2, "--hidden-dim", 8, "--max-iter", 20, "--random-state", 5, "--base", "normal"]
OPTIONS = {"n_layers": 2, "hidden_dim": 8, "max_iter": 20, "random_state": 5, "base": "normal"}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    room = tmp_path_factory.mktemp("room")
    np.savetxt(room / "data.csv", X, fmt="%.17g", delimiter=",", header="height,mass", comments="")
    nvpflow.FlowDensity(**OPTIONS, n_models=3).fit(X).save(room / "model.npz")
    nvpflow.load(room / "model.npz").flow_.save(room / "ensemble.npz")
    return room


@pytest.mark.parametrize("more", [[], ["--contamination", "auto"], ["--n-jobs", 2]])
def test_fit(room, more, tmp_path, capsys):
    path = tmp_path / "model.npz"
    assert main("fit", room / "data.csv", "-o", path, "--n-models", 3, *WORDS, *more) == 0
    assert ": 3 flows of 20 epochs, the parameters of epochs " in capsys.readouterr().err
    model, expected = nvpflow.load(path), nvpflow.load(room / "model.npz")
    assert model.n_models == 3 and len(model.flow_) == 3
    np.testing.assert_array_equal(model.flow_.log_prob(X), expected.flow_.log_prob(X))


def test_progress(room, tmp_path, capsys):
    assert main("fit", room / "data.csv", "-o", tmp_path / "model.npz", "--n-models", 2, "-v", *WORDS) == 0
    assert "epoch 40/40: training NLL" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["model", "ensemble"])
def test_score_and_sample(name, room, capsys):
    model = nvpflow.load(room / "model.npz")
    assert main("score", room / f"{name}.npz", room / "data.csv", "--n-jobs", 2) == 0
    np.testing.assert_allclose(numbers(capsys.readouterr().out)[:, 0], model.score_samples(X), rtol=1e-6)
    assert main("sample", room / f"{name}.npz", "-n", 6, "--random-state", 3) == 0
    np.testing.assert_allclose(numbers(capsys.readouterr().out, header=False), model.sample(6, random_state=3), rtol=1e-6)


def test_info(room, capsys):
    assert main("info", room / "model.npz") == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["ensemble"] == "the average of 3 flows" and lines["layers"] == "6 SplineCoupling, 3 ActNorm"
    assert lines["base"] == "standard normal" and lines["training"].startswith("3 flows of 20 epochs")
    assert lines["model"].startswith("FlowDensity(") and "n_models=3" in lines["model"]
    assert main("info", room / "ensemble.npz") == 0
    assert "the average of 3 flows" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["contours", "density", "corner", "samples", "training"])
def test_plot(kind, room, tmp_path):
    assert main("plot", room / "model.npz", room / "data.csv", "-o", tmp_path / "a.png", "--kind", kind) == 0
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.parametrize("kind", ["evolution", "latent"])
def test_plots_of_one_flow(kind, room, tmp_path, capsys):
    assert main("plot", room / "model.npz", room / "data.csv", "-o", tmp_path / "a.png", "--kind", kind) == 1
    assert "model must have one flow for this figure, got an average of 3" in error_line(capsys)
    assert not list(tmp_path.iterdir())


def test_plot_of_training_of_a_bare_ensemble(room, tmp_path, capsys):
    assert main("plot", room / "ensemble.npz", "-o", tmp_path / "a.png", "--kind", "training") == 1
    assert "only an estimator's file holds training curves" in error_line(capsys)


def test_time_limit(room, tmp_path):
    path = tmp_path / "model.npz"
    words = [word if word != 20 else 10**7 for word in WORDS]
    assert main("fit", "-q", room / "data.csv", "-o", path, "--time-limit", 0.3, *words) == 0
    model = nvpflow.load(path)
    assert model.time_limit == 0.3 and 0 < model.n_iter_ < 10**7


@pytest.mark.parametrize(
    "wrong", [["--n-models", "0"], ["--n-models", "2.5"], ["--time-limit", "0"], ["--time-limit", "soon"]]
)
def test_wrong_usage(wrong, room, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main("fit", room / "data.csv", "-o", tmp_path / "model.npz", *wrong)
    assert caught.value.code == 2 and wrong[0] in capsys.readouterr().err
