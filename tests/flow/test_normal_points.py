"""Bases as objects: `base_density`, `NormalBase`, and points of a base as points of N(0, I)."""

import copy
import pickle
import re

import numpy as np
import pytest
from scipy.stats import kstest, norm

import nvpflow
from support.flows import make_base, make_flow

DIM, N = 3, 2000


def log_normal(y):
    return norm.logpdf(y).sum(axis=1)


def check_map(base, context=None):
    """Draws become independent normal numbers; the log-determinant belongs to the density, and the way back undoes it."""
    z = base.sample(N, random_state=0, context=context)
    y, log_det = base.to_normal(z, context)
    assert y.dtype == log_det.dtype == np.float64
    exact = base.dtype == np.float64
    np.testing.assert_allclose(log_normal(y) + log_det, base.log_prob(z, context), rtol=0, atol=1e-11 if exact else 2e-4)
    for column in (*y.T, y.sum(axis=1) / DIM**0.5, (y[:, 0] - y[:, -1]) / 2**0.5):
        assert kstest(column, "norm").pvalue > 1e-3
    back, log_det_back = base.from_normal(y, context)
    assert np.median(np.abs(back - z)) < 1e-12
    np.testing.assert_allclose(back, z, rtol=0, atol=1e-6)
    np.testing.assert_allclose(log_det_back, -log_det, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_components", [1, 12])
def test_mixture(n_components, dtype, every_isa):
    check_map(make_base(n_components, dtype))


@pytest.mark.parametrize("n_indicators", [0, 1])
def test_mixture_given_a_context(n_indicators):
    rng = np.random.default_rng(0)
    n_columns = 2 - n_indicators + DIM
    root = rng.normal(size=(4, n_columns, n_columns))
    base = nvpflow.ConditionalMixtureBase(
        np.ones(4), 2 * rng.normal(size=(4, n_columns)), root @ root.transpose(0, 2, 1) + np.eye(n_columns), 2,
        n_indicators=n_indicators, dtype="float64",
    )  # fmt: skip
    base.indicator_logits[:] = rng.normal(size=(4, n_indicators))
    check_map(base, np.c_[rng.normal(size=N), rng.integers(2, size=N)])


def test_clusters_far_apart():
    """Half of the points of one cluster are below 0, all of the other above: no point is lost between them."""
    base = nvpflow.MixtureBase([1, 1], [[-1e4], [1e4]], [[[1]], [[4]]], dtype="float64")
    y, _ = base.to_normal([[-1e4], [-1e4 + 3], [1e4], [1e4 - 3]])
    expected = norm.ppf([0.25, norm.cdf(3) / 2, 0.75, 0.5 + norm.cdf(-1.5) / 2])[:, np.newaxis]
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    np.testing.assert_allclose(base.from_normal(y)[0], [[-1e4], [-1e4 + 3], [1e4], [1e4 - 3]], rtol=1e-12)


def test_far_points():
    """Where densities underflow, and beyond: the log-density is the same as that of the mixture, and the way back is finite."""
    base = make_base(5, "float64")
    z = np.array([[1e3] * DIM, [-1e6] * DIM, [50, -50, 1e9]])
    y, log_det = base.to_normal(z)
    np.testing.assert_allclose(log_normal(y) + log_det, base.log_prob(z), rtol=1e-10)
    assert np.isfinite(base.from_normal(1e3 * np.sign(y))[0]).all()


def test_rows_that_are_not_finite_stay():
    y, log_det = make_base(2, "float64").to_normal([[np.nan, 0, 1], [np.inf, 2, 3]])
    np.testing.assert_array_equal(y, [[np.nan, 0, 1], [np.inf, 2, 3]])
    np.testing.assert_array_equal(log_det, 0)


@pytest.mark.parametrize("z, context, error, message", [
    (np.ones((2, 4)), None, ValueError, "z must have shape (n, 3), got (2, 4)"),
    ([["a", "b", "c"]], None, TypeError, "z must be an array of real numbers, got dtype <U1"),
    (np.ones((2, 3)), np.ones((2, 1)), ValueError, "context must be None, got one"),
])  # fmt: skip
def test_errors(z, context, error, message):
    with pytest.raises(error, match=re.escape(message)):
        make_base(2, "float64").to_normal(z, context)


def test_context_is_needed():
    base = nvpflow.ConditionalMixtureBase([1], [[0, 0]], [np.eye(2)], 1)
    for method, name in ((base.to_normal, "z"), (base.from_normal, "y")):
        with pytest.raises(ValueError, match=re.escape("context must have shape (n, 1), got None")):
            method([[0.0]])
        with pytest.raises(ValueError, match=re.escape("context must have shape (2, 1), got (3, 1)")):
            method(np.zeros((2, 1)), np.zeros((3, 1)))
        with pytest.raises(ValueError, match=re.escape(f"{name} must have shape (n, 1), got (1,)")):
            method([0.0], [[0.0]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_base_density_of_a_normal_flow(dtype):
    flow = make_flow(dtype)
    base = flow.base_density
    assert flow.base is None and isinstance(base, nvpflow.NormalBase) and base.dtype == dtype and base.data_dim == 2
    z = base.sample(N, random_state=0)
    assert z.dtype == dtype and kstest(z.ravel(), "norm").pvalue > 1e-3
    np.testing.assert_allclose(base.log_prob(z), log_normal(z), rtol=1e-5)
    np.testing.assert_array_equal(base.to_normal(z)[0], z)
    np.testing.assert_array_equal(base.from_normal(z)[1], 0)
    for twin in (base.copy(), copy.deepcopy(base), pickle.loads(pickle.dumps(base))):
        np.testing.assert_array_equal(twin.sample(5, random_state=1), base.sample(5, random_state=1))
    assert repr(base) == f"NormalBase(data_dim=2, dtype='{dtype}')"


def test_base_density_of_a_flow_over_a_mixture():
    base = make_base(2, "float64")
    flow = nvpflow.Flow([nvpflow.ActNorm(DIM, dtype="float64")], base)
    assert flow.base_density is flow.base is base


def test_flow_over_a_normal_base():
    layers = [nvpflow.AffineCoupling(2, 4, [1, 0], random_state=0) for _ in range(2)]
    flow, other = nvpflow.Flow(layers[:1], nvpflow.NormalBase(2)), nvpflow.Flow(layers[1:])
    assert flow.base is None and flow.config() == other.config()
    with pytest.raises(ValueError, match="base and layers must agree in data_dim: base has 3, layers have 2"):
        nvpflow.Flow([nvpflow.AffineCoupling(2, 4, [1, 0])], nvpflow.NormalBase(3))


@pytest.mark.parametrize("wrong", [0, 1.5, "2"])
def test_dimensions_of_a_normal_base(wrong):
    with pytest.raises((TypeError, ValueError), match="^data_dim must "):
        nvpflow.NormalBase(wrong)
