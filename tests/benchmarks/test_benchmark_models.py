"""The models of the benchmarks: their densities are densities in the units of the data."""

import numpy as np
import pytest

from quality import run as runner
from quality.models import CONDITIONAL_MODELS, MODELS, OURS, SIMPLE, Model
from quality.results import Results
from quality.run import measure, run

# PyTorch's flows take too long here.
QUICK = [
    "LedoitWolf",
    "GaussianMixture",
    "BayesianGaussianMixture",
    "KernelDensity",
    "vine copula",
    "adversarial forest",
    OURS,
]


def table(n, rng):
    """Two dependent columns of different units."""
    x = rng.normal(size=(n, 2))
    x[:, 1] = 30 * (x[:, 1] + x[:, 0] ** 2)
    return x + [5, 100]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", QUICK)
def test_density_integrates_to_one(name):
    model = MODELS[name]
    for package in model.packages:
        pytest.importorskip(package)
    log_prob = model.fit(table(150, np.random.default_rng(0)), seed=0)
    # The box is far larger than the data, as forests and t margins have wide tails.
    x, y = np.linspace(-5, 15, 251), np.linspace(-300, 900, 301)
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    assert np.exp(log_prob(points)).sum() * (x[1] - x[0]) * (y[1] - y[0]) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", [name for name in CONDITIONAL_MODELS if not name.startswith("zuko")])
def test_conditional_density_integrates_to_one(name):
    data = table(150, np.random.default_rng(0))
    log_prob = CONDITIONAL_MODELS[name].fit(data[:, 1:], data[:, :1], seed=0)
    y = np.linspace(-1500, 2000, 7001)
    for c in (4.0, 5.5):
        p = np.exp(log_prob(y[:, None], np.full((len(y), 1), c)))
        assert p.sum() * 0.5 == pytest.approx(1, abs=0.01)


def test_normal_linear_regression_against_formula():
    rng = np.random.default_rng(1)
    c = rng.normal(size=(500, 2))
    x = 3 * c[:, :1] - c[:, 1:] + 0.5 * rng.normal(size=(500, 1)) + 7
    log_prob = CONDITIONAL_MODELS["LinearRegression"].fit(x, c, seed=0)
    design = np.hstack([c, np.ones((500, 1))])
    coefficients, squares, *_ = np.linalg.lstsq(design, x, rcond=None)
    variance = squares[0] / 497
    expected = -0.5 * (x - design @ coefficients) ** 2 / variance - 0.5 * np.log(2 * np.pi * variance)
    np.testing.assert_allclose(log_prob(x, c), expected[:, 0], rtol=0, atol=1e-8)


def test_names_agree():
    assert OURS in MODELS
    assert OURS in CONDITIONAL_MODELS
    assert set(SIMPLE) <= set(MODELS) | set(CONDITIONAL_MODELS)


class Flat(Model):
    """A model that gives every point the same log-density, or fails."""

    def fit(self, x, seed):
        if seed == 1:
            raise ArithmeticError("no fit")
        return lambda points: np.full(len(points), -2.0 if seed == 0 else -np.inf)


FLAT = Flat("", "", ("numpy",))


def test_measure():
    samples = (np.zeros((3, 1)),), (np.zeros((4, 1)),), np.full(4, -1.5)
    measured = [measure(FLAT, samples, state) for state in range(3)]
    assert [figure["nats"] for figure in measured] == [0.5, None, None]
    assert [figure.get("error") for figure in measured] == [None, "ArithmeticError: no fit", None]
    assert all(figure["cpu_seconds"] >= 0 for figure in measured)


def test_runs_what_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(runner, "MODELS", {"flat": FLAT, "small": FLAT._replace(largest=100)})
    path = tmp_path / "figures.json"
    run([("claw", 200)], ["flat", "small"], 2, Results(path), "command")
    results = Results(path)
    assert results.commands == ["command"]
    assert list(results.figures) == [("claw", 200, "flat", 0), ("claw", 200, "flat", 1)]
    assert results.figures["claw", 200, "flat", 1]["error"] == "ArithmeticError: no fit"
    monkeypatch.setattr(runner, "measure", lambda *arguments: pytest.fail("measured again"))
    run([("claw", 200)], ["flat"], 2, Results(path), "command")
    # nvpflow is measured again when its code changes.
    monkeypatch.setattr(runner, "MODELS", {"flat": FLAT._replace(packages=("nvpflow",))})
    monkeypatch.setattr(runner, "measure", lambda *arguments: {"nats": 0.25, "cpu_seconds": 1.0})
    run([("claw", 200)], ["flat"], 1, Results(path), "another")
    assert Results(path).figures["claw", 200, "flat", 0]["nats"] == 0.25
    assert Results(path).commands == ["command", "another"]
