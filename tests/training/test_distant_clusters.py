"""Distant clusters, stray rows and heavy tails: the gap to the exact density in nats, and samples."""

import warnings

import numpy as np
import pytest

import nvpflow

R, rng = nvpflow.FlowDensity, np.random.default_rng
every_state = pytest.mark.parametrize("state", range(3))


def log_normal(x, mean=0.0):
    """Log-density of N(mean, I)."""
    return -0.5 * ((x - mean) ** 2).sum(axis=1) - 0.5 * x.shape[1] * np.log(2 * np.pi)


@pytest.mark.parametrize("distance, dtype", [(30, "float32"), (1e3, "float32"), (1e5, "float32"), (1e7, "float64")])
@every_state
def test_two_clusters(state, distance, dtype):
    x = np.r_[rng(state).normal(size=(500, 2)), distance + rng(state + 9).normal(size=(500, 2))]
    model = R(random_state=state, dtype=dtype).fit(x)
    fresh = rng(state + 99).normal(size=(2000, 2))
    for center in (0, distance):
        gap = log_normal(fresh) + np.log(0.5) - model.score_samples(center + fresh)
        assert gap.mean() < 0.05
    drawn = model.sample(5000, random_state=1)
    assert np.minimum(*(np.linalg.norm(drawn - center, axis=1) for center in (0, distance))).max() < 7


@every_state
def test_five_clusters_in_ten_dimensions(state):
    centers = 1000 * rng(123).normal(size=(5, 10))
    x, labels = rng(state).normal(size=(4500, 10)), rng(state + 9).integers(5, size=4500)
    x += centers[labels]
    model = R(random_state=state).fit(x[:2500])
    exact = log_normal(x[2500:], centers[labels[2500:]]) - np.log(5)
    assert np.mean(exact - model.score_samples(x[2500:])) < 0.12


@pytest.mark.parametrize("far", [1e3, 1e6, 1e9, 1e12])
@every_state
def test_stray_row(state, far):
    x = rng(state).normal(size=(2000, 2))
    x[7] = far
    model = R(random_state=state).fit(x)
    fresh = rng(state + 9).normal(size=(3000, 2))
    assert np.mean(log_normal(fresh) - model.score_samples(fresh)) < 0.02
    assert np.isfinite(model.score(x))


@pytest.mark.parametrize("distance", [20, 1000])
@pytest.mark.parametrize("small, large", [(0.01, 3), (0.1, 3), (0.01, 1)])
def test_clusters_of_different_sizes(small, large, distance):
    """The larger one does not blur the smaller one."""
    x = np.r_[small * rng(1).normal(size=(800, 2)), [distance, 0] + large * rng(51).normal(size=(400, 2))]
    model = R(random_state=0).fit(x)
    fresh = rng(2).normal(size=(2000, 2))
    for center, width, share in ((0, small, 2 / 3), ([distance, 0], large, 1 / 3)):
        exact = log_normal(fresh) - 2 * np.log(width) + np.log(share)
        assert np.mean(exact - model.score_samples(center + width * fresh)) < 0.05


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["pareto", "cauchy", "outliers", "powers"])
@pytest.mark.parametrize("base", ["auto", "normal"])
def test_heavy_tails(kind, base, dtype):
    x = {
        "pareto": lambda: rng(0).pareto(0.2, size=(1000, 2)),
        "cauchy": lambda: rng(0).standard_cauchy(size=(1000, 3)),
        "outliers": lambda: np.r_[rng(0).normal(size=(995, 2)), 1e12 * rng(1).normal(size=(5, 2))],
        "powers": lambda: 10 ** rng(0).uniform(-12, 12, size=(1000, 2)),
    }[kind]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nvpflow.ConvergenceWarning)
        warnings.filterwarnings("ignore", ".*orders of magnitude that float")
        model = R(random_state=0, base=base, dtype=dtype, max_iter=20).fit(x)
    assert np.isfinite(model.score(x))
    assert np.isfinite(model.sample(1000, random_state=0)).all()


def test_units_are_robust():
    x = rng(0).normal(size=(1000, 2))
    x[0] = [1e9, 0]
    scale = R(random_state=0, base="normal", max_iter=1).fit(x).flow_.layers[-1].log_scale
    np.testing.assert_allclose(np.exp(scale), 1, atol=0.1)
