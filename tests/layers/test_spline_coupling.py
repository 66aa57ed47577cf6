"""SplineCoupling: knots, derivatives, monotonicity, extreme outputs, and training."""

import numpy as np
import pytest

import nvpflow
from support.checks import integral
from support.flows import spline
from support.marks import both_directions, both_precisions
from support.samples import moons


class TestSpline:
    def curve(self, strength, dtype="float64", **options):
        """A spline of one column, whose shape is the bias of its network, and points that are dense on its support."""
        layer = spline(1, (), [0], strength=1, dtype=dtype, **options)
        layer.net[0].bias[:] = strength * np.random.RandomState(0).normal(size=len(layer.net[0].bias))
        bound = layer.tail_bound
        return layer, np.linspace(-1.2 * bound, 1.2 * bound, 40001, dtype=dtype)[:, None]

    def knots(self, layer):
        """x and z of the knots, by the formulas of the paper."""
        n_bins, bias = layer.n_bins, np.asarray(layer.net[0].bias, "float64")
        ends = []
        for raw in (bias[:n_bins], bias[n_bins : 2 * n_bins]):
            share = np.exp(raw - raw.max())
            size = 1e-3 + (1 - 1e-3 * n_bins) * share / share.sum()
            ends.append(layer.tail_bound * (2 * np.concatenate([[0], np.cumsum(size)]) - 1))
        return ends

    def test_starts_near_identity(self):
        layer = nvpflow.SplineCoupling(3, mask=[1, 0, 0], dtype="float64", random_state=0)
        x = np.random.RandomState(0).normal(size=(1000, 3))
        z, log_det = layer.inverse(x)
        assert 0 < np.abs(z - x).max() < 0.5 and 0 < np.abs(log_det).max() < 1

    @both_precisions
    def test_zero_outputs_are_identity(self, dtype):
        layer = spline(2, strength=0, n_bins=8, tail_bound=4, dtype=dtype)
        x = np.random.RandomState(0).normal(size=(1000, 2)).astype(dtype)
        for function in (layer.inverse, layer.forward):
            y, log_det = function(x)
            np.testing.assert_allclose(y, x, rtol=0, atol=8 * np.finfo(dtype).eps)
            np.testing.assert_allclose(log_det, 0, rtol=0, atol=8 * np.finfo(dtype).eps)

    @pytest.mark.parametrize("strength", [0.5, 3, 20, 1000])
    @pytest.mark.parametrize("n_bins", [2, 8, 64])
    @both_directions
    def test_monotone(self, strength, n_bins, direction):
        layer, points = self.curve(strength, n_bins=n_bins)
        y, log_det = getattr(layer, direction)(points)
        assert (np.diff(y[:, 0]) >= -1e-12).all() and np.isfinite(log_det).all()
        assert np.diff(y[:, 0]).min() >= 0 or strength > 3
        outside = np.abs(points[:, 0]) >= layer.tail_bound
        assert outside.sum() > 100
        np.testing.assert_array_equal(y[outside], points[outside])
        assert (log_det[outside] == 0).all()

    @pytest.mark.parametrize("strength", [0.5, 2])
    @both_precisions
    def test_knots(self, strength, dtype):
        layer, _ = self.curve(strength, dtype, n_bins=8, tail_bound=3)
        x, z = self.knots(layer)
        tolerance = 1e-4 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(layer.inverse(x[:, None])[0][:, 0], z, rtol=0, atol=tolerance)
        np.testing.assert_allclose(layer.forward(z[:, None])[0][:, 0], x, rtol=0, atol=tolerance)
        # Either side of a knot, and of the ends, log_det is the same.
        for function, knots in ((layer.inverse, x), (layer.forward, z)):
            knots = knots.astype(dtype)
            below, above = np.nextafter(knots, -10, dtype=dtype), np.nextafter(knots, 10, dtype=dtype)
            left, right = function(below[:, None])[1], function(above[:, None])[1]
            np.testing.assert_allclose(left, right, rtol=0, atol=50 * tolerance)

    def two_bins(self, output, dtype):
        """Two equal bins on [-1, 1], with this output for the derivative at the knot, 0."""
        layer = spline(1, (), [0], n_bins=2, tail_bound=1, dtype=dtype)
        layer.net[0].bias[:] = [0, 0, 0, 0, output]
        return layer

    def test_steep_bins(self):
        """Where the first form of the quadratic formula cancels."""
        z = np.linspace(-0.99, -0.01, 50, dtype="float32")[:, None]
        single, double = (self.two_bins(3000, dtype).forward(z)[0] for dtype in ("float32", "float64"))
        np.testing.assert_allclose(single, double, rtol=0, atol=1e-6)

    @both_precisions
    @pytest.mark.parametrize("output", [-1e30, -100, -12, -1, 0, 1, 100, 1e5, 1e7, 1e30])
    def test_derivative_at_knot(self, output, dtype):
        expected = min(1e-3 + np.logaddexp(0, output + np.log(np.expm1(1 - 1e-3))), 1e6)
        for sign, direction in ((1, "inverse"), (-1, "forward")):
            log_det = getattr(self.two_bins(output, dtype), direction)([[0.0]])[1][0]
            assert log_det == pytest.approx(sign * np.log(expected), abs=16 * float(np.finfo(dtype).eps))

    @pytest.mark.parametrize("strength", [0.5, 3, 20])
    def test_density_integrates_to_one(self, strength):
        layer, _ = self.curve(strength, n_bins=8)
        flow = nvpflow.Flow([layer])
        edges = np.unique(np.concatenate([np.linspace(-9, 9, 200), self.knots(layer)[0]]))
        nodes, weights = np.polynomial.legendre.leggauss(30)
        half = np.diff(edges)[:, None] / 2
        x = edges[:-1, None] + half * (nodes + 1)
        density = np.exp(flow.log_prob(x.reshape(-1, 1))).reshape(x.shape)
        assert np.sum(half * weights * density) == pytest.approx(1, abs=1e-7 if strength < 20 else 1e-3)

    def test_density_in_two_dimensions_integrates_to_one(self):
        layers = [
            nvpflow.SplineCoupling(2, 16, mask, dtype="float64", random_state=i) for i, mask in enumerate(([1, 0], [0, 1]) * 2)
        ]
        flow = nvpflow.Flow([*layers, nvpflow.LULinear(2, dtype="float64")])
        x = moons(300)
        before = flow.nll(x)
        flow.fit(x, max_iter=150, learning_rate=1e-2, random_state=0)
        assert flow.nll(x) < before - 0.8
        assert integral(lambda x: np.exp(flow.log_prob(x)), 8, 0.02) == pytest.approx(1, abs=1e-3)

    @both_precisions
    @pytest.mark.parametrize("factor", [1e3, 1e6, 1e30])
    def test_huge_outputs(self, factor, dtype):
        """For any finite network outputs, results are finite and within the support, and so are gradients of the NLL."""
        layer = spline(2, 16, [1, 0], n_bins=8, strength=factor, dtype=dtype, random_state=3)
        x = np.random.RandomState(0).normal(size=(500, 2)).astype(dtype)
        for function in (layer.inverse, layer.forward):
            y, log_det = function(x)
            assert np.isfinite(y).all() and np.isfinite(log_det).all()
            inside = np.abs(x[:, 1]) < layer.tail_bound
            assert (np.abs(y[inside, 1]) <= layer.tail_bound * (1 + 1e-6)).all()
        by_points, by_parameters = layer.inverse_vjp(x, x, np.ones(500))
        assert np.isfinite(by_points[:, 1]).all() and np.isfinite(by_parameters).any()
        if factor == 1e3:
            assert np.isfinite(by_points).all() and np.isfinite(by_parameters).all()

    @both_precisions
    def test_far_points(self, dtype):
        flow = nvpflow.Flow([spline(2, mask=[0, 0], hidden=(), dtype=dtype), spline(2, mask=[0, 0], hidden=(), dtype=dtype)])
        x = np.array([[1e6, -1e6], [3e15, 0.1], [-2.5, 2.5], [0.0, -0.0]], dtype)
        z, log_det = flow.inverse(x)
        assert np.isfinite(z).all() and np.isfinite(log_det).all() and np.isfinite(flow.log_prob(x)[0])
        np.testing.assert_array_equal(z[np.abs(x) >= 2.5], x[np.abs(x) >= 2.5])
        grad, _ = flow.inverse_vjp(x, np.ones_like(x), np.ones(4, dtype))
        assert (grad[np.abs(x) >= 2.5] == 1).all()

    def test_learns_sharp_edges(self):
        """A uniform density on a square: 1000 points, whose entropy is 2 log 2."""
        x = np.random.RandomState(0).uniform(-1, 1, (1000, 2))
        layers = [nvpflow.SplineCoupling(2, 16, mask, random_state=i) for i, mask in enumerate(([1, 0], [0, 1]))]
        flow = nvpflow.Flow(layers)
        history = flow.fit(x, max_iter=300, learning_rate=1e-2)
        assert history["train_nll"][-1] < 2 * np.log(2) + 0.1
