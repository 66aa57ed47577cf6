"""The exact densities of the benchmarks: integrals, samples and entropies."""

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import itertools

from densities import DENSITIES, Spirals

PLANE = [name for name, density in DENSITIES.items() if density.dim == 2]


@functools.cache
def masses(name):
    """Probabilities of the cells of the density's grid, by the midpoint rule."""
    density = DENSITIES[name]
    side = round(2 * density.box / density.step)
    return np.exp(density.log_prob(density.grid())).reshape(side, side) * density.step**2


@pytest.mark.parametrize("name", PLANE)
def test_integrates_to_one(name):
    assert masses(name).sum() == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("cells", [100, 10])
@pytest.mark.parametrize("name", PLANE)
def test_samples_against_density(name, cells):
    density, n = DENSITIES[name], 50_000
    x = density.sample(n, np.random.default_rng(1))
    assert x.shape == (n, 2)
    # About so many cells on a side, each of whole cells of the grid.
    side = len(masses(name))
    ratio = max(1, side // cells)
    bins = -(-side // ratio)
    mass = np.zeros((bins * ratio, bins * ratio))
    mass[:side, :side] = masses(name)
    expected = n * mass.reshape(bins, ratio, bins, ratio).sum(axis=(1, 3))
    edges = np.arange(bins + 1) * ratio * density.step - side * density.step / 2
    counts = np.histogram2d(*x.T, bins=[edges, edges])[0]
    assert counts.sum() == n
    some = expected >= 5
    counts, expected = (np.append(a[some], a[~some].sum()) for a in (counts, expected))
    assert stats.chi2.sf(((counts - expected) ** 2 / np.maximum(expected, 1)).sum(), len(counts) - 1) > 1e-4


@pytest.mark.parametrize("name", DENSITIES)
def test_entropy_against_samples(name):
    density, n = DENSITIES[name], 20_000
    nll = -density.log_prob(density.sample(n, np.random.default_rng(2)))
    entropy, error = density.entropy()
    assert error < 1e-2
    assert nll.mean() == pytest.approx(entropy, abs=4 * np.hypot(nll.std() / n**0.5, error) + 1e-9)


def test_spirals_against_quadrature():
    density, rng = Spirals(), np.random.default_rng(0)
    near = density.sample(20, rng)
    points = np.concatenate([near, near + rng.normal(size=near.shape) * 0.5, np.zeros((1, 2))])

    def integrand(t, sign, point):
        centre = sign * np.array([-t * np.cos(t), t * np.sin(t)]) / 3
        return 2 * t / density.end**2 * np.exp(-((point - centre) ** 2).sum() / (2 * density.noise**2))

    for point, log_p in zip(points, density.log_prob(points)):
        breaks = np.linspace(0, density.end, 49)
        total = sum(integrate.quad(integrand, a, b, args=(sign, point), epsabs=1e-13, epsrel=1e-11)[0]
                    for sign in (-1, 1) for a, b in itertools.pairwise(breaks))  # fmt: skip
        assert np.exp(log_p) == pytest.approx(total / (4 * np.pi * density.noise**2), rel=1e-8, abs=1e-9)


def test_far_points_of_spirals():
    # In any direction, ten standard deviations from the outermost turn.
    angle = np.linspace(0, 2 * np.pi, 100)
    points = (np.pi + 1) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(Spirals().log_prob(points), Spirals(panels=1000).log_prob(points), rtol=0, atol=1e-6)


def test_circles_against_sum():
    density, angle = DENSITIES["circles"], np.arange(2000) * np.pi / 1000
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x = density.sample(50, np.random.default_rng(0)) * 1.2
    p = 0
    for radius in (1, density.factor):
        squares = ((x[:, None] - radius * circle) ** 2).sum(axis=2)
        p = p + np.exp(-squares / (2 * density.noise**2)).mean(axis=1) / (4 * np.pi * density.noise**2)
    np.testing.assert_allclose(density.log_prob(x), np.log(p), rtol=0, atol=1e-10)


def test_mixture_against_scipy():
    density = DENSITIES["gaussians-10d"]
    x = density.sample(100, np.random.default_rng(0))
    p = sum(weight * stats.multivariate_normal(mean, factor @ factor.T).pdf(x)
            for weight, mean, factor in zip(density.weights, density.means, density.factors))  # fmt: skip
    np.testing.assert_allclose(density.log_prob(x), np.log(p), rtol=0, atol=1e-10)
    # The samples, along the line on which the means lie furthest apart.
    projection = np.linalg.svd(density.means - density.means.mean(axis=0))[2][0]
    centres = density.means @ projection
    deviations = np.linalg.norm(density.factors.transpose(0, 2, 1) @ projection, axis=1)

    def cdf(values):
        return stats.norm.cdf(np.subtract.outer(values, centres) / deviations) @ density.weights

    samples = density.sample(20_000, np.random.default_rng(1)) @ projection
    assert stats.kstest(samples, cdf).pvalue > 1e-4
