"""StudentTBase: density, gradients, samples, the map to N(0, I), arguments, copies and files."""

import copy
import math
import pickle

import numpy as np
import pytest

import nvpflow
from support.marks import both_precisions

DF = (0.8, 3.0, 40.0)


def flow_of(dtype="float64"):
    layers = [nvpflow.SplineCoupling(3, 4, mask, random_state=0, dtype=dtype) for mask in ([1, 0, 1], [0, 1, 0])]
    return nvpflow.Flow(layers, nvpflow.StudentTBase(3, DF, dtype=dtype))


def points_of(n=50):
    return np.random.default_rng(0).standard_t(1.5, (n, 3))


def log_density(z, df):
    constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    return constant - (df + 1) * np.log(np.hypot(1, z / math.sqrt(df)))


@both_precisions
def test_log_prob_as_far_as_the_type_reaches(dtype, every_isa):
    far = 3e38 if dtype == "float32" else 1e300
    z = np.concatenate([[0, 1e-30], np.geomspace(1e-3, far, 200)])[:, np.newaxis].astype(dtype)
    for df in (0.5 + 1e-6, 1, 2.5, 30, 1000):
        base = nvpflow.StudentTBase(1, df, dtype=dtype)
        expected = log_density(z[:, 0].astype("float64"), base.df[0])
        for sign in (1, -1):
            np.testing.assert_allclose(base.log_prob(sign * z), expected, rtol=1e-12 if dtype == "float64" else 5e-7)


def test_many_degrees_of_freedom_are_normal():
    z, normal = np.linspace(-8, 8, 101)[:, np.newaxis], nvpflow.NormalBase(1, dtype="float64")
    for df, error in ((1e4, 0.15), (1e6, 0.0015)):  # (z^4 - 2 z^2 - 1) / (4 df) is the first term of the difference
        difference = nvpflow.StudentTBase(1, df, dtype="float64").log_prob(z) - normal.log_prob(z)
        np.testing.assert_allclose(difference, ((z**4 - 2 * z**2 - 1) / (4 * df))[:, 0], atol=error**2)


def test_points_without_a_density():
    z = np.array([[np.inf, 0, 0], [0, -np.inf, 1], [np.nan, 0, 0], [1, 1, 1]])
    log_prob = nvpflow.StudentTBase(3, DF).log_prob(z)
    assert log_prob[0] == log_prob[1] == -np.inf and np.isnan(log_prob[2]) and np.isfinite(log_prob[3])


def test_gradients(every_isa):
    flow, x, step = flow_of(), points_of(20), 1e-6
    grad = flow.grad_log_prob(x)
    for i in range(3):
        moved = [flow.log_prob(x + sign * step * np.eye(3)[i]) for sign in (1, -1)]
        np.testing.assert_allclose(grad[:, i], (moved[0] - moved[1]) / (2 * step), rtol=1e-5, atol=1e-8)
    _, by_parameters = flow.nll_and_grad(x)
    for k in (*range(0, flow.n_parameters, 37), -1, -2, -3):
        values = []
        for sign in (1, -1):
            flow.parameters[k] += sign * step
            values.append(flow.nll(x))
            flow.parameters[k] -= sign * step
        assert by_parameters[k] == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-8)


@both_precisions
def test_gradients_are_bounded_far_away(dtype):
    base = nvpflow.StudentTBase(3, (0.51, 5, 1e6), dtype=dtype)
    far = np.array([[1e-30] * 3, [1] * 3, [-1e20] * 3, [3e38] * 3], dtype)
    flow = nvpflow.Flow(nvpflow.ActNorm(3, dtype=dtype), base)
    for x in far:
        grad = flow.nll_and_grad(x[np.newaxis])[1][-3:]
        excess = base.df - 0.5
        s = np.abs(x.astype("float64")) / np.sqrt(base.df)
        assert (np.abs(grad) <= 1 + excess * (np.log(np.hypot(1, s)) + 1)).all()
        slope = flow.grad_log_prob(x[np.newaxis])[0]
        expected = -(base.df + 1) / np.sqrt(base.df) * np.sign(x) * s / np.hypot(1, s) / np.hypot(1, s)
        np.testing.assert_allclose(slope, expected, rtol=1e-5)
    base.log_excess[:] = 20, -2000, 14
    assert (flow.nll_and_grad(far[1:2])[1][-3:] == [0, 0, 0]).all() and base.df == pytest.approx([1e6 + 0.5, 0.5, 1e6 + 0.5])


@both_precisions
def test_samples(dtype):
    base = nvpflow.StudentTBase(3, DF, dtype=dtype)
    z = base.sample(20_000, 0)
    assert z.dtype == dtype and np.isfinite(z).all()
    y = np.sort(base.to_normal(z)[0], axis=0)
    expected = (np.arange(20_000) + 0.5) / 20_000
    for column in y.T:
        assert np.abs(0.5 * (1 + np.vectorize(math.erf)(column / math.sqrt(2))) - expected).max() < 1.95 / np.sqrt(20_000)
    assert np.abs(np.corrcoef(base.to_normal(z)[0].T) - np.eye(3)).max() < 0.03
    np.testing.assert_array_equal(base.sample(100, 0), z[:100])  # sample i depends on the seed and i alone
    # They are the images of those of N(0, I) with the same seed.
    normal = nvpflow.NormalBase(3, dtype=dtype).sample(100, 0)
    np.testing.assert_allclose(base.from_normal(normal)[0], z[:100], rtol=1e-12 if dtype == "float64" else 1e-6)


def test_to_normal():
    base, z = nvpflow.StudentTBase(3, DF, dtype="float64"), points_of(500)
    z[0], z[1] = (1e30, -1e30, 1e3), (1e-30, 0, -1e-12)
    y, log_det = base.to_normal(z)
    normal = nvpflow.NormalBase(3, dtype="float64")
    np.testing.assert_allclose(normal.log_prob(y) + log_det, base.log_prob(z), rtol=1e-12)
    assert (np.sign(y) == np.sign(z)).all() and (np.diff(y[np.argsort(z[:, 0]), 0]) > 0).all()
    back, log_det_back = base.from_normal(y)
    np.testing.assert_allclose(back, z, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(log_det_back, -log_det, rtol=1e-10, atol=1e-12)
    z[0, 0], z[1, 1] = np.nan, np.inf
    y, log_det = base.to_normal(z)
    np.testing.assert_array_equal(y[:2], z[:2])
    assert (log_det[:2] == 0).all()


def test_to_normal_has_the_masses_of_the_cauchy_distribution_in_both_tails():
    z = np.geomspace(1e-2, 1e280, 200)[:, np.newaxis]
    y, _ = nvpflow.StudentTBase(1, 1, dtype="float64").to_normal(np.vstack([z, -z]))
    mass = [0.5 * math.erfc(one / math.sqrt(2)) for one in y[:200, 0]]
    np.testing.assert_allclose(mass, np.arctan(1 / z[:, 0]) / np.pi, rtol=1e-12)
    np.testing.assert_array_equal(y[200:], -y[:200])


def test_temperature_scales_latent_points():
    flow, x = flow_of(), points_of()
    hot = flow.sample(50, 0, temperature=4)
    np.testing.assert_allclose(flow.inverse(hot)[0], 2 * flow.inverse(flow.sample(50, 0))[0], rtol=1e-8, atol=1e-9)
    z, log_det = flow.inverse(x)
    np.testing.assert_allclose(
        flow.log_prob(x, temperature=4), flow.base.log_prob(z / 2) - 3 * np.log(2) + log_det, rtol=1e-10
    )


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_files_and_copies(ending, tmp_path):
    flow, x = flow_of("float32"), points_of().astype("float32")
    expected = flow.log_prob(x)
    flow.save(tmp_path / f"flow.{ending}")
    twins = (nvpflow.load(tmp_path / f"flow.{ending}"), flow.copy(), copy.deepcopy(flow), pickle.loads(pickle.dumps(flow)))
    for twin in twins:
        assert repr(twin.base) == "StudentTBase(3, df=[0.8, 3, 40], dtype='float32')"
        np.testing.assert_array_equal(twin.log_prob(x), expected)
        np.testing.assert_array_equal(twin.sample(10, 0), flow.sample(10, 0))
    state = flow.state_dict()
    assert "base.log_excess" in state and flow.base.state_dict()["log_excess"].shape == (3,)
    twins[1].parameters[:] = 0
    twins[1].load_state_dict(state)
    np.testing.assert_array_equal(twins[1].parameters, flow.parameters)
    assert nvpflow.Flow.from_config(flow.config()).config() == flow.config()


def test_a_flow_from_a_state_dict_has_the_base():
    layer = nvpflow.AffineCoupling(2, 4, [1, 0], random_state=0)
    flow = nvpflow.Flow(layer, nvpflow.StudentTBase(2, [1, 9]))
    twin = nvpflow.Flow.from_state_dict(flow.state_dict(), masks=[[1, 0]])
    assert isinstance(twin.base, nvpflow.StudentTBase)
    np.testing.assert_array_equal(twin.base.df, flow.base.df)


def test_training_finds_the_degrees_of_freedom():
    flow = nvpflow.Flow(nvpflow.ActNorm(2), nvpflow.StudentTBase(2))
    x = np.random.default_rng(0).standard_t([2, 20], (5000, 2)) * [3, 0.1]
    flow.fit(x, max_iter=500, learning_rate=0.02, random_state=0)
    assert 1.8 < flow.base.df[0] < 2.2 and flow.base.df[1] > 10


def test_an_average_of_flows_and_the_display():
    flows = [flow_of(), flow_of()]
    flows[1].base.log_excess[:] = 1
    x = points_of()
    expected = np.logaddexp(*(flow.log_prob(x) for flow in flows)) - np.log(2)
    np.testing.assert_allclose(nvpflow.FlowEnsemble(flows).log_prob(x), expected, rtol=1e-12)
    assert "Student t" in flows[0].summary() and "Student t" in flows[0]._repr_html_()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((2, "heavy"), TypeError, "df must be a real number or an array of them, got dtype"),
        ((2, [1, 2, 3]), ValueError, r"df must be a number or have shape \(2,\), got shape \(3,\)"),
        ((2, 0.5), ValueError, "df must be more than 0.5 and at most 1e[+]06, got 0.5"),
        ((2, [1, np.nan]), ValueError, "df must be more than 0.5 and at most 1e[+]06, got nan"),
        ((2, np.inf), ValueError, "got inf"),
        ((0,), ValueError, "data_dim must be"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        nvpflow.StudentTBase(*arguments)
