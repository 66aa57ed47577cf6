"""Layers that lead to intervals and half-lines: formulas, tails, bounds, gradients, bad arguments."""

import re

import numpy as np
import pytest

import nvpflow
from support.checks import assert_close, central_difference, check_log_det
from support.flows import bounded
from support.marks import both_directions, both_precisions

pytestmark = pytest.mark.usefixtures("every_isa")
stats = pytest.importorskip("scipy.stats")

# The supports, and the distribution that each makes of N(0, 1).
SUPPORTS = {
    "interval": ((2, 5), 0.0, stats.uniform(2, 3)),
    "log-normal": ((2, None), 0.0, stats.lognorm(1, 2)),
    "exponential": ((2, None), 3.0, stats.expon(2, 3)),
    "real": (None, 0.0, stats.norm()),
}
SOFT = {  # nearly lines: bounds and scales
    "above": ((0, None), -0.5),
    "below": ((None, 0), -0.5),
    "between": ((0, 3), -0.5),
    "between, closely": ((0, 3), -0.01),
    "between, widely": ((0, 3), -4.0),
}
every_support = pytest.mark.parametrize("support", SUPPORTS)


def layer_of(support, dtype="float64", **options):
    bounds, scale, _ = SUPPORTS[support]
    return nvpflow.Bounded(1, [bounds], [scale], dtype=dtype, **options)


@both_precisions
@every_support
def test_normal_columns_have_the_distribution_of_the_support(support, dtype):
    layer, target = layer_of(support, dtype), SUPPORTS[support][2]
    z = np.linspace(-5, 5, 201, dtype=dtype)[:, None]
    x, log_det = layer.forward(z)
    eps = np.finfo(dtype).eps
    shares = stats.norm.cdf(z[:, 0].astype(float))
    np.testing.assert_allclose(target.cdf(x[:, 0].astype(float)), shares, rtol=1e3 * eps, atol=4 * eps)
    np.testing.assert_allclose(stats.norm.logpdf(z[:, 0]) - log_det, target.logpdf(x[:, 0].astype(float)), atol=2e3 * eps)


@both_precisions
def test_both_tails_are_as_accurate_as_the_dtype(dtype):
    """From the nearer bound, without 1 - p. The reference is in double precision."""
    special = pytest.importorskip("scipy.special")
    layer = nvpflow.Bounded(3, [(0, 1), (None, 0), (0, None)], [0, 2, 2], dtype=dtype)
    tiny = np.array([1e-36, 1e-20, 1e-5, 0.3, 0.6, 5.0, 80.0, 3e4], dtype)
    e = tiny.astype(float) / 2
    expected = np.where(e < 0.69, special.ndtri(-np.expm1(-e)), -special.ndtri_exp(-e))
    columns = np.stack([np.minimum(tiny, np.float32(0.9)), -tiny, tiny], axis=1)
    z = layer.inverse(columns)[0]
    np.testing.assert_allclose(z[:, 2], expected, rtol=2 * np.finfo(dtype).eps + 2e-12)  # SciPy's error
    np.testing.assert_array_equal(z[:, 1], -z[:, 2])
    np.testing.assert_allclose(z[:, 0], special.ndtri(columns[:, 0].astype(float)), rtol=4 * np.finfo(dtype).eps)
    x = layer.forward(z)[0]
    np.testing.assert_allclose(x, columns, rtol=500 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", SOFT)
def test_maps_that_are_nearly_lines(name):
    """The formula, from the neighbourhood of a bound, where exp(z) is left of it, to far out."""
    (low, high), scale = SOFT[name]
    layer, s = nvpflow.Bounded(1, [(low, high)], [scale], [1e-300], dtype="float64"), -scale
    z = np.concatenate([-np.geomspace(600, 1e-6, 60), [0], np.geomspace(1e-6, 600, 60)])
    width = np.inf if None in (low, high) else (high - low) / s
    t = -z if low is None else z
    x, log_det = layer.forward(z[:, np.newaxis])
    expected = s * (np.logaddexp(0, t) - np.logaddexp(0, t - width))
    np.testing.assert_allclose(np.abs(x[:, 0]), expected, rtol=1e-13, atol=1e-12 * s)
    slopes = np.logaddexp(0, -t) + np.logaddexp(0, t - width) - np.log1p(-np.exp(-width))
    np.testing.assert_allclose(log_det, np.log(s) - slopes, rtol=1e-13, atol=1e-13)
    tail = t < -40
    of_tail = s * np.exp(t[tail]) * (1 - np.exp(-width))
    np.testing.assert_allclose(np.abs(x[tail, 0]), of_tail, rtol=1e-13)
    inside = np.abs(x[:, 0]) < (1 - 1e-4) * (3 if width < np.inf else np.inf)
    np.testing.assert_allclose(layer.inverse(x[inside])[0][:, 0], z[inside], rtol=1e-9, atol=1e-14)
    if width < np.inf:  # from the other end the same
        other = layer.forward(width - z[:, np.newaxis])[0]
        np.testing.assert_allclose(other, high - x, rtol=1e-13, atol=1e-13)


def test_scales_far_above_the_width_of_an_interval():
    """The logistic function is left, without cancellation."""
    for scale in (-3e6, -3e15, -1e300):
        layer = nvpflow.Bounded(1, [(0, 3)], [scale], dtype="float64")
        z = np.linspace(-30, 5, 50)
        x, log_det = layer.forward(z[:, np.newaxis])
        np.testing.assert_allclose(x[:, 0], 3 / (1 + np.exp(-z)), rtol=2e-6)
        np.testing.assert_allclose(log_det, np.log(3) - np.logaddexp(0, z) - np.logaddexp(0, -z), atol=2e-6)
        np.testing.assert_allclose(layer.inverse(x[:40])[0][:, 0], z[:40], rtol=1e-9, atol=1e-9)


def test_far_from_bounds_they_are_lines():
    layer = nvpflow.Bounded(3, [(0, None), (None, 9), (0, 9)], [-0.01, -0.02, -0.03], dtype="float64")
    x = np.linspace(2, 7, 11)[:, np.newaxis] * np.ones(3)
    z, log_det = layer.inverse(x)
    np.testing.assert_allclose(z, [0, -9 / 0.02, 0] + x / [0.01, 0.02, 0.03], rtol=1e-12)
    np.testing.assert_allclose(log_det, -np.log([0.01, 0.02, 0.03]).sum(), rtol=1e-12)


def test_upper_bounds_mirror_lower_ones():
    z = np.random.default_rng(0).normal(size=(50, 3)) * 3
    below = nvpflow.Bounded(3, [(None, -2)] * 3, [0, 3, -3], dtype="float64")
    above = nvpflow.Bounded(3, [(2, None)] * 3, [0, 3, -3], dtype="float64")
    for one, other in zip(below.forward(z), above.forward(-z)):
        np.testing.assert_array_equal(one, -other if one.ndim == 2 else other)


@both_directions
def test_gradients(direction):
    layer = bounded(6)
    rng = np.random.default_rng(0)
    points = layer.forward(rng.normal(size=(20, 6)))[0] if direction == "inverse" else rng.normal(size=(20, 6))
    given, of_log_det = rng.normal(size=points.shape), rng.normal(size=len(points))
    function = getattr(layer, direction)

    def value():
        output, log_det = function(points)
        return np.sum(output * given) + np.sum(log_det * of_log_det)

    found, of_parameters = getattr(layer, f"{direction}_vjp")(points, given, of_log_det)
    assert_close(found, central_difference(value, points, 1e-5))
    assert of_parameters.shape == (0,)
    check_log_det(layer, direction)


@both_precisions
def test_samples_stay_inside(dtype):
    """Even where they round to a bound."""
    bounds = [(0.1, 0.7), (0.1, None), (None, 0.7), (0.1, None), (0.1, None), (0.1, 0.7)]
    layer = nvpflow.Bounded(6, bounds, [0, 0, 0, 2, -2, -0.05], dtype=dtype)
    z = np.linspace(-60, 60, 241)[:, None] * np.ones(6)
    x = layer.forward(z)[0]
    low, high = (
        np.where(np.isinf(layer.low), -np.inf, np.dtype(dtype).type(0.1)),
        np.where(np.isinf(layer.high), np.inf, np.dtype(dtype).type(0.7)),
    )
    assert (x > low).all() and (x < high).all()
    assert (np.diff(x, axis=0) >= 0).all()
    assert np.isfinite(layer.inverse(x)[0]).all()


@both_precisions
def test_values_outside_have_no_density_and_those_on_a_bound_that_nearby(dtype):
    flow = nvpflow.Flow([nvpflow.Bounded(2, [(0, 1), (3, None)], [0, 2], [0.25, 0.5], dtype=dtype)])
    inside, below, above = (
        [0.5, 4],
        np.nextafter(np.dtype(dtype).type(0), np.dtype(dtype).type(-1)),
        np.nextafter(np.dtype(dtype).type(1), np.dtype(dtype).type(2)),
    )
    outside = [
        [below, 4],
        [above, 4],
        [0.5, np.nextafter(np.dtype(dtype).type(3), np.dtype(dtype).type(0))],
        [-np.inf, 4],
        [0.5, np.inf],
    ]
    assert (flow.log_prob(np.array(outside, dtype)) == -np.inf).all()
    assert np.isnan(flow.grad_log_prob(np.array(outside[:3], dtype))).all()
    assert np.isfinite(flow.log_prob([inside])).all() and np.isnan(flow.log_prob([[np.nan, 4]])).all()
    on, near = [[0, 4], [1, 4], [0.5, 3]], [[0.25, 4], [0.75, 4], [0.5, 3.5]]
    np.testing.assert_array_equal(flow.log_prob(on), flow.log_prob(near))
    np.testing.assert_array_equal(flow.grad_log_prob(on), flow.grad_log_prob(near))


def test_density_integrates_to_one():
    flow = nvpflow.Flow([nvpflow.ActNorm(1, dtype="float64"), layer_of("interval"), ])  # fmt: skip
    flow.parameters[:] = [-0.3, 0.4]
    u = (np.arange(100_000) + 0.5) / 100_000
    assert np.exp(flow.log_prob(2 + 3 * u[:, None])).mean() * 3 == pytest.approx(1, abs=1e-6)


def test_defaults_and_description():
    layer = nvpflow.Bounded(3, [(0, 2), None, (-np.inf, 5)])
    assert layer.bounds == ((0.0, 2.0), (None, None), (None, 5.0)) and layer.scales == (0.0, 0.0, 0.0)
    assert layer.edges == tuple(np.finfo("float32").eps * np.array([2.0, 1, 1]))
    assert layer.n_parameters == 0 and "bounds=[(0.0, 2.0), (None, None), (None, 5.0)]" in repr(layer)
    assert "bounds" in layer._repr_html_()


@pytest.mark.parametrize("arguments, message", [
    (dict(bounds=[(0, 1)]), "bounds must be 2 pairs (low, high), got [(0, 1)]"),
    (dict(bounds="ab"), "bounds must be 2 pairs (low, high), got 'ab'"),
    (dict(bounds=[(0, 1), 5]), "bounds[1] must be a pair (low, high), got 5"),
    (dict(bounds=[(0, 1), (1, 1)]), "bounds[1] must be a pair (low, high) with low < high, got (1, 1)"),
    (dict(bounds=[(2, 1), None]), "bounds[0] must be a pair (low, high) with low < high, got (2, 1)"),
    (dict(bounds=[(np.nan, 1), None]), "bounds[0] must be a pair (low, high) without NaN, got nan"),
    (dict(bounds=[(np.inf, None), None]), "bounds[0] must be a pair (low, high) with low < high, got (inf, None)"),
    (dict(bounds=[("0", 1), None]), "bounds[0] must be a real number, got '0'"),
    (dict(bounds=[(1, 1 + 1e-9), None]), "bounds[0] must be a pair with low < high in float32"),
    (dict(bounds=[(0, 1e39), None]), "bounds[0] must be a pair with low < high in float32, got (0, 1e+39)"),
    (dict(bounds=[(-3e38, 3e38), None]), "bounds[0] must be a pair whose distance is finite in float32"),
    (dict(scales=[1]), "scales must have shape (2,), got (1,)"),
    (dict(scales=[0, np.inf]), "scales must be finite, got inf for column 1"),
    (dict(scales=[-1e-39, 0]), "a negative scale must be from -8.51e+37 to -1.18e-38 in column 0, got -1e-39"),
    (dict(scales=["a", "b"]), "scales must be an array of real numbers, got dtype <U1"),
    (dict(edges=[0.6, 1]), "edges must be from 1.18e-38 to 0.5 in column 0, got 0.6"),
    (dict(edges=[0.1, 0]), "edges must be from 1.18e-38 to 3.40282e+38 in column 1, got 0"),
])  # fmt: skip
def test_bad_arguments(arguments, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        nvpflow.Bounded(2, **{"bounds": [(0, 1), None]} | arguments)
