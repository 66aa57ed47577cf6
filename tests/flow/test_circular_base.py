"""CircularBase: density, samples, gradients, arguments, copies and files."""

import copy
import pickle

import numpy as np
import pytest

import nvpflow
from nvpflow import plot
from support.marks import both_precisions

PERIODS = (3.0, None, 360.0)


def flow_of(dtype="float64"):
    options = {"periods": PERIODS, "dtype": dtype}
    layers = [nvpflow.CircularSplineCoupling(3, 4, mask, random_state=0, **options) for mask in ([1, 0, 1], [0, 1, 0])]
    return nvpflow.Flow(layers, nvpflow.CircularBase(PERIODS, dtype=dtype))


def points_of(n=50):
    rng = np.random.default_rng(0)
    return np.stack([rng.uniform(-1.5, 1.5, n), rng.normal(size=n), rng.uniform(-180, 180, n)], axis=1)


@both_precisions
def test_log_prob(dtype):
    base, z = nvpflow.CircularBase(PERIODS, dtype=dtype), points_of()
    expected = -np.log(3.0) - np.log(360.0) - 0.5 * z[:, 1] ** 2 - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(base.log_prob(z), expected, rtol=1e-14 if dtype == "float64" else 1e-6)
    assert base.n_parameters == 0 and base.parameters.dtype == dtype and base.state_dict() == {}


@both_precisions
def test_samples(dtype):
    z = nvpflow.CircularBase(PERIODS, dtype=dtype).sample(20_000, 0)
    assert z.dtype == dtype
    for column, period in ((0, 3.0), (2, 360.0)):
        share = 0.5 + z[:, column] / period
        assert share.min() >= 0 and share.max() < 1
        assert np.abs(np.sort(share) - (np.arange(20_000) + 0.5) / 20_000).max() < 1.95 / np.sqrt(20_000)  # Kolmogorov, 0.1 %
    assert abs(z[:, 1].mean()) < 0.03 and abs(z[:, 1].std() - 1) < 0.03
    assert np.abs(np.corrcoef(z.T) - np.eye(3)).max() < 0.03


def test_gradient_of_the_density_and_of_the_loss():
    flow, x, step = flow_of(), points_of(5), 1e-6
    grad = flow.grad_log_prob(x)
    for i in range(3):
        moved = [flow.log_prob(x + sign * step * np.eye(3)[i]) for sign in (1, -1)]
        np.testing.assert_allclose(grad[:, i], (moved[0] - moved[1]) / (2 * step), rtol=1e-5, atol=1e-8)
    _, by_parameters = flow.nll_and_grad(x)
    for k in range(0, flow.n_parameters, 37):
        values = []
        for sign in (1, -1):
            flow.parameters[k] += sign * step
            values.append(flow.nll(x))
            flow.parameters[k] -= sign * step
        assert by_parameters[k] == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_files_and_copies(ending, tmp_path):
    flow, x = flow_of("float32"), points_of().astype("float32")
    expected = flow.log_prob(x)
    flow.save(tmp_path / f"flow.{ending}")
    twins = (nvpflow.load(tmp_path / f"flow.{ending}"), flow.copy(), copy.deepcopy(flow), pickle.loads(pickle.dumps(flow)))
    for twin in twins:
        assert twin.base.periods == (3.0, 0.0, 360.0) and repr(twin.base) == "CircularBase([3.0, 0.0, 360.0], dtype='float32')"
        np.testing.assert_array_equal(twin.log_prob(x), expected)
        np.testing.assert_array_equal(twin.sample(10, 0), flow.sample(10, 0))
    assert nvpflow.Flow.from_config(flow.config()).config() == flow.config()
    state = flow.state_dict()
    twins[1].parameters[:] = 0
    twins[1].load_state_dict(state)
    np.testing.assert_array_equal(twins[1].parameters, flow.parameters)


def test_to_normal():
    base, z = nvpflow.CircularBase(PERIODS, dtype="float64"), points_of()
    y, log_det = base.to_normal(z)
    normal = nvpflow.NormalBase(3, dtype="float64")
    np.testing.assert_allclose(normal.log_prob(y) + log_det, base.log_prob(z), rtol=1e-12)
    np.testing.assert_allclose(base.from_normal(y)[0], z, atol=1e-10)
    np.testing.assert_allclose(base.from_normal(y)[1], -log_det, rtol=1e-10)
    np.testing.assert_allclose(base.to_normal(z + [6.0, 0, -360])[0], y, atol=1e-10)
    z[0, 0], z[1, 1] = np.nan, np.inf
    np.testing.assert_array_equal(base.to_normal(z)[0][:2], z[:2])


def test_display():
    assert "uniform on circles, normal elsewhere" in flow_of().summary()
    assert "uniform on circles" in flow_of()._repr_html_()


def test_figures():
    pytest.importorskip("matplotlib").use("Agg")
    flow = flow_of()
    assert plot.latent(flow, flow.sample(100, 0))
    layers = [nvpflow.CircularSplineCoupling(2, 4, mask, random_state=0) for mask in ([1, 0], [0, 1])]
    figure = plot.evolution(nvpflow.Flow(layers, nvpflow.CircularBase([6.0, 6.0])), n=20, random_state=0)
    assert "uniform on circles" in {ax.get_title() for ax in figure.axes}


def test_an_average_of_flows():
    flows = [flow_of(), flow_of()]
    flows[1].parameters[:] *= 3
    x = points_of()
    average = nvpflow.FlowEnsemble(flows)
    expected = np.logaddexp(*(flow.log_prob(x) for flow in flows)) - np.log(2)
    np.testing.assert_allclose(average.log_prob(x), expected, rtol=1e-12)


def test_bad_arguments():
    with pytest.raises(TypeError, match="periods must be a list with a number or None for each column, got 3.0"):
        nvpflow.CircularBase(3.0)
    with pytest.raises(TypeError, match="periods must be a list"):
        nvpflow.CircularBase([])
    layer = nvpflow.CircularSplineCoupling(2, 4)
    with pytest.raises(ValueError, match="base and layers must agree in data_dim: base has 3, layers have 2"):
        nvpflow.Flow(layer, nvpflow.CircularBase(PERIODS))
    with pytest.raises(ValueError, match="base and layers must agree in dtype"):
        nvpflow.Flow(layer, nvpflow.CircularBase([1, 2], dtype="float64"))
    with pytest.raises(RuntimeError, match="a base cannot be initialised twice"):
        nvpflow.CircularBase([1.0]).__init__([1.0])
