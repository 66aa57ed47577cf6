"""Points far from the training samples: round trips are accurate, densities are finite and decrease.

The networks of spline couplings see identity columns clamped to the tail bound.
"""

from functools import cache

import numpy as np
import pytest

import nvpflow
from support.checks import central_difference
from support.flows import alternating
from support.marks import both_directions, both_precisions

BOUND = 2.0
FAR = (10, 100, 3e3, 1e4, 1e6)
every_network = pytest.mark.parametrize("hidden, activation", [((), "relu"), ((9,), "relu"), ((9,), "tanh"), ((7, 6), "silu")])


def spline(dim=3, hidden=(9,), activation="relu", *, dtype="float64", strength=3, **options):
    """A layer far from the identity, whose last column alone is transformed."""
    options = {"tail_bound": BOUND, "n_bins": 5, "random_state": 0} | options
    layer = nvpflow.SplineCoupling(dim, hidden, [1] * (dim - 1) + [0], activation=activation, dtype=dtype, **options)
    layer.parameters[:] *= strength
    return layer


def points_around(bound, dim=3, n=50, dtype="float64"):
    """Points whose identity part, all but the last column, is within the bound and far beyond it."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (n, dim)) * 0.9 * bound
    points[::2, : dim - 1] *= 10 ** rng.uniform(0, 6, (len(points[::2]), dim - 1))
    return points.astype(dtype)


def clamped(points, bound=BOUND):
    """The points with their identity part clamped."""
    return np.c_[points[:, :-1].clip(-bound, bound), points[:, -1]]


@pytest.mark.usefixtures("every_isa")
@every_network
@both_directions
class TestLayer:
    @both_precisions
    def test_transformed_columns_see_clamped_point(self, dtype, direction, hidden, activation):
        layer, points = spline(hidden=hidden, activation=activation, dtype=dtype), points_around(BOUND, dtype=dtype)
        function = getattr(layer, direction)
        output, log_det = function(points)
        expected, expected_log_det = function(clamped(points))
        np.testing.assert_array_equal(output[:, :-1], points[:, :-1])
        np.testing.assert_array_equal(output[:, -1], expected[:, -1])
        np.testing.assert_array_equal(log_det, expected_log_det)

    @both_precisions
    def test_gradient_of_clamped_column(self, dtype, direction, hidden, activation):
        layer, points = spline(hidden=hidden, activation=activation, dtype=dtype), points_around(BOUND, dtype=dtype)
        vjp = getattr(layer, f"{direction}_vjp")
        rng = np.random.default_rng(1)
        given, of_log_det = rng.normal(size=points.shape).astype(dtype), rng.normal(size=len(points)).astype(dtype)
        by_points, by_parameters = vjp(points, given, of_log_det)
        same, same_parameters = vjp(clamped(points), given, of_log_det)
        beyond = np.abs(points) > BOUND
        assert 10 < beyond.sum() < beyond[:, :-1].size - 10
        np.testing.assert_array_equal(by_points[beyond], given[beyond])
        np.testing.assert_array_equal(by_points[~beyond], same[~beyond])
        assert (by_points[~beyond] != given[~beyond]).mean() > 0.9
        np.testing.assert_array_equal(by_parameters, same_parameters)

    def test_central_differences(self, direction, hidden, activation):
        layer = spline(hidden=hidden, activation=activation)
        points = points_around(BOUND, n=12)
        points[np.abs(points) > 10 * BOUND] /= 1e4  # differences of huge numbers have no digits
        function, vjp = getattr(layer, direction), getattr(layer, f"{direction}_vjp")
        rng = np.random.default_rng(1)
        given, of_log_det = rng.normal(size=points.shape), rng.normal(size=len(points))

        def value():
            output, log_det = function(points)
            return np.sum(output * given) + np.sum(log_det * of_log_det)

        for ours, array in zip(vjp(points, given, of_log_det), (points, layer.parameters), strict=True):
            expected = central_difference(value, array)
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@pytest.mark.usefixtures("every_isa")
@both_precisions
def test_far_neighbours_change_no_bit(dtype):
    layer, points = spline(dtype=dtype), points_around(BOUND, dtype=dtype)
    within = (np.abs(points) <= BOUND).all(axis=1)
    assert 10 < within.sum() < 40
    for whole, part in zip(layer.inverse(points), layer.inverse(points[within]), strict=True):
        assert whole[within].tobytes() == part.tobytes()


@pytest.mark.usefixtures("every_isa")
def test_ends_of_the_bound():
    """Nothing is clamped at the bound itself, and the next number gives the same output."""
    layer = spline(2)
    at, beyond = np.array([[BOUND, 0.5], [-BOUND, 0.5]]), np.array([[np.nextafter(BOUND, 9), 0.5], [-1e300, 0.5]])
    assert (layer.inverse(at)[0][:, 1] == layer.inverse(beyond)[0][:, 1]).all()
    grads = [layer.inverse_vjp(points, np.ones((2, 2)), np.zeros(2))[0][:, 0] for points in (at, beyond)]
    assert (grads[0] != 1).all() and (grads[1] == 1).all()


@pytest.mark.usefixtures("every_isa")
@both_directions
def test_context_is_not_clamped(direction):
    layer = spline(2, activation="silu", context_dim=1)
    points, context = np.full((4, 2), 0.5), np.array([[1.0], [2.0], [3.0], [30.0]]) * BOUND
    output = getattr(layer, direction)(points, context)[0][:, 1]
    assert len(set(output)) == 4
    step, ones = 1e-6, np.ones(4)
    _, _, by_context = getattr(layer, f"{direction}_vjp")(points, np.ones((4, 2)), ones, context)
    ends = [sum(part.reshape(4, -1).sum(1) for part in getattr(layer, direction)(points, context + e)) for e in (step, -step)]
    np.testing.assert_allclose(by_context[:, 0], (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("layer_type", [nvpflow.CouplingLayer, nvpflow.AdditiveCoupling])
def test_other_couplings_do_not_clamp(layer_type):
    layer = layer_type(2, 8, [1, 0], dtype="float64", random_state=0)
    x = np.array([[1e2, 0.0], [1e3, 0.0], [1e4, 0.0]])
    assert len(set(layer.inverse(x)[0][:, 1])) == 3
    assert (layer.inverse_vjp(x, np.ones_like(x), np.zeros(3))[0][:, 0] != 1).all()


def test_training_clamps_far_columns():
    """One step in float64: the update of the parameters is that of the clamped points."""
    x = points_around(BOUND)
    layers = spline(), spline()
    for layer, data in zip(layers, (x, clamped(x)), strict=True):
        nvpflow.Flow([layer]).fit(data, max_iter=1, batch_size=None, random_state=0)
    np.testing.assert_array_equal(*(layer.parameters for layer in layers))


def samples(dim):
    """Two half-circles, and further columns that depend on the first two."""
    rng = np.random.default_rng(0)
    angle, upper = rng.uniform(0, np.pi, 1000), rng.integers(0, 2, 1000)
    x = np.stack([np.where(upper, 1 - np.cos(angle), np.cos(angle)), np.where(upper, 0.5 - np.sin(angle), np.sin(angle))], 1)
    x += 0.1 * rng.normal(size=x.shape)
    rest = x @ rng.normal(size=(2, dim - 2)) + rng.normal(size=(1000, dim - 2))
    return np.c_[x, rest] * np.logspace(-2, 3, dim) + 5


@cache
def fitted(dim, base, dtype, n_init=1):
    return nvpflow.FlowDensity(base=base, dtype=dtype, n_init=n_init, max_iter=100, random_state=0).fit(samples(dim))


def far_points(dim, far, columns, n=200):
    """Points of which these columns are so many standard deviations from the mean, or up to twice that."""
    x, rng = samples(dim), np.random.default_rng(1)
    u = (x[:n] - x.mean(axis=0)) / x.std(axis=0)
    u[:, columns] = np.sign(u[:, columns]) * far * rng.uniform(1, 2, (n, len(columns)))
    return x.mean(axis=0) + x.std(axis=0) * u


every_model = pytest.mark.parametrize("dim, base", [(dim, base) for dim in (2, 5, 10) for base in ("normal", "auto")])


def round_trip_error(model, x, deviation):
    """The largest error of a number, in deviations of its column, or relative to it if that is more."""
    given = (x - model.origin_).astype(model.dtype)
    back = model.flow_.forward(model.flow_.inverse(given)[0])[0]
    size = np.maximum(1, np.abs(given.astype(np.float64)) / deviation)
    return (np.abs(back.astype(np.float64) - given) / deviation / size).max()


@every_model
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-6), ("float32", 1e-2)])
def test_round_trip_of_fitted_model(dim, base, dtype, tolerance):
    model, deviation = fitted(dim, base, dtype), samples(dim).std(axis=0)
    for far in FAR:
        for columns in ([0], [dim - 1], list(range(0, dim, 2)), list(range(dim))):
            assert round_trip_error(model, far_points(dim, far, columns), deviation) <= tolerance, (far, columns)


def test_round_trip_with_linear_map():
    """A linear map spreads the rounding error of the far column: 1e6 deviations leave ten digits of float64."""
    x = np.random.default_rng(0).normal(size=(1000, 5)) @ np.tril(np.ones((5, 5)))
    model = nvpflow.FlowDensity(base="normal", dtype="float64", n_init=2, max_iter=40, random_state=0).fit(x)
    assert any(isinstance(layer, nvpflow.LULinear) for layer in model.flow_.layers)
    for far in FAR:
        u = np.r_[far, np.zeros(4)] * x.std(axis=0) + x[:200]
        assert round_trip_error(model, u, x.std(axis=0)) <= 1e-6, far


@every_model
@both_precisions
def test_log_density_is_finite_and_falls(dim, base, dtype):
    model = fitted(dim, base, dtype)
    for columns in ([0], [dim - 1], list(range(dim))):
        log_prob = np.array([model.score_samples(far_points(dim, far, columns)) for far in FAR])
        assert np.isfinite(log_prob).all()
        assert (np.diff(log_prob, axis=0) < 0).all()


@pytest.mark.usefixtures("every_isa")
@both_precisions
def test_round_trip_of_strong_layers(dtype):
    """Five columns, of which some are far, through layers of both masks, on every instruction set."""
    layers = [
        nvpflow.SplineCoupling(5, 16, alternating(5, i % 2), tail_bound=3, dtype=dtype, random_state=i) for i in range(6)
    ]
    flow = nvpflow.Flow(layers)
    flow.parameters[:] *= 1.5
    rng = np.random.default_rng(0)
    for far in FAR:
        x = rng.normal(size=(100, 5)).astype(dtype)
        x[:, rng.integers(5)] *= far
        there, log_det = flow.inverse(x)
        back, log_det_back = flow.forward(there)
        tolerance = 1e-2 if dtype == "float32" else 1e-9
        np.testing.assert_allclose(back, x, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(log_det_back, -log_det, rtol=tolerance, atol=tolerance)
