"""CircularSplineCoupling: against the formulas, the seam, whole turns, mass, gradients and bad arguments."""

import numpy as np
import pytest

import nvpflow
from support.checks import assert_close, central_difference
from support.flows import strengthened
from support.marks import both_directions, both_precisions

TURN = 2 * np.pi
PERIODS = (TURN, None, 24.0)  # of two angles and a real column


def layer_of(mask=(0, 0, 1), strength=5, **options):
    options = {"periods": PERIODS, "activation": "tanh", "n_bins": 5, "tail_bound": 2.5, "dtype": "float64"} | options
    return strengthened(nvpflow.CircularSplineCoupling(3, (6, 5), mask, random_state=1, **options), strength)


def points_of(n=200, dtype="float64", turns=0.5):
    rng = np.random.default_rng(0)
    angles = rng.uniform(-turns, turns, (n, 2)) * [TURN, 24.0]
    return np.stack([angles[:, 0], 1.5 * rng.normal(size=n), angles[:, 1]], axis=1).astype(dtype)


def flow_of(n_layers=3, dtype="float64", periods=PERIODS, strength=5):
    dim = len(periods)
    masks = [[(i + k) % 2 if dim > 1 else 0 for i in range(dim)] for k in range(n_layers)]
    options = {"periods": periods, "activation": "silu", "n_bins": 5, "dtype": dtype}
    layers = [nvpflow.CircularSplineCoupling(dim, 6, mask, random_state=k, **options) for k, mask in enumerate(masks)]
    for layer in layers:
        strengthened(layer, strength)
    return nvpflow.Flow(layers, nvpflow.CircularBase(periods, dtype=dtype))


# -- another implementation: Rezende et al. (2020), with equations 4 and 5 of Durkan et al. (2019) --


def network(layer, row):
    """The outputs for one row, from the documented inputs."""
    inputs = []
    for value, period, passive in zip(row, layer.periods, layer.mask):
        if passive:
            turn = TURN * value / period if period else None
            inputs += [np.cos(turn), np.sin(turn)] if period else [np.clip(value, -layer.tail_bound, layer.tail_bound)]
    for k, (weight, bias) in enumerate(layer.net):
        inputs = weight @ inputs + bias
        if k + 1 < len(layer.net):
            inputs = np.tanh(inputs)
    return inputs


def spline(x, half, outputs, n_bins, ends):
    """z(x) and log dz/dx on [-half, half]."""
    shares = [np.exp(raw) / np.exp(raw).sum() for raw in (outputs[:n_bins], outputs[n_bins : 2 * n_bins])]
    sizes = [1e-3 + (1 - 1e-3 * n_bins) * share for share in shares]
    knots = [half * (2 * np.append(0, np.cumsum(size)) - 1) for size in sizes]
    inner = derivative(outputs[2 * n_bins : 3 * n_bins - 1])
    slopes = np.concatenate([[ends], inner, [ends]])
    k = min(max(np.searchsorted(knots[0], x) - 1, 0), n_bins - 1)
    width, height = knots[0][k + 1] - knots[0][k], knots[1][k + 1] - knots[1][k]
    t, s = (x - knots[0][k]) / width, height / width
    q, total = t * (1 - t), s + (slopes[k] + slopes[k + 1] - 2 * s) * t * (1 - t)
    num = slopes[k + 1] * t**2 + 2 * s * q + slopes[k] * (1 - t) ** 2
    return knots[1][k] + height * (s * t**2 + slopes[k] * q) / total, np.log(s**2 * num / total**2)


def derivative(raw):
    return 1e-3 + np.log1p(np.exp(raw + np.log(np.exp(1 - 1e-3) - 1)))


def within(x, period):
    return (x + period / 2) % period - period / 2


def inverse_of(layer, row):
    outputs, z, log_det = network(layer, row), row.copy(), 0.0
    for i, (period, passive) in enumerate(zip(layer.periods, layer.mask)):
        if passive:
            z[i] = within(row[i], period) if period else row[i]
            continue
        own, outputs = np.split(outputs, [3 * layer.n_bins - 1 + 3 * (period > 0)])
        half = period / 2 if period else layer.tail_bound
        if not period and abs(row[i]) >= half:
            continue
        ends = 1.0 if not period else derivative(own[-3])
        rotation = period / TURN * np.arctan2(own[-1], 1 + own[-2]) if period else 0.0
        z[i], log_slope = spline(within(row[i] - rotation, period) if period else row[i], half, own, layer.n_bins, ends)
        log_det += log_slope
    assert len(outputs) == 0
    return z, log_det


@pytest.mark.usefixtures("every_isa")
@pytest.mark.parametrize("mask", [(0, 0, 1), (1, 0, 0), (0, 1, 0), (0, 0, 0), (1, 1, 1), (0, 1, 1)])
@both_precisions
def test_inverse_against_the_formulas(mask, dtype):
    layer, x = layer_of(mask, dtype=dtype), points_of(dtype=dtype, turns=1.3)
    z, log_det = layer.inverse(x)
    twin = layer_of(mask)
    twin.parameters[:] = layer.parameters
    expected = [inverse_of(twin, row) for row in x.astype("float64")]
    tolerance = 1e-11 if dtype == "float64" else 2e-4
    difference = z - np.array([row for row, _ in expected])
    for i, period in enumerate(layer.periods):  # rounding may take an angle over the end of its range
        difference[:, i] = within(difference[:, i], period) if period else difference[:, i]
    np.testing.assert_allclose(difference, 0, atol=20 * tolerance)
    np.testing.assert_allclose(log_det, [value for _, value in expected], atol=20 * tolerance)


# -- the circle --


@both_directions
@both_precisions
def test_whole_turns_change_nothing(direction, dtype):
    flow, x = flow_of(dtype=dtype), points_of(dtype=dtype)
    turned = (x + np.array([2 * TURN, 0, -24.0])).astype(dtype)
    tolerance = {"atol": 1e-11 if dtype == "float64" else 2e-3}
    ours, log_det = getattr(flow, direction)(x)
    theirs, log_det_turned = getattr(flow, direction)(turned)
    np.testing.assert_allclose(within(ours - theirs, 24.0)[:, 2], 0, **tolerance)
    np.testing.assert_allclose(ours[:, 1], theirs[:, 1], **tolerance)
    np.testing.assert_allclose(log_det, log_det_turned, **tolerance)


@both_directions
def test_outputs_are_within_half_a_turn(direction):
    for dtype in ("float32", "float64"):
        y = getattr(layer_of(dtype=dtype), direction)(points_of(5000, dtype, turns=3))[0]
        for i, period in ((0, TURN), (2, 24.0)):
            assert -dtype_half(period, dtype) <= y[:, i].min() and y[:, i].max() < dtype_half(period, dtype)
            assert np.ptp(y[:, i]) > 0.9 * period


def dtype_half(period, dtype):
    return np.dtype(dtype).type(period) / 2


def test_density_is_smooth_at_the_seam():
    """The density and its slope are the same on both sides of each seam."""
    flow = flow_of()
    x = points_of(50)
    for column, period in ((0, TURN), (2, 24.0)):
        sides = []
        for sign in (-1, 1):
            x[:, column] = sign * (period / 2 - 1e-9)
            sides.append((flow.log_prob(x), flow.grad_log_prob(x)[:, column]))
        np.testing.assert_allclose(sides[0][0], sides[1][0], atol=1e-6)
        np.testing.assert_allclose(sides[0][1], sides[1][1], atol=1e-4)


@both_precisions
def test_round_trip(dtype):
    flow, z = flow_of(dtype=dtype), points_of(2000, dtype)
    x, log_det = flow.forward(z)
    back, log_det_back = flow.inverse(x)
    tolerance = 1e-9 if dtype == "float64" else 5e-2  # of layers far from the identity
    for i, period in enumerate((TURN, 0, 24.0)):
        error = within(back[:, i] - z[:, i], period) if period else back[:, i] - z[:, i]
        assert np.abs(error).max() < tolerance
    np.testing.assert_allclose(log_det, -log_det_back, atol=tolerance)


def test_zero_outputs_are_the_identity():
    layer, x = layer_of(strength=0), points_of()
    for function in (layer.inverse, layer.forward):
        y, log_det = function(x)
        np.testing.assert_allclose(y, x, atol=1e-14)
        np.testing.assert_allclose(log_det, 0, atol=1e-14)


def test_rotation_makes_a_whole_turn_with_another_angle():
    """Two angles whose difference alone counts: no rotation that is continuous in the cosine and sine does this."""
    layer = nvpflow.CircularSplineCoupling(2, (), [1, 0], n_bins=2, dtype="float64")
    layer.parameters[:] = 0
    weight, bias = layer.net[0]
    weight[-2:], bias[-2] = np.eye(2), -1  # (1 + c, s) = (cos, sin) of the other angle
    x = np.random.default_rng(0).uniform(-np.pi, np.pi, (100, 2))
    np.testing.assert_allclose(layer.inverse(x)[0][:, 1], within(x[:, 1] - x[:, 0], TURN), atol=1e-12)


@pytest.mark.parametrize(
    "periods", [(TURN,), (TURN, 3.0), (TURN, None), (None, 5.0)], ids=["circle", "torus", "cylinder", "tube"]
)
def test_total_mass(periods):
    """The mean over a period is exact for smooth periodic densities; splines have continuous slopes alone."""
    flow, n = flow_of(periods=periods, strength=2), 800
    axes, cells = [], []
    for period in periods:
        half = period / 2 if period else 9.0
        axes.append((np.arange(n) + 0.5) / n * 2 * half - half)
        cells.append(2 * half / n)
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(periods))
    assert np.exp(flow.log_prob(points)).sum() * np.prod(cells) == pytest.approx(1, abs=1e-4)


@both_directions
@pytest.mark.parametrize("mask", [(0, 0, 1), (1, 0, 0), (0, 1, 0)])
def test_gradients(direction, mask):
    layer, points = layer_of(mask), points_of(6)
    rng = np.random.default_rng(3)
    d_output, d_log_det = rng.normal(size=points.shape), rng.normal(size=len(points))

    def value():
        output, log_det = getattr(layer, direction)(points)
        return np.sum(output * d_output) + np.sum(log_det * d_log_det)

    by_points, by_parameters = getattr(layer, f"{direction}_vjp")(points, d_output, d_log_det)
    assert_close(by_points, central_difference(value, points))
    assert_close(by_parameters, central_difference(value, layer.parameters))


def test_infinite_angle_has_no_density():
    flow = flow_of()
    x = points_of(4)
    x[0, 0], x[1, 2], x[2, 0] = np.inf, -np.inf, np.nan
    log_prob = flow.log_prob(x)
    assert list(log_prob[:2]) == [-np.inf, -np.inf] and np.isnan(log_prob[2]) and np.isfinite(log_prob[3])


def test_far_angles_stay_on_the_circle():
    for dtype in ("float32", "float64"):
        x = points_of(20, dtype)
        x[:, 0] *= np.logspace(0, 30, 20)
        z, log_det = layer_of(dtype=dtype).inverse(x)
        assert np.isfinite(log_det).all() and (np.abs(z[:, 0]) <= dtype_half(TURN, dtype)).all()


def test_fit_of_an_angle_that_turns_with_another():
    rng = np.random.default_rng(0)
    first = rng.uniform(0, TURN, 2000)
    x = np.stack([first, 2 * first + rng.vonmises(0, 8, 2000)], axis=1)
    layers = [
        nvpflow.CircularSplineCoupling(2, 16, mask, activation="silu", random_state=i)
        for i, mask in enumerate(([1, 0], [0, 1]))
    ]
    flow = nvpflow.Flow(layers, nvpflow.CircularBase([TURN] * 2))
    before = flow.log_prob(x).mean()
    flow.fit(x, max_iter=30, batch_size=200, learning_rate=1e-2, schedule="cosine", random_state=0)
    # The entropy: log 2 pi of the first angle, and 0.40 nats of the von Mises distribution.
    assert before < -3.5 and -flow.log_prob(x).mean() < 2.45


# -- arguments --


@pytest.mark.parametrize(
    "periods, error, message",
    [
        ("x", TypeError, "periods must be a number or 3 numbers or None, got 'x'"),
        ([1, 2], ValueError, "periods must be 3 numbers or None, one for each column, got \\[1, 2\\]"),
        ([1, 2, -3], ValueError, "periods\\[2\\] must be"),
        ([1, "y", 3], TypeError, "periods\\[1\\] must be a real number, got 'y'"),
        ([1, 1e-30, 1], ValueError, "periods\\[1\\] must be 0 or from 1.08e-19 to 1.84e\\+19, got 1e-30"),
        (np.inf, ValueError, "periods\\[0\\] must be"),
        (True, TypeError, "periods must be a number or 3 numbers or None, got True"),
    ],
)
def test_bad_periods(periods, error, message):
    with pytest.raises(error, match=message):
        nvpflow.CircularSplineCoupling(3, 4, periods=periods)
    if not np.isscalar(periods) and len(periods) == 3:
        with pytest.raises(error, match=message):
            nvpflow.CircularBase(periods)


def test_repr_and_state_dict():
    layer = layer_of(mask=(1, 0, 0))
    assert "periods=[6.283185307179586, 0.0, 24.0], n_bins=5" in repr(layer)
    state = layer.state_dict()
    assert state["net.0.weight"].shape == (6, 5) and state["net.4.weight"].shape == (14 + 2 * 17, 5)
    assert state["net.0.weight"][:, :2].all() and not state["net.0.weight"][:, 2:].any()
    twin = nvpflow.CircularSplineCoupling(3, (6, 5), [1, 0, 0], periods=PERIODS, activation="tanh", n_bins=5, dtype="float64")
    twin.load_state_dict(state)
    np.testing.assert_array_equal(twin.parameters, layer.parameters)
