"""The start of flows over Student t: maximum likelihood, units, noise."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow._training.heavy_tails import fit_student_t, heavy_tailed_units, student_t_noise
from nvpflow._training.standardize import Units

FLOAT64 = np.dtype(np.float64)


def log_likelihood(x, location, scale, df):
    return float(np.mean(nvpflow.StudentTBase(1, df, dtype="float64").log_prob((x - location) / scale))) - np.log(scale)


@pytest.mark.parametrize("df", [0.9, 2.5, 8])
def test_maximum_likelihood(df):
    x = 1e4 + 7 * np.random.default_rng(0).standard_t(df, (3000, 1))
    location, scale, found = (float(number[0]) for number in fit_student_t(x))
    best = log_likelihood(x, location, scale, found)
    assert best > log_likelihood(x, 1e4, 7, df) - 5e-4  # degrees of freedom come from a grid
    for others in ((0.2, 1, 1), (-0.2, 1, 1), (0, 1.05, 1), (0, 0.95, 1), (0, 1, 1.2), (0, 1, 0.85)):
        assert log_likelihood(x, location + others[0], scale * others[1], max(0.55, found * others[2])) < best


def test_weights_are_repetitions():
    x, weight = np.random.default_rng(0).standard_t(3, (300, 2)), np.random.default_rng(1).integers(1, 4, 300)
    weighted, repeated = fit_student_t(x, 0.3 * weight), fit_student_t(np.repeat(x, weight, axis=0))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6, atol=1e-6)
    assert not np.allclose(weighted, fit_student_t(x), rtol=1e-3)


def test_a_column_of_few_values_has_a_scale():
    x = np.where(np.arange(500) % 10 < 7, 0.0, np.random.default_rng(0).normal(size=500))[:, np.newaxis]
    assert fit_student_t(x)[1][0] > 0.005
    assert fit_student_t(np.eye(500)[:, :1])[1][0] > 0


def units_of(data):
    return Units.of(data, True, False, FLOAT64)


@pytest.mark.parametrize("conditional", [False, True])
def test_units_are_those_of_t_distributions(conditional):
    rng = np.random.default_rng(0)
    context = rng.normal(size=(800, 2)) if conditional else None
    x = rng.standard_t(2, (800, 3)) @ np.array([[3, 0, 0], [3, 1, 0], [0, -2, 0.1]]).T + 5
    x = x if context is None else x + context @ [[1, 0, 2], [0, 3, 0]]
    data = Data(x, context, None)
    units = heavy_tailed_units(units_of(data), data)
    z = units.standardize(x, context)
    location, scale, df = fit_student_t(z)
    np.testing.assert_allclose(location, 0, atol=1e-3)
    np.testing.assert_allclose(scale, 1, rtol=1e-3)
    assert (np.abs(df - 2) < 0.8).all() and units.factor is not None
    flow = nvpflow.Flow(units.layers())  # maps z to x - origin, with the same determinant
    y, log_det = flow.inverse(x - units.origin, *(() if context is None else (context,)))
    np.testing.assert_allclose(y, z, atol=1e-9)
    np.testing.assert_allclose(log_det, -units.log_det, atol=1e-9)


def test_a_change_of_units_is_one_of_latent_points():
    rng = np.random.default_rng(0)
    context = rng.normal(size=(100, 2))
    data = Data(rng.normal(size=(100, 2)) + context, context, None)
    units = units_of(data)
    before, location, scale = units.standardize(data.x, context), np.array([0.5, -1]), np.array([2, 0.1])
    units.rescale(location, scale)
    np.testing.assert_allclose(units.standardize(data.x, context), (before - location) / scale, atol=1e-12)
    before, factor = units.standardize(data.x, context), np.array([[2, 0], [-1, 0.5]])
    units.rotate(location, factor)
    np.testing.assert_allclose(units.standardize(data.x, context), (before - location) @ np.linalg.inv(factor).T, atol=1e-12)


def test_independent_columns_are_not_rotated():
    x = np.random.default_rng(0).standard_t(3, (1000, 2))
    data = Data(x, None, None)
    assert heavy_tailed_units(units_of(data), data).factor is None
    mixed = Data(x @ [[1, 1], [0, 1]], None, None)
    assert heavy_tailed_units(units_of(mixed), mixed, rotate=False).factor is None


def test_noise_is_in_scales():
    x = np.random.default_rng(0).standard_t(1, (1000, 1))
    assert 0.9 * 1000**-0.45 < student_t_noise(1.0, Data(x, None, None), 1000)[0] < 1.1 * 1000**-0.45 < x.std() / 100
