"""Checks of a fit on held-out rows."""

import dataclasses

import numpy as np
import pytest

import nvpflow
from diagnostics.conftest import draw

N_SEEDS = 20
MOST_ALARMS = 4  # of 20 at a level of at most 5 %: more have a probability of 0.3 %


def test_own_samples_are_no_misfit(model):
    reports = [model.check(model.sample(300, random_state=seed + 1), random_state=seed) for seed in range(N_SEEDS)]
    assert sum(report.has_misfit for report in reports) <= MOST_ALARMS
    # Each test alone is at its nominal rate, too: p-values are about uniform, and none is always large.
    p_values = [column.p_value for report in reports for column in report.columns]
    assert 0.35 < np.mean(p_values) < 0.65
    tests = [test.p_value for report in reports for test in report.two_sample]
    assert 0.35 < np.mean(tests) < 0.65
    shares = np.array([[one.share for one in report.columns[1].coverage] for report in reports])
    np.testing.assert_allclose(shares.mean(axis=0), [0.5, 0.9], atol=0.03)


def test_report_of_own_samples_says_nothing(model):
    report = model.check(model.sample(500, random_state=1))
    assert report.verdicts == () and not report.has_misfit
    assert "nothing significant" in str(report)
    assert abs(report.nll - report.nll_of_samples) < 4 * report.nll_error


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        (lambda x: x * [1.0, 1.5], "column x1"),  # a wrong scale
        (lambda x: x + [0.5, 0.0], "column x0"),  # a wrong mean
        (lambda x: np.c_[x[:, 0], np.roll(x[:, 1], 1)], "a classifier (ridge regression)"),  # columns are independent
        (lambda x: x.mean(axis=0) + 2 * (x - x.mean(axis=0)), "the model is too sure of itself"),
        (lambda x: x.mean(axis=0) + 0.5 * (x - x.mean(axis=0)), "the model is too spread out"),
    ],
)
def test_planted_misfit_is_noticed(model, planted, words):
    reports = [model.check(planted(draw(seed)), random_state=seed) for seed in (1, 2, 3)]
    for report in reports:
        assert report.has_misfit
        assert any(line.startswith(words) for line in report.verdicts), report.verdicts


def test_neighbours_see_what_moments_do_not():
    # A ring has the moments of a normal distribution of the same covariance, but no points in the middle.
    angle, noise = np.random.default_rng(0).uniform(0, 2 * np.pi, 600), np.random.default_rng(1).normal(size=(600, 2))
    ring = np.c_[np.cos(angle), np.sin(angle)] * np.sqrt(2) + 0.1 * noise
    model = nvpflow.RealNVP(1, 2, max_iter=1, learning_rate=1e-6, random_state=0).fit(ring[:300])
    ridge, neighbours = model.check(ring[300:]).two_sample
    assert ridge.p_value > 0.0125 > neighbours.p_value


def test_errors_and_likelihoods(model):
    x = draw(5)
    report = model.check(x)
    log_density = model.score_samples(x).astype(float)
    assert report.nll == pytest.approx(-log_density.mean())
    assert report.nll_error == pytest.approx(log_density.std(ddof=1) / 20)
    drawn = model.sample_and_log_prob(20_000, 3)[1].astype(float)
    assert report.nll_of_samples == pytest.approx(-drawn.mean(), abs=5 * drawn.std() / 100)
    assert report.n_samples == 10_000 and report.n_effective == pytest.approx(400 * 10_000 / 10_400)


def test_baselines(model):
    train, x = draw(0, 2000), draw(6)
    normal, mixture = model.check(x, X_train=train).baselines
    mean, covariance = train.mean(axis=0), np.cov(train.T, bias=True)
    off = x - mean
    expected = -0.5 * (
        np.einsum("ni,ij,nj->n", off, np.linalg.inv(covariance), off) + np.linalg.slogdet(2 * np.pi * covariance)[1]
    )
    assert normal.nll == pytest.approx(-expected.mean(), abs=1e-2)
    difference = model.score_samples(x) - expected
    assert normal.gain == pytest.approx(difference.mean(), abs=1e-2)
    assert normal.gain_error == pytest.approx(difference.std(ddof=1) / 20, rel=0.02)
    assert mixture.nll < normal.nll
    report = model.check(x, X_train=train)
    assert any("better than the normal distribution" in line for line in report.verdicts)
    assert any("need X_train" in line for line in model.check(x).notes)


def test_a_worse_model_is_said_to_be_worse():
    train, x = draw(0, 2000), draw(7)
    poor = nvpflow.RealNVP(1, 2, max_iter=1, learning_rate=1e-6, random_state=0).fit(train)
    assert any("worse than the mixture" in line for line in poor.check(x, X_train=train).verdicts)


def test_training_rows_among_the_held_out_ones_are_counted(model):
    train = draw(0, 2000)
    report = model.check(np.r_[draw(8), train[:37]], X_train=train)
    assert any(line.startswith("37 of 437 held-out rows are training rows") for line in report.verdicts)


def test_rows_without_density():
    train, x = np.abs(draw(0, 500)), np.abs(draw(9))
    model = nvpflow.FlowDensity(support=["positive", "positive"], max_iter=10, random_state=0).fit(train)
    x[:3, 0] = -1
    report = model.check(x, X_train=train)
    assert report.n_without_density == 3
    assert report.nll == pytest.approx(-model.score_samples(x[3:]).astype(float).mean())
    assert np.isfinite([report.nll_error, *(one.gain for one in report.baselines)]).all()
    assert report.verdicts[0].startswith("3 of 400 held-out rows have no density")


def test_the_seed_decides(model):
    x = draw(10)
    texts = [str(model.check(x, random_state=seed)) for seed in (None, None, 0, 1, np.random.default_rng(0))]
    assert texts[0] == texts[1] == texts[2]
    assert texts[3] != texts[0] != texts[4]


def test_any_number_of_threads_gives_the_same_report(model, tmp_path):
    x = draw(11)
    model.save(tmp_path / "m.npz")
    loaded = nvpflow.load(tmp_path / "m.npz")
    loaded.flow_.n_jobs = 2
    assert str(loaded.check(x, X_train=draw(0, 2000))) == str(model.check(x, X_train=draw(0, 2000)))


def test_the_report_is_frozen_and_has_html(model):
    report = model.check(draw(12))
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.nll = 0.0
    assert repr(report) == str(report)
    page = report._repr_html_()
    assert page.count("<table") == page.count("</table>") == 5
    assert f"{report.nll:.4f}" in page and "<b>CheckReport</b>" in page


def test_names_that_are_markup_are_escaped():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(draw(0), columns=["<b>", "y"])
    report = nvpflow.FlowDensity(max_iter=5, random_state=0).fit(frame).check(frame)
    assert [column.name for column in report.columns] == ["<b>", "y"]
    assert "&lt;b&gt;" in report._repr_html_()


def test_bad_arguments(model):
    x = draw(1)
    with pytest.raises(ValueError, match="X_held_out must have at least 20 rows, got 19"):
        model.check(x[:19])
    with pytest.raises(ValueError, match="X_held_out has 1 features, but FlowDensity is expecting 2"):
        model.check(x[:, :1])
    with pytest.raises(ValueError, match="X_train has 1 features, but FlowDensity is expecting 2"):
        model.check(x, X_train=x[:, :1])
    with pytest.raises(ValueError, match="X_held_out must be finite"):
        model.check(np.where(x > 1, np.nan, x))
    with pytest.raises(ValueError, match="X_train must have at least 2 rows, got 1"):
        model.check(x, X_train=x[:1])
    with pytest.raises(ValueError, match="context must be None"):
        model.check(x, context=x)
    with pytest.raises(ValueError, match="context_train must be None without X_train, got a ndarray"):
        model.check(x, context_train=x)
    with pytest.raises(TypeError, match="random_state must be"):
        model.check(x, random_state="0")
    with pytest.raises(nvpflow.NotFittedError):
        nvpflow.FlowDensity().check(x)
