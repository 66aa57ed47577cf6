"""Networks with one input and several outputs have kernels of their own; with an idle second input they have others."""

import numpy as np
import pytest

import nvpflow
from support.marks import both_precisions

N_BINS = 6


def twins(hidden_dim, dtype):
    """A spline coupling of two columns, and one of three with the same function of the first two: its network reads the
    third column with weights of zero."""
    options = {"hidden_dim": hidden_dim, "n_bins": N_BINS, "tail_bound": 3.0, "dtype": dtype, "random_state": 0}
    narrow, wide = nvpflow.SplineCoupling(2, mask=[1, 0], **options), nvpflow.SplineCoupling(3, mask=[1, 0, 1], **options)
    rng = np.random.default_rng(hidden_dim)
    first, last = narrow.net
    first.weight[:, 0] = rng.normal(size=hidden_dim)
    first.bias[:] = rng.normal(size=hidden_dim)
    last.weight[:] = 0.5 * rng.normal(size=last.weight.shape)
    unusual(first.weight[:, 0], first.bias)
    wide.net[0].weight[:] = 0
    copy(narrow, wide)
    return narrow, wide


def unusual(weight, bias):
    """Units that are on or off for all x, equal knots, from both sides, and knots far away."""
    for unit, values in enumerate(
        [(0, 1), (0, -1), (0, 0), (2, 1), (-4, -2), (4, 2), (1e-30, 1), (-1e-3, 50), (1, -50), (-2, 0)]
    ):
        if unit < len(weight):
            weight[unit], bias[unit] = values


def copy(narrow, wide):
    wide.net[0].weight[:, 0] = narrow.net[0].weight[:, 0]
    wide.net[0].bias[:] = narrow.net[0].bias
    wide.net[1].weight[:] = narrow.net[1].weight
    wide.net[1].bias[:] = narrow.net[1].bias


def gradients(layer, x, d_out, d_log_det):
    flow = nvpflow.Flow([layer])
    d_x, d_parameters = flow.inverse_vjp(x, d_out, d_log_det)[:2]
    return d_x, d_parameters


def samples(n, dtype):
    """On both sides of the clamp, and on the knots at -1/2 exactly."""
    x = np.random.default_rng(0).normal(size=(n, 3)) * [2, 1, 1]
    x[::5, 0] = -0.5
    return x.astype(dtype)


@pytest.mark.usefixtures("every_isa")
@both_precisions
@pytest.mark.parametrize("hidden_dim", [1, 7, 16, 32, 70])
@pytest.mark.parametrize("n", [1, 5, 300])
def test_same_as_with_an_idle_input(hidden_dim, n, dtype):
    narrow, wide = twins(hidden_dim, dtype)
    x = samples(n, dtype)
    z, log_det = narrow.inverse(x[:, :2])
    expected = wide.inverse(x)
    tolerance = {"rtol": 0, "atol": 300 * np.finfo(dtype).eps}
    np.testing.assert_allclose(z, expected[0][:, :2], **tolerance)
    np.testing.assert_allclose(log_det, expected[1], **tolerance)


@pytest.mark.usefixtures("every_isa")
@both_precisions
@pytest.mark.parametrize("hidden_dim", [1, 7, 16, 32, 70])
@pytest.mark.parametrize("n", [1, 5, 300])
def test_same_gradients_as_with_an_idle_input(hidden_dim, n, dtype):
    narrow, wide = twins(hidden_dim, dtype)
    x = samples(n, dtype)
    d_out, d_log_det = (np.random.default_rng(1).normal(size=(n, k)).astype(dtype) for k in (2, 1))
    d_x, d_narrow = gradients(narrow, x[:, :2], d_out, d_log_det[:, 0])
    expected, d_wide = gradients(wide, x, np.c_[d_out, 0 * d_log_det], d_log_det[:, 0])
    scale = max(np.abs(d_wide).max(), 1)
    tolerance = {"rtol": 0, "atol": 3000 * np.finfo(dtype).eps * scale}
    np.testing.assert_allclose(d_x, expected[:, :2], **tolerance)
    first = np.arange(2 * hidden_dim).reshape(hidden_dim, 2)
    np.testing.assert_allclose(d_narrow[:hidden_dim], d_wide[first[:, 0]], **tolerance)
    np.testing.assert_allclose(d_narrow[hidden_dim:], d_wide[2 * hidden_dim :], **tolerance)


@pytest.mark.usefixtures("every_isa")
@both_precisions
def test_units_that_are_off_have_no_gradient(dtype):
    """Adam would act on rounding errors."""
    layer = nvpflow.SplineCoupling(2, 32, [1, 0], dtype=dtype, random_state=0)
    layer.net[0].weight[::2], layer.net[0].weight[1::2] = 0.25, -0.25
    layer.net[0].bias[:] = -1 - np.arange(32) / 32  # their knots are beyond all samples
    x = np.random.default_rng(0).uniform(-1, 1, size=(200, 2)).astype(dtype)
    gradient = gradients(layer, x, x, None)[1]
    assert (gradient[:64] == 0).all() and np.abs(gradient).max() > 0
    n_out = 3 * layer.n_bins - 1
    assert (gradient[64 : 64 + 32 * n_out] == 0).all() and (gradient[64 + 32 * n_out :] != 0).any()


@pytest.mark.usefixtures("every_isa")
@both_precisions
@pytest.mark.parametrize("of", ["first weight", "first bias", "last weight", "last bias"])
@pytest.mark.parametrize("unit", [0, 3, 20])
def test_nan_in_the_parameters_stays_nan(of, unit, dtype):
    layer = twins(32, dtype)[0]
    part = layer.net[of.startswith("last")]
    (part.weight[..., unit] if of == "last weight" else part.weight[unit] if "weight" in of else part.bias)[...] = np.nan
    log_det = layer.inverse(samples(50, dtype)[:, :2])[1]
    inside = np.abs(samples(50, dtype)[:, 1]) < layer.tail_bound
    assert np.isnan(log_det[inside]).all()
