"""ConditionalMixtureBase: its density given the context, samples, gradients, far contexts, arguments, files and copies."""

import copy
import pickle
import re

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import kstest, multivariate_normal, norm

import nvpflow
from support.flows import make_model
from support.marks import both_kinds, both_precisions

EYE = np.eye(2)
sizes = pytest.mark.parametrize("context_dim, dim, n_components", [(1, 1, 1), (1, 1, 5), (3, 2, 4), (1, 6, 3), (5, 1, 64)])


def random_base(context_dim, dim, n_components=3, dtype="float64", spread=2.0):
    rng = np.random.RandomState(dim)
    n = context_dim + dim
    roots = np.eye(n) + 0.3 * rng.normal(size=(n_components, n, n))
    weights, means = rng.uniform(0.5, 2, n_components), spread * rng.normal(size=(n_components, n))
    return nvpflow.ConditionalMixtureBase(weights, means, roots @ roots.transpose(0, 2, 1), context_dim, dtype=dtype)


def over(base, hidden=5):
    """A flow with a coupling that reads the context."""
    layer = nvpflow.AffineCoupling(
        base.data_dim, hidden, [0] * base.data_dim, context_dim=base.context_dim, dtype=base.dtype, random_state=0
    )
    return nvpflow.Flow([layer], base=base)


def log_joint(base, v):
    """The mixture's log-density of the first columns of context and z."""
    n = v.shape[1]
    parts = zip(base.weights, base.means.astype(float)[:, :n], base.covariances[:, :n, :n])
    return logsumexp([np.log(w) + multivariate_normal(m, s).logpdf(v).reshape(len(v)) for w, m, s in parts], axis=0)


def draw(base, n, seed=0):
    context = 1.5 * np.random.RandomState(seed).normal(size=(n, base.context_dim))
    return base.sample(n, seed, context), context


# -- the density --


@sizes
@both_precisions
def test_log_prob_is_that_of_the_joint_less_that_of_the_context(context_dim, dim, n_components, dtype, every_isa):
    base = random_base(context_dim, dim, n_components, dtype)
    z, context = draw(base, 300)
    expected = log_joint(base, np.hstack([context, z])) - log_joint(base, context)
    np.testing.assert_allclose(base.log_prob(z, context), expected, **tolerance(dtype))


def tolerance(dtype):
    return {"rtol": 1e-8, "atol": 1e-8} if dtype == "float64" else {"rtol": 1e-4, "atol": 2e-4}


@both_precisions
def test_density_has_an_integral_of_one_for_any_context(dtype, every_isa):
    base = random_base(2, 1, 7, dtype)
    for context in ([0.0, 0.0], [30.0, -20.0], [1000.0, 3000.0]):
        known = np.tile(np.array([context], dtype), (4001, 1))
        middle = float(np.median(base.sample(501, 0, known[:501])))
        grid = (middle + np.linspace(-20, 20, 4001)).astype(dtype)[:, None]
        total = np.trapezoid(np.exp(base.log_prob(grid, known).astype(float)), grid[:, 0].astype(float))
        assert total == pytest.approx(1, abs=2e-2 if dtype == "float32" else 1e-6), context


@both_precisions
def test_far_contexts(dtype, every_isa):
    """One component has all of the weight, and samples have the density of it."""
    base = random_base(1, 2, 5, dtype)
    root = float(np.sqrt(np.finfo(dtype).max))
    for far in (1e3, 1e-3 * root, 1e3 * root):
        context = np.full((50, 1), far, dtype)
        assert np.isfinite(base.sample(50, 0, context)).all()
        log_prob = base.log_prob(base.sample(50, 0, context), context)
        assert not np.isnan(log_prob).any() and (far > 1e6 or (np.abs(log_prob) < 30).all())


def test_a_context_far_from_all_components_leaves_independent_columns_as_they_are(every_isa):
    """Beyond the range of squares as well: shares are never 0 / 0."""
    base = nvpflow.ConditionalMixtureBase([1, 3], [[-1, 0], [1, 0]], [EYE] * 2, 1)
    z = np.linspace(-2, 2, 9, dtype=np.float32)[:, None]
    for far in (10, 1e5, 1e18, 1e25, 3e38):
        np.testing.assert_allclose(base.log_prob(z, np.full((9, 1), far)), norm.logpdf(z[:, 0]), rtol=1e-5)


def test_points_without_a_density_and_no_numbers(every_isa):
    base, (z, context) = random_base(2, 2), draw(random_base(2, 2), 8)
    z[1, 1], z[2, 0], z[3, 1], context[4, 0], context[5, 1] = np.inf, -np.inf, np.nan, np.nan, np.inf
    log_prob = over(base).log_prob(z, context)
    assert np.isfinite(log_prob[[0, 6, 7]]).all() and (log_prob[1:3] == -np.inf).all() and np.isnan(log_prob[3:6]).all()


# -- samples --


def test_samples_have_the_conditional_distribution(every_isa):
    """By their distribution function, at a context where both branches matter."""
    base = nvpflow.ConditionalMixtureBase(
        [1, 2], [[-1, -2], [1, 1]], [[[1, 0.5], [0.5, 1]], [[1, -0.7], [-0.7, 0.9]]], 1, dtype="float64"
    )
    z = base.sample(20_000, 1, np.full((20_000, 1), 0.4))[:, 0]
    share = np.array([1, 2]) * norm.pdf(0.4, [-1, 1])
    share /= share.sum()
    mean, deviation = [-2 + 0.5 * 1.4, 1 - 0.7 * -0.6], np.sqrt([1 - 0.25, 0.9 - 0.49])
    cdf = lambda v: norm.cdf(np.asarray(v)[:, None], mean, deviation) @ share  # noqa: E731
    assert kstest(z, cdf).pvalue > 1e-3


def test_samples_are_the_same_for_any_number_of_threads_and_in_any_call():
    flow = over(random_base(2, 3, 5))
    context = np.random.RandomState(0).normal(size=(5000, 2))
    x, log_prob = flow.sample_and_log_prob(5000, 1, context)
    nll, gradient = flow.nll_and_grad(x, context)
    np.testing.assert_allclose(flow.log_prob(x, context), log_prob, rtol=1e-9)
    np.testing.assert_array_equal(flow.sample(70, 1, context[:70]), x[:70])
    flow.n_jobs = 3
    np.testing.assert_array_equal(flow.sample(5000, 1, context), x)
    again = flow.nll_and_grad(x, context)
    assert again[0] == nll and (again[1] == gradient).all()


# -- gradients --


@sizes
def test_gradients_against_differences(context_dim, dim, n_components, every_isa):
    flow = over(random_base(context_dim, dim, n_components, spread=1.0))
    x, context = draw(flow.base, 150)
    weight = np.random.RandomState(1).uniform(0.1, 2, 150)
    _, gradient = flow.nll_and_grad(x, context, weight)
    chosen = np.random.RandomState(2).permutation(flow.n_parameters)[:80]
    found = []
    for i in chosen:
        kept, sides = flow.parameters[i], []
        for h in (1e-6, -1e-6):
            flow.parameters[i] = kept + h
            sides.append(flow.nll(x, context, weight))
        flow.parameters[i] = kept
        found.append((sides[0] - sides[1]) / 2e-6)
    np.testing.assert_allclose(gradient[chosen], found, rtol=1e-4, atol=1e-6)


def test_gradient_of_the_samples(every_isa):
    flow = over(random_base(2, 3))
    x, context = draw(flow.base, 40)
    gradient = flow.grad_log_prob(x, context)
    for d, step in enumerate(1e-6 * np.eye(3)):
        difference = (flow.log_prob(x + step, context) - flow.log_prob(x - step, context)) / 2e-6
        np.testing.assert_allclose(gradient[:, d], difference, rtol=1e-4, atol=1e-6)


def test_training_learns_the_base():
    flow = over(random_base(1, 1, 2, "float32"), hidden=2)
    x, context = draw(random_base(1, 1, 5), 2000)
    before = flow.base.parameters.copy()
    history = flow.fit(x, context, max_iter=60, batch_size=256, learning_rate=1e-2, random_state=0)
    assert history["train_nll"][-1] < history["train_nll"][0] - 0.3
    assert (flow.base.parameters != before).mean() > 0.9


# -- arguments --


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (([1], [[0, 0]], [EYE], 0), ValueError, "context_dim must be at least 1, got 0"),
        (([1], [[0, 0]], [EYE], "1"), TypeError, "context_dim must be an integer, got '1'"),
        (([1], [[0, 0]], [EYE], 2), ValueError, "means must have more columns than the 2 of the context, got shape (1, 2)"),
        (([0], [[0, 0]], [EYE], 1), ValueError, "weights must be positive"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        nvpflow.ConditionalMixtureBase(*arguments)


def test_mismatched_layers():
    base = random_base(2, 2)
    options = {"dtype": "float64", "random_state": 0}
    for context_dim in (0, 3):
        layers = [nvpflow.ActNorm(2, dtype="float64"), nvpflow.AffineCoupling(2, 4, context_dim=context_dim, **options)]
        message = f"base and layers must agree in context_dim: base has 2, layers have {context_dim}"
        with pytest.raises(ValueError, match=message):
            nvpflow.Flow(layers, base=base)
    with pytest.raises(ValueError, match="base and layers must agree in data_dim: base has 2, layers have 4"):
        nvpflow.Flow([nvpflow.ActNorm(4, dtype="float64")], base=base)
    flow = nvpflow.Flow([nvpflow.ActNorm(2, dtype="float64")], base=base)  # of no layer with a network
    assert flow.context_dim == 2 and flow.sample(3, 0, [[0, 0]]).shape == (3, 2)


def test_missing_context():
    base = random_base(2, 1)
    for call in (lambda: base.log_prob([[0.0]]), lambda: base.sample(1), lambda: over(base.copy()).log_prob([[0.0]])):
        with pytest.raises(ValueError, match="context"):
            call()


# -- other units of the context --


@both_precisions
def test_context_in_other_units(dtype):
    base, (z, context) = random_base(2, 2, 4, dtype), draw(random_base(2, 2, 4), 50)
    other, scale, shift = base.copy(), np.array([20.0, 0.01]), np.array([3.0, -0.2])
    other._map_context(scale, shift)
    np.testing.assert_allclose(other.log_prob(z, context * scale + shift), base.log_prob(z, context), **tolerance(dtype))


# -- files and copies --


def test_copies():
    flow, (x, context) = make_model(2, n_components=3, conditional=True), (np.ones((4, 3)), np.zeros((4, 2)))
    expected = flow.log_prob(x, context)
    for twin in (flow.copy(), copy.deepcopy(flow), pickle.loads(pickle.dumps(flow)), nvpflow.Flow.from_config(flow.config())):
        assert type(twin.base) is nvpflow.ConditionalMixtureBase and twin.base.context_dim == 2
        twin.load_state_dict(flow.state_dict())
        np.testing.assert_array_equal(twin.log_prob(x, context), expected)


def test_from_state_dict():
    flow = over(random_base(2, 2))
    twin = nvpflow.Flow.from_state_dict(flow.state_dict(), masks=[[0, 0]], scale="tanh")
    assert isinstance(twin.base, nvpflow.ConditionalMixtureBase)
    np.testing.assert_array_equal(twin.parameters, flow.parameters)


@both_kinds
@both_precisions
def test_files(ending, dtype, tmp_path):
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    flow = make_model(2, dtype, n_components=3, conditional=True)
    flow.save(tmp_path / f"flow.{ending}")
    twin = nvpflow.load(tmp_path / f"flow.{ending}")
    assert twin.config() == flow.config() and twin.base.config() == flow.base.config()
    np.testing.assert_array_equal(twin.parameters, flow.parameters)


@pytest.mark.parametrize("change", [{"context_dim": 3}, {"context_dim": 0}, {"context_dim": 10**30}, {"data_dim": 2}, None])
def test_hostile_configurations(change):
    config = make_model(2, n_components=3, conditional=True).config()
    if change is None:
        del config["base"]["context_dim"]
    with pytest.raises((KeyError, ValueError)):
        nvpflow.Flow.from_config(config | {"base": config["base"] | (change or {})})


def test_summary():
    assert "mixture of 3 normal distributions given the context" in make_model(2, n_components=3, conditional=True).summary()
