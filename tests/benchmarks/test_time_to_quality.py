"""benchmarks/time_to_quality.py: its clock, curves, tables and stored figures; and the command."""

import json
import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from quality.models import MODELS, OURS
from quality.models.watching import show, watched
from time_to_quality_curves import CUT, Curve, Curves, trace
from time_to_quality_report import Until, compare, print_report, until_near_best

ROOT = Path(__file__).parents[2]
STORED = ROOT / "benchmarks/time_to_quality.json"
needs_alarm = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="fits are not cut on this system")


def work(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_trace_has_better_models_and_stops_the_clock_while_it_scores():
    def fit(watch):
        work(0.05)
        watch(3.0)
        work(0.05)
        watch(2.0)
        work(0.05)

    def score(model):
        work(0.3)
        return model

    curve = trace(fit, score, None)
    assert [nats for _, nats in curve.points] == [3.0, 2.0]
    assert 0.04 < curve.points[0][0] < curve.points[1][0] < curve.seconds < 0.3
    assert curve.end == "finished"
    # A fit that shows nothing is a point, in the end.
    only = trace(lambda watch: 1.5, float, None)
    assert only.points == [(only.seconds, 1.5)]


@needs_alarm
def test_trace_cuts_a_fit_after_seconds_without_those_of_scores():
    def fit(watch):
        work(0.05)
        watch(1.0)
        while True:
            try:
                work(1.0)
            except Exception:
                continue

    curve = trace(fit, lambda model: work(0.3) or model, 0.2)
    assert curve.end == CUT
    assert [nats for _, nats in curve.points] == [1.0]
    assert 0.19 < curve.seconds < 0.28
    work(0.3)  # no alarm is left


def test_trace_keeps_the_error_of_a_fit():
    curve = trace(lambda watch: 1 / 0, float, None)
    assert (curve.points, curve.end) == ([], "ZeroDivisionError: division by zero")
    assert curve.nats == math.inf


def test_seconds_until_for_good():
    curve = Curve([(1.0, 5.0), (2.0, 1.0), (3.0, 1.5), (4.0, 1.1), (5.0, 0.9)], 9.0)
    assert curve.seconds_until(1.1) == 4.0
    assert curve.seconds_until(1.5) == 2.0
    assert curve.seconds_until(0.8) == math.inf
    assert Curve([(1.0, 0.5), (2.0, math.nan)], 2.0).seconds_until(1.0) == math.inf
    assert (curve.best, curve.nats) == (0.9, 0.9)
    assert Curve([], 2.0).seconds_until(1.0) == math.inf


def test_search_by_bic_shows_every_better_mixture():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 1)) + 8 * rng.integers(3, size=(300, 1))
    found = []
    with watched(lambda log_prob: found.append(log_prob((x - x.mean()) / x.std()).mean())):
        MODELS["GaussianMixture"].fit(x, seed=0)
    assert len(found) > 1
    assert found[-1] > found[0]
    show(None)  # nobody watches


def test_watched_training_lasts_until_it_stops_early(monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("zuko")
    from quality.models import torch_training

    monkeypatch.setattr(torch_training, "MAX_STEPS", 1)
    monkeypatch.setattr(torch_training, "CHECK_EVERY", 2)
    rng, found = np.random.default_rng(0), []
    x = rng.choice([-1, 1], size=(60, 2)) + 0.1 * rng.normal(size=(60, 2))
    with watched(lambda log_prob: found.append(log_prob(x).mean())):
        MODELS["zuko NSF"].fit(x, seed=0)
    assert len(found) > 1
    assert found[-1] > found[0]


def curve(*nats, run=None, end="finished"):
    """With a point after every second."""
    return Curve([(float(i), value) for i, value in enumerate(nats, 1)], float(run or len(nats)), end)


def test_until_near_best():
    by_name = {
        OURS: {0: curve(1.01), 1: curve(1.01), 2: curve(9.0)},
        "zuko NSF": {0: curve(2.0, 1.0, run=7), 1: curve(2.0, 1.5, 1.0, run=7)},
        "nflows spline": {0: curve(3.0, run=80, end=CUT), 1: curve(2.0, run=90)},
    }
    found = until_near_best(by_name, 0.02)  # of states 0 and 1, in which all are
    assert found[OURS] == Until(1.0, 1.0, False)
    assert found["zuko NSF"] == Until(2.5, 7.0, False)
    assert found["nflows spline"] == Until(math.inf, 85.0, True)
    assert [str(found[name]) for name in by_name] == ["1", "2.5", "> 85"]
    assert str(found["nflows spline"]._replace(is_cut=False)) == "never, 85"


def test_compare():
    until = {
        OURS: Until(1.0, 1.0, False),
        "zuko NSF": Until(30.0, 60.0, False),
        "nflows spline": Until(math.inf, 5.0, False),
        "GaussianMixture": Until(math.inf, 2.0, False),
    }
    found = compare(until)
    assert found == (1.0, 30.0, 5.0, until["GaussianMixture"])
    assert (found.is_near, found.has_flow, found.times_of_flow, found.times_of_search) == (True, True, 30.0, 2.0)
    # Where no flow gets there, the one that gave up first counts.
    none = compare(until | {"zuko NSF": Until(math.inf, 60.0, False)})
    assert (none.has_flow, none.times_of_flow) == (False, 5.0)
    never = compare(until | {OURS: Until(math.inf, 1.0, False)})
    assert (never.is_near, never.times_of_flow, never.times_of_search) == (False, 0.0, 0.0)
    assert compare({OURS: until[OURS], "GaussianMixture": until["GaussianMixture"]}) is None
    assert compare({OURS: until[OURS], "zuko NSF": until["zuko NSF"]}) is None


def test_report(capsys):
    print_report(
        {("quakes", 800): {OURS: {0: curve(1.0)}, "zuko NSF": {0: curve(2.0, 1.5)}, "GaussianMixture": {0: curve(1.0, 1.0)}}},
        [OURS, "zuko NSF", "GaussianMixture"],
        0.02,
    )
    printed = capsys.readouterr().out
    assert "| quakes | 800 | 1 | never, 2 | 1 |" in printed
    assert "| quakes | 800 | 1 s, 1.000 | 2 s, 1.500 | 2 s, 1.000 |" in printed
    assert "| quakes | 800 | 1 | none in 2 | 2 | 1 | 2 | 2 |" in printed
    assert "near the best in 1 of 1 cases. In 0 of these a flow" in printed
    assert "in 1 none does in its time, which is at least 20 times as long in 0." in printed
    assert "The search by BIC gets there later or never in 0, and ends later in 1." in printed


def test_curves_are_kept(tmp_path):
    path = tmp_path / "curves.json"
    key = "quakes", 800, OURS, 0
    Curves(path).add(key, Curve([(1.0, math.inf), (2.0, 0.5)], 3.0, CUT), "nvpflow 1", "a command")
    read = Curves(path)
    assert read.curves == {key: Curve([(1.0, math.inf), (2.0, 0.5)], 3.0, CUT)}
    assert read.of([("quakes", 800)], [OURS]) == {("quakes", 800): {OURS: {0: read.curves[key]}}}
    assert read.of([("quakes", 800)], []) == {}
    assert read.origins[key][0] == "nvpflow 1"
    assert read.commands == ["a command"]
    json.loads(path.read_text(), parse_constant=pytest.fail)


def test_stored_curves_are_of_the_cases():
    from time_to_quality import CASES, COMPETITORS

    stored = Curves(STORED)
    assert {key[:2] for key in stored.curves} <= set(CASES)
    assert {key[2] for key in stored.curves} <= set(COMPETITORS)
    assert all(command.startswith("python benchmarks/time_to_quality.py ") for command in stored.commands)


def test_command(tmp_path):
    path, chart = tmp_path / "curves.json", tmp_path / "curves.png"
    command = [sys.executable, "benchmarks/time_to_quality.py", "--data", "moons-0.1", "--sizes", "1000", "--json", path]
    models = [OURS, "nvpflow time_limit", "GaussianMixture"]
    run = subprocess.run([*command, "--chart", chart, "--models", *models], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert [key[:3] for key in Curves(path).curves] == [("moons-0.1", 1000, name) for name in models]
    assert re.search(r"\| moons-0.1 \| 1000 \| [\d.]+ s, 0\.0\d\d \|", run.stdout)
    assert chart.stat().st_size > 1000
    again = subprocess.run([*command, "--models", OURS], cwd=ROOT, capture_output=True, text=True)
    assert again.stdout == run.stdout  # nothing is measured again
    assert not again.stderr
