"""Spline and additive couplings, shared networks, LU maps and permutations against their definitions, with NumPy alone."""

import copy
import pickle
import re

import numpy as np
import pytest

import nvpflow
from test_gradients import TestGradientsAreCentralDifferences, TestLogDet, TestRoundTrip, alternating, integral, moons

both_precisions = pytest.mark.parametrize("dtype", ["float32", "float64"])
both_directions = pytest.mark.parametrize("direction", ["forward", "inverse"])


def strengthened(layer, factor):
    """The layer with so many times its last weights and biases."""
    layer.net[-1].weight[:] *= factor
    layer.net[-1].bias[:] *= factor
    return layer


def spline(dim, hidden=(5, 4), mask=None, *, strength=5, **options):
    """A spline that is far from the identity."""
    options = {"activation": "silu", "n_bins": 5, "tail_bound": 2.5, "dtype": "float64", "random_state": dim} | options
    return strengthened(nvpflow.SplineCoupling(dim, hidden, mask, **options), strength)


def lu_linear(dim, dtype="float64", size=0.5):
    layer = nvpflow.LULinear(dim, dtype=dtype)
    layer.parameters[:] = size * np.random.RandomState(dim).normal(size=layer.n_parameters)
    return layer


def one_of_each(dim, dtype="float64"):
    options = dict(activation="silu", dtype=dtype, random_state=dim)
    mask = np.random.RandomState(dim).permutation(alternating(dim, 1))
    return {
        "spline": spline(dim, mask=mask, dtype=dtype),
        "spline of two bins": spline(dim, 6, alternating(dim, 1), n_bins=2, tail_bound=0.7, dtype=dtype),
        "spline of no inputs": spline(dim, (), [0] * dim, dtype=dtype),
        "additive": nvpflow.AdditiveCoupling(dim, (5, 4), mask, **options),
        "shared": nvpflow.CouplingLayer(dim, (5, 4), mask, networks="shared", **options),
        "shared exp": nvpflow.CouplingLayer(dim, 5, mask, networks="shared", scale="exp", **options),
        "LU": lu_linear(dim, dtype),
        "permutation": nvpflow.Permutation(dim, dtype=dtype, random_state=1),
    }


LAYERS = tuple(one_of_each(2))
every_layer = pytest.mark.parametrize("name", LAYERS)


def flow_of_everything(dim, dtype="float64"):
    return nvpflow.Flow([*one_of_each(dim, dtype).values(), nvpflow.ActNorm(dim, dtype=dtype)])


@every_layer
@both_directions
@pytest.mark.parametrize("dim", [2, 5])
def test_gradients_are_central_differences(name, direction, dim):
    if name == "permutation":
        pytest.skip("has no parameters; flows contain one")
    TestGradientsAreCentralDifferences.check_vjp(one_of_each(dim)[name], direction)


@both_directions
def test_gradients_of_a_flow_of_everything(direction):
    TestGradientsAreCentralDifferences.check_vjp(flow_of_everything(4), direction)


@pytest.mark.parametrize("dim", [15, 16, 17, 40])
@both_directions
def test_gradients_of_lu_maps_of_many_blocks(dim, direction):
    TestGradientsAreCentralDifferences.check_vjp(lu_linear(dim, size=0.05), direction)


@every_layer
@both_directions
@pytest.mark.parametrize("dim", [2, 5])
def test_log_det_is_that_of_the_jacobian(name, direction, dim):
    TestLogDet.check(one_of_each(dim)[name], direction)


@every_layer
@both_precisions
def test_backwards_is_back(name, dtype):
    layer = one_of_each(5, dtype)[name]
    tolerance = 1e-3 if dtype == "float32" else 1e-11
    for there, back in (("forward", "inverse"), ("inverse", "forward")):
        TestRoundTrip.check(nvpflow.Flow([layer.copy()]), there, back, tolerance)


@pytest.mark.parametrize("dim", [2, 16])
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("float64", 1e-12)])
@pytest.mark.parametrize("there, back", [("forward", "inverse"), ("inverse", "forward")])
def test_64_spline_layers(dim, dtype, tolerance, there, back):
    layers = [nvpflow.SplineCoupling(dim, mask=alternating(dim, i % 2), dtype=dtype, random_state=i) for i in range(64)]
    TestRoundTrip.check(nvpflow.Flow(layers), there, back, tolerance)


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

    def test_starts_near_the_identity(self):
        layer = nvpflow.SplineCoupling(3, mask=[1, 0, 0], dtype="float64", random_state=0)
        x = np.random.RandomState(0).normal(size=(1000, 3))
        z, log_det = layer.inverse(x)
        assert 0 < np.abs(z - x).max() < 0.5 and 0 < np.abs(log_det).max() < 1

    @both_precisions
    def test_outputs_of_zero_are_the_identity(self, dtype):
        layer = spline(2, strength=0, n_bins=8, tail_bound=4, dtype=dtype)
        x = np.random.RandomState(0).normal(size=(1000, 2)).astype(dtype)
        for function in (layer.inverse, layer.forward):
            y, log_det = function(x)
            np.testing.assert_allclose(y, x, rtol=0, atol=8 * np.finfo(dtype).eps)
            np.testing.assert_allclose(log_det, 0, rtol=0, atol=8 * np.finfo(dtype).eps)

    @pytest.mark.parametrize("strength", [0.5, 3, 20, 1000])
    @pytest.mark.parametrize("n_bins", [2, 8, 64])
    @both_directions
    def test_is_monotone(self, strength, n_bins, direction):
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

    def test_position_in_steep_bins_is_accurate(self):
        """Where the first form of the quadratic formula cancels."""
        z = np.linspace(-0.99, -0.01, 50, dtype="float32")[:, None]
        single, double = (self.two_bins(3000, dtype).forward(z)[0] for dtype in ("float32", "float64"))
        np.testing.assert_allclose(single, double, rtol=0, atol=1e-6)

    @both_precisions
    @pytest.mark.parametrize("output", [-1e30, -100, -12, -1, 0, 1, 100, 1e5, 1e7, 1e30])
    def test_derivative_at_a_knot(self, output, dtype):
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

    def test_density_on_the_plane_integrates_to_one(self):
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
        """Whatever finite numbers the network gives, results are finite, in the support, and so are gradients of the NLL."""
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

    def test_learns_what_has_sharp_edges(self):
        """A uniform density on a square: 1000 points, whose entropy is 2 log 2."""
        x = np.random.RandomState(0).uniform(-1, 1, (1000, 2))
        layers = [nvpflow.SplineCoupling(2, 16, mask, random_state=i) for i, mask in enumerate(([1, 0], [0, 1]))]
        flow = nvpflow.Flow(layers)
        history = flow.fit(x, max_iter=300, learning_rate=1e-2)
        assert history["train_nll"][-1] < 2 * np.log(2) + 0.1


@every_layer
@both_precisions
def test_nan_and_infinity_stay_in_their_row(name, dtype):
    layer = one_of_each(3, dtype)[name]
    points = np.random.RandomState(0).normal(size=(80, 3)).astype(dtype)
    ones = np.ones(80)
    for bad in (np.nan, np.inf, -np.inf):
        for column in range(3):
            spoilt = points.copy()
            spoilt[13, column] = bad
            for direction in ("forward", "inverse"):
                function, vjp = getattr(layer, direction), getattr(layer, f"{direction}_vjp")
                for ours, theirs in zip(
                    (*function(spoilt), vjp(spoilt, points, ones)[0]), (*function(points), vjp(points, points, ones)[0])
                ):
                    np.testing.assert_array_equal(np.delete(ours, 13, 0), np.delete(theirs, 13, 0))
                assert not np.isfinite(function(spoilt)[0][13]).all()


@both_precisions
def test_bits_do_not_depend_on_the_batch(dtype):
    flow = flow_of_everything(4, dtype)
    points = np.random.RandomState(0).normal(size=(300, 4)).astype(dtype)

    def everything(rows):
        given = points[rows]
        vjps = flow.forward_vjp(given, given, given[:, 0])[0], flow.inverse_vjp(given, given, given[:, 0])[0]
        return *flow.forward(given), *flow.inverse(given), *vjps

    whole = everything(np.arange(300))
    for rows in (np.array([7]), np.arange(17), np.arange(100, 233), np.arange(300)[::-1]):
        for part, of_whole in zip(everything(rows), whole, strict=True):
            assert part.tobytes() == np.ascontiguousarray(of_whole[rows]).tobytes()


@both_precisions
def test_instruction_sets_agree(dtype, monkeypatch):
    points = np.random.RandomState(0).normal(size=(100, 4))
    found = []
    for isa in ("baseline", "avx2", "avx512"):
        monkeypatch.setenv("NVPFLOW_ISA", isa)
        try:
            flow = flow_of_everything(4, dtype)
        except RuntimeError:
            continue
        assert flow.isa == isa
        found.append((*flow.inverse(points), *flow.forward(points), flow.nll_and_grad(points)[1]))
    tolerance = 1e-3 if dtype == "float32" else 1e-11
    for others in found[1:]:
        for ours, theirs in zip(others, found[0]):
            assert np.linalg.norm(ours - theirs) <= tolerance * np.linalg.norm(theirs)


def test_number_of_threads_does_not_matter():
    one, many = flow_of_everything(4, "float32"), flow_of_everything(4, "float32")
    many.n_jobs = 3
    points = np.random.RandomState(0).normal(size=(50_000, 4))
    assert one.nll_and_grad(points)[1].tobytes() == many.nll_and_grad(points)[1].tobytes()


class TestLinearMaps:
    @pytest.mark.parametrize("dim", [1, 3, 16, 33, 200])
    @both_precisions
    def test_lu_is_its_matrix(self, dim, dtype):
        layer = lu_linear(dim, dtype, size=0.3 / np.sqrt(dim))
        z = np.random.RandomState(0).normal(size=(50, dim)).astype(dtype)
        x, log_det = layer.forward(z)
        tolerance = 1e-4 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(x, z @ layer.matrix.T + layer.bias, rtol=0, atol=tolerance)
        np.testing.assert_allclose(log_det, np.linalg.slogdet(layer.matrix.astype("float64"))[1], atol=tolerance)
        np.testing.assert_allclose(layer.inverse(x)[0], z, rtol=0, atol=tolerance)

    def test_lu_starts_as_the_identity(self):
        layer = nvpflow.LULinear(3, dtype="float64")
        z = np.random.RandomState(0).normal(size=(50, 3))
        np.testing.assert_array_equal(layer.forward(z)[0], z)
        np.testing.assert_array_equal(layer.matrix, np.eye(3))

    def test_lu_learns_a_covariance(self):
        """The maximum likelihood of a normal distribution, in closed form."""
        rng = np.random.RandomState(0)
        x = rng.normal(size=(500, 3)) @ rng.normal(size=(3, 3)) + [1, 2, 3]
        flow = nvpflow.Flow([nvpflow.LULinear(3, dtype="float64")])
        flow.fit(x, max_iter=2000, learning_rate=1e-2, schedule="cosine")
        covariance = np.cov(x.T, bias=True)
        np.testing.assert_allclose(flow.layers[0].bias, x.mean(axis=0), atol=1e-3)
        matrix = flow.layers[0].matrix
        np.testing.assert_allclose(matrix @ matrix.T, covariance, rtol=0, atol=1e-3 * np.abs(covariance).max())

    def test_permutation(self):
        layer = nvpflow.Permutation(3, [2, 0, 1])
        z = np.arange(6, dtype="float32").reshape(2, 3)
        x, log_det = layer.forward(z)
        np.testing.assert_array_equal(x, z[:, [2, 0, 1]])
        np.testing.assert_array_equal(layer.inverse(x)[0], z)
        grad, _ = layer.forward_vjp(z, x, None)
        np.testing.assert_array_equal(grad, z)
        assert (log_det == 0).all() and layer.n_parameters == 0 and layer.state_dict() == {}
        random = [nvpflow.Permutation(20, random_state=seed).permutation.tolist() for seed in (0, 0, 1)]
        assert random[0] == random[1] != random[2] and sorted(random[0]) == list(range(20))
        layer.permutation[:] = 0
        assert layer.permutation.tolist() == [2, 0, 1]

    def test_additive_preserves_volumes(self):
        layer = one_of_each(3)["additive"]
        x, log_det = layer.forward(np.ones((5, 3)))
        assert (log_det == 0).all() and (x != 1).any()


def test_shared_network_is_two_networks_with_a_common_trunk():
    options = dict(mask=[1, 0, 1, 0], dtype="float64", random_state=0)
    shared, separate = (nvpflow.CouplingLayer(4, (7, 5), networks=kind, **options) for kind in ("shared", "separate"))
    for ours, theirs in ((shared.s_net, separate.s_net), (shared.b_net, separate.b_net)):
        for one, other in zip(ours, theirs, strict=True):
            other.weight[:], other.bias[:] = one.weight, one.bias
    z = np.random.RandomState(0).normal(size=(50, 4))
    np.testing.assert_allclose(shared.forward(z)[0], separate.forward(z)[0], rtol=1e-13)
    shared.s_net[-1].bias[0] = 7
    assert 7 in shared.parameters
    assert shared.n_parameters == 7 * 3 + 5 * 8 + 4 * 6


class TestActNormsFromData:
    @both_precisions
    def test_every_one_standardises_what_reaches_it(self, dtype):
        couplings = [spline(3, mask=mask, dtype=dtype, tail_bound=5) for mask in ([1, 0, 0], [0, 1, 0])]
        norms = [nvpflow.ActNorm(3, dtype=dtype) for _ in range(3)]
        flow = nvpflow.Flow([norms[0], couplings[0], lu_linear(3, dtype), norms[1], couplings[1], norms[2]])
        x = np.random.RandomState(0).normal(size=(400, 3)) * [1, 10, 1e-2] + [5, 100, -1]
        flow.initialize_act_norms(x)
        states = flow.trace(x, inverse=True).astype("float64")
        for k in (1, 3, 6):
            np.testing.assert_allclose(states[k].mean(axis=0), 0, atol=2e-4 if dtype == "float32" else 1e-11)
            np.testing.assert_allclose(states[k].std(axis=0), 1, rtol=2e-4 if dtype == "float32" else 1e-11)

    def test_bad_data(self):
        flow = nvpflow.Flow([nvpflow.ActNorm(2), nvpflow.Permutation(2, [1, 0]), nvpflow.ActNorm(2)])
        before = flow.parameters.copy()
        for bad, error, message in (
            ([[1.0, 2.0], [3.0, 2.0]], ValueError, "got constants in column(s) 1"),
            ([[1.0, 2.0]], ValueError, "got constants in column(s) 0, 1"),
            ([1.0, 2.0], ValueError, "x must have shape (n, 2) with n >= 1, got (2,)"),
            ([[np.nan, 2.0], [3.0, 4.0]], ValueError, "x must be finite"),
            ([["a", "b"]], TypeError, "x must be an array of real numbers"),
        ):
            with pytest.raises(error, match=re.escape(message)):
                flow.initialize_act_norms(bad)
            np.testing.assert_array_equal(flow.parameters, before)

    def test_an_error_behind_a_good_act_norm_changes_nothing(self):
        flat = nvpflow.LULinear(2, dtype="float64")
        flat.lu[0, 0] = 800  # x is divided by exp(800): nothing is left of the first column
        flow = nvpflow.Flow([nvpflow.ActNorm(2, dtype="float64"), flat, nvpflow.ActNorm(2, dtype="float64")])
        before = flow.parameters.copy()
        with pytest.raises(ValueError, match="constants in column"):
            flow.initialize_act_norms(np.random.RandomState(0).normal(size=(20, 2)))
        np.testing.assert_array_equal(flow.parameters, before)


@every_layer
@both_precisions
def test_copies(name, dtype, tmp_path):
    layer = one_of_each(3, dtype)[name]
    z = np.random.RandomState(0).normal(size=(50, 3))
    expected = layer.forward(z)[0]
    flow = nvpflow.Flow([layer.copy()])
    nvpflow.save(flow, tmp_path / "flow.npz")
    other = nvpflow.Flow.from_config(flow.config())
    other.load_state_dict(flow.state_dict())
    for same in (
        layer.copy(),
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        pickle.loads(pickle.dumps(flow)),
        nvpflow.load(tmp_path / "flow.npz"),
        other,
        eval(repr(layer), vars(nvpflow)) if name == "permutation" else layer,
    ):
        assert same.forward(z)[0].tobytes() == expected.tobytes()
    assert type(layer).__name__ in nvpflow.__all__


BAD_ARGUMENTS = (
    (lambda: nvpflow.SplineCoupling(2, n_bins=1), ValueError, "n_bins must be at least 2, got 1"),
    (lambda: nvpflow.SplineCoupling(2, n_bins=65), ValueError, "n_bins must be at most 64, got 65"),
    (lambda: nvpflow.SplineCoupling(2, n_bins=8.0), TypeError, "n_bins must be an integer, got 8.0"),
    (lambda: nvpflow.SplineCoupling(2, tail_bound=0), ValueError, "tail_bound must be finite and > 0, got 0"),
    (lambda: nvpflow.SplineCoupling(2, tail_bound="4"), TypeError, "tail_bound must be a real number, got '4'"),
    (lambda: nvpflow.SplineCoupling(2, activation="gelu"), ValueError, "activation must be one of"),
    (lambda: nvpflow.SplineCoupling(2, mask=[1]), ValueError, "mask must have shape (2,), got (1,)"),
    (lambda: nvpflow.AdditiveCoupling(0), ValueError, "data_dim must be at least 1, got 0"),
    (lambda: nvpflow.AdditiveCoupling(2, hidden_dim=0), ValueError, "hidden_dim must be at least 1, got 0"),
    (lambda: nvpflow.CouplingLayer(2, networks="one"), ValueError, "networks must be one of 'separate', 'shared'"),
    (lambda: nvpflow.Permutation(2, [0, 0]), ValueError, "permutation must hold each of 0, ..., 1 once, got [0, 0]"),
    (lambda: nvpflow.Permutation(2, [0, 2]), ValueError, "permutation must hold each of 0, ..., 1 once, got [0, 2]"),
    (lambda: nvpflow.Permutation(2, [0, 1, 2]), ValueError, "permutation must have shape (2,), got (3,)"),
    (lambda: nvpflow.Permutation(2, [0.0, 1.0]), TypeError, "permutation must hold integers, got dtype float64"),
    (lambda: nvpflow.Permutation(2, random_state="x"), TypeError, "random_state must be None"),
    (lambda: nvpflow.LULinear(2.5), TypeError, "data_dim must be an integer, got 2.5"),
    (lambda: nvpflow.LULinear(2, dtype="int8"), ValueError, "dtype must be float32 or float64"),
    (lambda: nvpflow.LULinear(10**15), MemoryError, "does not fit in memory"),
)


@pytest.mark.parametrize("call, error, message", BAD_ARGUMENTS)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()
