"""The densities of the benchmarks that are no plain mixtures: densities against other formulas, samples against densities."""

import itertools

import numpy as np
import pytest
from scipy import stats

from quality.densities import DENSITIES
from quality.densities.bent import FiveBananas
from quality.densities.surfaces import SwissRoll, Torus

N = 20_000


def samples(name, n=N):
    return DENSITIES[name].sample(n, np.random.default_rng(3))


def assert_normal(z):
    """Independent N(0, 1): every column, and the sums of columns by a random matrix."""
    mixed = z @ np.linalg.qr(np.random.default_rng(0).normal(size=(z.shape[1], z.shape[1])))[0]
    for column in (*z.T, *mixed.T):
        assert stats.kstest(column, stats.norm.cdf).pvalue > 1e-5


MODES = {"kurtotic": 1, "skewed-bimodal": 2, "claw": 5, "discrete-comb": 6, "strongly-skewed": 1, "outlier": 1,
         "separated-bimodal": 2, "smooth-comb": 6, "asymmetric-claw": 5}  # fmt: skip


@pytest.mark.parametrize("name", MODES)
def test_lines(name):
    density = DENSITIES[name]
    deviations = density.factors[:, 0, 0]
    step = deviations.min() / 4
    x = np.arange(-8, 8, step) + step / 2
    p = np.exp(density.log_prob(x[:, None]))
    assert p.sum() * step == pytest.approx(1, abs=1e-7)
    # Claws and combs have a mode for each tooth.
    assert ((p[1:-1] > p[:-2]) & (p[1:-1] > p[2:])).sum() == MODES[name]
    edges, cdf = np.append(x, x[-1] + step) - step / 2, np.append(0, np.cumsum(p) * step)
    assert stats.kstest(samples(name)[:, 0], lambda values: np.interp(values, edges, cdf)).pvalue > 1e-4


# A point and the height there, by hand from the article's table: that of the normal densities which matter there.
HEIGHTS = {"kurtotic": (0, 1.5957), "outlier": (0, 3.6303), "claw": (0, 0.5984), "skewed-bimodal": (1.5, 0.3963),
           "separated-bimodal": (1.5, 0.3989), "asymmetric-claw": (-1.5, 0.3222), "smooth-comb": (62 / 21, 0.3989),
           "discrete-comb": (16 / 7, 0.3998)}  # fmt: skip


@pytest.mark.parametrize("name", HEIGHTS)
def test_heights_of_lines(name):
    point, height = HEIGHTS[name]
    assert np.exp(DENSITIES[name].log_prob(np.array([[point]]))) == pytest.approx(height, abs=2e-4)


@pytest.mark.parametrize("name", ["scales-0.02-1", "scales-0.001-1000"])
def test_two_scales(name):
    density = DENSITIES[name]
    deviations = density.factors[:, 0, 0]
    nodes, weights = np.polynomial.legendre.leggauss(4)
    axes = []
    for d in range(2):
        ends = np.unique(density.means[:, d] + np.multiply.outer(np.linspace(-9, 9, 73), deviations))
        half = np.diff(ends)[:, None] / 2
        axes.append(((ends[:-1, None] + half * (nodes + 1)).ravel(), (half * weights).ravel()))
    (x, x_weights), (y, y_weights) = axes
    points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    p = np.exp(density.log_prob(points)).reshape(len(x), len(y))
    assert x_weights @ p @ y_weights == pytest.approx(1, abs=1e-7)
    # In the narrow cluster, and among all the others.
    squares = ((samples(name) - density.means[0]) ** 2).sum(axis=1) / deviations[0] ** 2
    near = squares < 50
    assert near.mean() == pytest.approx(0.5, abs=0.02)
    assert stats.kstest(squares[near], stats.chi2(2).cdf).pvalue > 1e-4
    assert_normal((samples(name)[~near] - density.means[1]) / deviations[1])


@pytest.mark.parametrize("name", ["gamma-copula-6d", "ar1-copula-20d", "log-normal-5d"])
def test_copulas(name):
    density, x = DENSITIES[name], samples(name)
    for margin, column in zip(density.margins, x.T):
        assert stats.kstest(column, margin.cdf).pvalue > 1e-5
    scores = np.stack([stats.norm.ppf(margin.cdf(column)) for margin, column in zip(density.margins, x.T)], axis=1)
    correlation = density.factor @ density.factor.T
    assert_normal(np.linalg.solve(density.factor, scores.T).T)
    expected = stats.multivariate_normal(cov=correlation).logpdf(scores) - stats.norm.logpdf(scores).sum(axis=1)
    expected += sum(margin.logpdf(column) for margin, column in zip(density.margins, x.T))
    np.testing.assert_allclose(density.log_prob(x), expected, rtol=0, atol=1e-6)


def test_copula_far_above():
    # The distribution function is 1 in double precision there.
    density = DENSITIES["gamma-copula-6d"]
    assert np.isfinite(density.log_prob(np.full((1, 6), 60.0))).all()


def test_log_normal_against_scipy():
    density, x = DENSITIES["log-normal-5d"], samples("log-normal-5d", 100)
    normal = stats.multivariate_normal(cov=density.factor @ density.factor.T)
    np.testing.assert_allclose(density.log_prob(x), normal.logpdf(np.log(x)) - np.log(x).sum(axis=1), rtol=0, atol=1e-8)


def test_student_t_samples():
    density, x = DENSITIES["student-t-5d"], samples("student-t-5d")
    squares = (np.linalg.solve(np.linalg.cholesky(density.distribution.shape), x.T) ** 2).sum(axis=0)
    assert stats.kstest(squares / 5, stats.f(5, 3).cdf).pvalue > 1e-4


@pytest.mark.parametrize("name, outside", [("exponential-5d", -0.1), ("uniform-5d", 1.1)])
def test_bounded_columns(name, outside):
    density, x = DENSITIES[name], samples(name)
    for margin, column in zip(density.margins, x.T):
        assert stats.kstest(column, margin.cdf).pvalue > 1e-5
    x[:, 2] = outside
    assert (density.log_prob(x) == -np.inf).all()


def test_funnel_against_scipy():
    density, x = DENSITIES["funnel-10d"], samples("funnel-10d")
    expected = stats.norm(0, 3).logpdf(x[:, 0]) + stats.norm(0, np.exp(x[:, :1] / 2)).logpdf(x[:, 1:]).sum(axis=1)
    np.testing.assert_allclose(density.log_prob(x), expected, rtol=0, atol=1e-9)
    assert_normal(np.hstack([x[:, :1] / 3, x[:, 1:] * np.exp(-x[:, :1] / 2)]))


def test_banana_chains():
    x = samples("banana-chains-10d")
    residuals = [(x[:, 0] - 1) / 0.2]
    for chain in range(3):
        columns = [0, *range(3 * chain + 1, 3 * chain + 4)]
        residuals += [(x[:, after] - x[:, before] ** 2) / 0.1 for before, after in itertools.pairwise(columns)]
    assert_normal(np.stack(residuals, axis=1))
    expected = stats.norm.logpdf(residuals).sum(axis=0) - np.log(0.2 * 0.1**9)
    np.testing.assert_allclose(DENSITIES["banana-chains-10d"].log_prob(x), expected, rtol=0, atol=1e-8)


def test_five_bananas_against_scipy():
    density, x = DENSITIES["five-bananas-10d"], samples("five-bananas-10d", 200)
    p = 0
    for turn, centre in zip(density.turns, density.centres):
        np.testing.assert_allclose(turn @ turn.T, np.eye(10), rtol=0, atol=1e-12)
        straight = np.linalg.solve(turn, (x - centre).T).T
        straight[:, 1] -= 0.6 * (straight[:, 0] ** 2 - 1.5**2)
        p = p + stats.multivariate_normal(cov=np.diag([1.5, 0.2] + [0.5] * 8) ** 2).pdf(straight) / 5
    np.testing.assert_allclose(density.log_prob(x), np.log(p), rtol=0, atol=1e-8)


def test_swiss_roll_against_sum():
    density = DENSITIES["swiss-roll"]
    t = 1.5 * np.pi + 3 * np.pi * (np.arange(16_000) + 0.5) / 16_000
    h = 21 * (np.arange(16_000) + 0.5) / 16_000
    for point in [*samples("swiss-roll", 3), [3.0, -0.4, 8.0], [0.0, 21.5, 11.0]]:
        spiral = stats.norm(0, 0.5).pdf(point[0] - t * np.cos(t)) * stats.norm(0, 0.5).pdf(point[2] - t * np.sin(t))
        expected = spiral.mean() * stats.norm(0, 0.5).pdf(point[1] - h).mean()
        assert density.log_prob(np.array([point]))[0] == pytest.approx(np.log(expected), abs=1e-5)


def test_torus_against_sum():
    density, angle = DENSITIES["torus"], 2 * np.pi * np.arange(1500) / 1500
    around, about = angle[:, None], angle
    from_axis = 2 + 0.6 * np.cos(about)
    surface = from_axis * np.cos(around), from_axis * np.sin(around), 0.6 * np.sin(about) + 0 * around
    for point in [*samples("torus", 5), [1.2, 0.5, 0.1]]:
        squares = sum((value - part) ** 2 for value, part in zip(point, surface))
        expected = np.exp(-squares / (2 * 0.05**2)).mean() / (2 * np.pi * 0.05**2) ** 1.5
        assert density.log_prob(np.array([point]))[0] == pytest.approx(np.log(expected), abs=1e-8)


def narrower(name):
    """A density of the same shape, about the same places, which has mass only where the density has."""
    if name == "swiss-roll":
        return SwissRoll(noise=0.45)
    density = Torus() if name == "torus" else FiveBananas()
    if name == "torus":
        density.noise = 0.045
    else:
        density.deviations = density.deviations * np.array([1] + [0.95] * 9)
    return density


@pytest.mark.parametrize("name", ["swiss-roll", "torus", "five-bananas-10d"])
def test_samples_against_narrower_density(name):
    # The mean of q / p over samples of p is 1, the integral of q.
    x = samples(name)
    ratio = np.exp(narrower(name).log_prob(x) - DENSITIES[name].log_prob(x))
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / N**0.5)
    assert ratio.std() < 3
