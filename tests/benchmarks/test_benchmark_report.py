"""The statistics of the benchmarks' report, on made-up figures; and the command."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from quality.models import OURS
from quality.report import behind_simple, best_of, is_near_best, paired_difference, print_report, ranks, summarize
from quality.results import Results, nats

ROOT = Path(__file__).parents[2]


def states(*values):
    return dict(enumerate(values))


def test_paired_difference():
    mean, error = paired_difference(states(1.0, 2.0, 4.0), states(0.5, 1.0, 2.5, 9.0))
    assert mean == pytest.approx(1.0)
    assert error == pytest.approx(0.5 / math.sqrt(3))
    assert paired_difference({3: 1.0}, {3: 0.75}) == (0.25, 0.0)
    assert paired_difference(states(math.inf, 1.0), states(1.0, 1.0)) == (math.inf, 0.0)
    assert paired_difference(states(1.0, 1.0), states(math.inf, 1.0)) == (-math.inf, 0.0)
    assert paired_difference(states(math.inf, 1.0), states(math.inf, 1.0)) == (0.0, 0.0)


def test_ranks():
    cell = {"a": states(3.0, 0.0, 3.0), "b": states(1.0), "c": states(3.0, 3.0), "d": states(math.inf)}
    assert ranks(cell) == {"b": 1, "a": 2.5, "c": 2.5, "d": 4}


def test_best_of():
    cell = {OURS: states(1.0), "a": states(2.0), "b": states(1.5), "c": {7: 0.0}}
    assert best_of(cell, cell) == "b"  # c has no state in common
    assert best_of(cell, ["a"]) == "a"
    assert best_of(cell, ["c", "other"]) is None


def test_is_near_best():
    assert is_near_best({OURS: states(1.0, 1.0), "a": states(1.1, 1.2)})
    # Behind by 0.075 with an error of 0.05, and by 0.1 with one of 0.2.
    assert not is_near_best({OURS: states(1.025, 1.125), "a": states(1.0, 1.0)})
    assert is_near_best({OURS: states(0.9, 1.3), "a": states(1.0, 1.0)})
    assert not is_near_best({OURS: states(1.001), "a": states(1.0)})
    assert is_near_best({OURS: states(1.0 + 5e-5), "a": states(1.0)})
    assert is_near_best({OURS: states(1.0)})


def test_behind_simple():
    def found(*ours, model="KernelDensity"):
        return behind_simple(
            {OURS: states(*ours), model: states(*[1.0] * len(ours)), "LedoitWolf": states(*[2.0] * len(ours))}
        )

    assert found(1.06) == ("KernelDensity", pytest.approx(0.06), 0)
    assert found(1.04) is None
    # By less than the margin, but three times the error; and by less than two errors.
    assert found(1.02, 1.04) == ("KernelDensity", pytest.approx(0.03), pytest.approx(0.01))
    assert found(1.00, 1.06) is None
    assert found(1.0 + 1e-5, 1.0 + 2e-5) is None
    assert found(0.5, 0.6) is None
    assert found(math.inf, 1.0) == ("KernelDensity", math.inf, 0)
    # Other models are not simple.
    assert found(1.06, model="zuko NSF") is None


def test_summary():
    cells = {
        ("claw", 50): {OURS: states(1.0), "GaussianMixture": states(0.8), "zuko NSF": states(2.0)},
        ("claw", 200): {OURS: states(1.0), "GaussianMixture": states(1.5)},
        ("claw", 1000): {"GaussianMixture": states(1.5), "zuko NSF": states(1.0)},
        ("claw", 10_000): {OURS: states(1.0)},
    }
    summary = summarize(cells)
    assert summary.mean_ranks == {
        OURS: (pytest.approx(4 / 3), 3), "GaussianMixture": (pytest.approx(5 / 3), 3), "zuko NSF": (2, 2)
    }  # fmt: skip
    assert summary.share_near_best == 0.5  # of the two cells that compare
    assert summary.behind == [(("claw", 50), "GaussianMixture", pytest.approx(0.2), 0)]


def test_report_prints_halves_apart(capsys):
    def figures(*values):
        return {state: {"nats": value} for state, value in enumerate(values)}

    print_report({
        ("claw", 200): {OURS: figures(0.25, None, 0.75), "KernelDensity": figures(0.125, 0.25, 0.5)},
        ("ring", 200): {OURS: figures(0.375), "KernelDensity": figures(0.5)},
    })  # fmt: skip
    choose, report = capsys.readouterr().out.split("# Half 'report'")
    assert "0.7500" in choose
    assert "KernelDensity" in choose
    assert "0% of its cells" in choose
    assert "+inf" in choose
    assert "claw" not in report
    assert "100% of its cells" in report
    assert "none" in report


def test_results_keep_figures_and_commands(tmp_path):
    path = tmp_path / "figures.json"
    results = Results(path)
    figure = {"data": "claw", "n": 50, "model": OURS, "state": 0, "nats": None}
    results.add(figure, "first")
    results.add(figure | {"nats": 1.5}, "first")
    results.add(figure | {"state": 1}, "second")
    read = Results(path)
    assert read.commands == ["first", "second"]
    assert nats(read.of("claw", 50)[OURS]) == {0: 1.5, 1: math.inf}
    assert read.of("claw", 200) == {}
    assert Results(None).figures == {}


def test_stored_figures_are_of_declared_data():
    from quality.data import DATA, cells

    content = json.loads((ROOT / "benchmarks/quality/figures.json").read_text())
    known = set(cells(DATA))
    assert {(figure["data"], figure["n"]) for figure in content["figures"]} <= known
    assert all(command.startswith("python benchmarks/quality ") for command in content["commands"])


def test_command(tmp_path):
    path = tmp_path / "figures.json"
    arguments = [
        "--data",
        "claw",
        "iris",
        "--n",
        "200",
        "--states",
        "2",
        "--models",
        "LedoitWolf",
        "--details",
        "--json",
        str(path),
    ]
    run = subprocess.run([sys.executable, "benchmarks/quality", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    content = json.loads(path.read_text())
    assert content["commands"][0].startswith("python benchmarks/quality --data claw iris --n 200 ")
    keys = [(figure["data"], figure["n"], figure["state"]) for figure in content["figures"]]
    assert keys == [("claw", 200, 0), ("iris", 120, 0), ("claw", 200, 1), ("iris", 120, 1)]
    assert "claw, 200 samples" in run.stdout
