"""The exact density of the moons against quadrature, integrals and samples."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from sklearn.datasets import make_moons

from nvpflow import datasets


def outer(t):
    return np.cos(t), np.sin(t)


def inner(t):
    return 1 - np.cos(t), 0.5 - np.sin(t)


def by_quadrature(point, noise):
    """The log-density from its definition, arc by arc, with scipy's adaptive quadrature."""
    logs = []
    for arc in (outer, inner):

        def exponent(t):
            x, y = arc(t)
            return -((point[0] - x) ** 2 + (point[1] - y) ** 2) / (2 * noise**2)

        t = np.linspace(0, np.pi, 20001)
        values = exponent(t)
        top = values.max()
        # Break where the integrand rises and falls, so that quad cannot step over a narrow peak.
        breaks = [t[np.flatnonzero(np.diff(values > top - drop))] for drop in (2, 8, 20, 45)]
        ends = np.unique(np.concatenate([[0, np.pi, t[values.argmax()]], *breaks]))
        integral = sum(
            quad(lambda t: np.exp(exponent(t) - top), a, b, epsabs=1e-14, epsrel=1e-11)[0] for a, b in itertools.pairwise(ends)
        )
        logs.append(top + np.log(integral / (2 * np.pi**2 * noise**2)))
    return np.logaddexp(*logs) - np.log(2)


def grid(noise, step):
    x = np.arange(-1 - 9 * noise, 2 + 9 * noise, step)
    y = np.arange(-0.5 - 9 * noise, 1 + 9 * noise, step)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


# The tips, the centres, and points on the axes, where the formula changes from one case to another.
TIPS, CENTRES = [[-1, 0], [1, 0], [0, 0.5], [2, 0.5]], [[0, 0], [1, 0.5], [0.5, 0.25]]
SPECIAL = [*TIPS, *CENTRES, [5, 0], [-5, 0], [0, -4]]


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.5, 3.0])
def test_against_quadrature(noise):
    rng = np.random.default_rng(0)
    far = rng.normal(size=(8, 2)) * 1000 * noise
    near = rng.uniform([-1.5, -1], [2.5, 1.5], (20, 2))
    points = np.concatenate([near, far, np.array(SPECIAL, float)])
    expected = [by_quadrature(point, noise) for point in points]
    np.testing.assert_allclose(datasets.moons_log_density(points, noise), expected, rtol=1e-11, atol=1e-9)


@pytest.mark.parametrize("noise", [0.05, 0.1, 1.0])
def test_integrals(noise):
    step = noise / 4
    log_density = datasets.moons_log_density(grid(noise, step), noise)
    assert np.exp(log_density).sum() * step**2 == pytest.approx(1, abs=1e-9)
    entropy = -(np.exp(log_density) * log_density).sum() * step**2
    assert datasets.moons_entropy(noise) == pytest.approx(entropy, abs=1e-6)


@pytest.mark.parametrize(("noise", "expected"), [(0.1, 1.008), (0.05, 0.2895)])
def test_entropy_against_scikit_learn(noise, expected):
    X, _ = make_moons(100_000, noise=noise, random_state=0)
    nll = -datasets.moons_log_density(X, noise)
    assert datasets.moons_entropy(noise) == pytest.approx(expected, abs=0.005)
    assert nll.mean() == pytest.approx(datasets.moons_entropy(noise), abs=4 * nll.std() / len(X) ** 0.5)


def test_samples_of_scikit_learn():
    X, _ = make_moons(200_000, noise=0.1, random_state=0)
    counts, x, y = np.histogram2d(*X.T, bins=30, range=[[-1.5, 2.5], [-1, 1.5]])
    # The mass of a cell, by the midpoint rule on 8 x 8 points.
    offsets = (np.arange(8) + 0.5) / 8
    fine_x = (x[:-1, None] + offsets * (x[1] - x[0])).ravel()
    fine_y = (y[:-1, None] + offsets * (y[1] - y[0])).ravel()
    points = np.stack(np.meshgrid(fine_x, fine_y, indexing="ij"), axis=-1).reshape(-1, 2)
    cell = (x[1] - x[0]) * (y[1] - y[0])
    mass = np.exp(datasets.moons_log_density(points)).reshape(30, 8, 30, 8).mean(axis=(1, 3)) * cell
    expected = mass * len(X)
    assert expected.sum() == pytest.approx(len(X), rel=1e-3)
    assert (np.abs(counts - expected) <= 5 * np.sqrt(expected + 1)).all()


def test_tiny_noise():
    # Across an arc the density is a normal one, along it 1 / (2 pi).
    noise = 1e-6
    away = np.array([0, 1, 3])
    points = np.multiply.outer(1 + away * noise, [np.cos(1.0), np.sin(1.0)])
    expected = -np.log(2 * np.pi) - 0.5 * np.log(2 * np.pi * noise**2) - away**2 / 2
    np.testing.assert_allclose(datasets.moons_log_density(points, noise), expected, atol=1e-5)


def test_symmetry():
    points = np.random.default_rng(0).normal(size=(100, 2)) * 2
    np.testing.assert_allclose(datasets.moons_log_density(points), datasets.moons_log_density([1, 0.5] - points), rtol=1e-13)


def test_far_points():
    for noise in (0.01, 0.1):
        directions = np.random.default_rng(0).normal(size=(100, 2))
        far = 1000 * noise * directions / np.linalg.norm(directions, axis=1, keepdims=True)
        assert np.isfinite(datasets.moons_log_density(far, noise)).all()
    assert datasets.moons_log_density([[1e100, -1e100]])[0] == pytest.approx(-1e202)
    assert datasets.moons_log_density([[1e300, 0.0]])[0] == -np.inf


def test_batch():
    points = np.random.default_rng(0).normal(size=(2 * datasets.CHUNK + 3, 2))
    together = datasets.moons_log_density(points)
    for i in (0, datasets.CHUNK - 1, datasets.CHUNK, len(points) - 1):
        assert together[i] == pytest.approx(datasets.moons_log_density(points[i : i + 1])[0], rel=1e-14)


def test_input_types():
    assert datasets.moons_log_density(np.empty((0, 2))).shape == (0,)
    assert datasets.moons_log_density([[0, 1]]).dtype == np.float64
    single = np.array([[0.25, 0.75]], np.float32)
    assert datasets.moons_log_density(single) == datasets.moons_log_density(single.astype(float))


@pytest.mark.parametrize(
    ("x", "noise", "error", "message"),
    [
        ([0.0, 1.0], 0.1, ValueError, r"x must have shape \(n, 2\), got \(2,\): reshape\(1, -1\)"),
        (np.zeros((3, 3)), 0.1, ValueError, r"x must have shape \(n, 2\), got \(3, 3\)"),
        ([[0.0, np.nan]], 0.1, ValueError, "x must be finite"),
        ([["a", "b"]], 0.1, TypeError, "x must be an array of real numbers"),
        ([[0j, 1j]], 0.1, TypeError, "x must be an array of real numbers"),
        ([[0.0, 1.0]], 0, ValueError, "noise must be finite and > 0, got 0"),
        ([[0.0, 1.0]], -1.0, ValueError, "noise must be finite and > 0, got -1.0"),
        ([[0.0, 1.0]], np.nan, ValueError, "noise must be finite"),
        ([[0.0, 1.0]], "0.1", TypeError, "noise must be a real number"),
        ([[0.0, 1.0]], None, TypeError, "noise must be a real number"),
    ],
)
def test_wrong_arguments(x, noise, error, message):
    with pytest.raises(error, match=message):
        datasets.moons_log_density(x, noise)


def test_wrong_entropy_arguments():
    with pytest.raises(ValueError, match="noise must be finite and >= 0.001, got 0.0001"):
        datasets.moons_entropy(1e-4)
    with pytest.raises(TypeError, match="noise must be a real number"):
        datasets.moons_entropy([0.1])
