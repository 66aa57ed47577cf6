"""ConditionalMixtureBase with indicators of categories in its context: density, gradients, samples, files, arguments."""

import pickle

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import nvpflow
from support.marks import both_precisions

# Columns of the context that are real, and that are indicators; columns of z; components.
sizes = pytest.mark.parametrize(
    "n_real, n_indicators, dim, n_components", [(1, 3, 1, 4), (0, 4, 2, 3), (2, 300, 2, 5), (3, 7, 5, 9)]
)


def random_base(n_real, n_indicators, dim, n_components, dtype="float64"):
    rng, n = np.random.RandomState(dim), n_real + dim
    roots = np.eye(n) + 0.4 / n * rng.normal(size=(n_components, n, n))
    base = nvpflow.ConditionalMixtureBase(
        rng.uniform(0.5, 2, n_components),
        rng.normal(size=(n_components, n)),
        roots @ roots.transpose(0, 2, 1),
        n_real + n_indicators,
        n_indicators=n_indicators,
        dtype=dtype,
    )
    base.indicator_logits[:] = rng.normal(size=base.indicator_logits.shape)
    return base


def draw(base, n):
    """Points, and contexts with a 1 among the indicators."""
    rng = np.random.RandomState(1)
    real = rng.normal(size=(n, base.context_dim - base.n_indicators))
    context = np.hstack([real, np.eye(base.n_indicators)[rng.randint(base.n_indicators, size=n)]]).astype(base.dtype)
    return base.sample(n, 0, context), context


def log_joint(base, v, indicators):
    """Up to the density of the indicators, that of the first columns of real context and z."""
    n = v.shape[1]
    log_weights = np.log(base.weights)[:, None] + base.indicator_logits.astype(float) @ indicators.T
    parts = zip(log_weights, base.means.astype(float)[:, :n], base.covariances[:, :n, :n])
    return logsumexp([w + (multivariate_normal(m, s).logpdf(v).reshape(len(v)) if n else 0) for w, m, s in parts], axis=0)


@sizes
@both_precisions
def test_log_prob(n_real, n_indicators, dim, n_components, dtype, every_isa):
    base = random_base(n_real, n_indicators, dim, n_components, dtype)
    z, context = draw(base, 300)
    real, indicators = context[:, :n_real], context[:, n_real:].astype(float)
    expected = log_joint(base, np.hstack([real, z]), indicators) - log_joint(base, real, indicators)
    np.testing.assert_allclose(base.log_prob(z, context), expected, **(
        {"rtol": 1e-8, "atol": 1e-8} if dtype == "float64" else {"rtol": 1e-4, "atol": 2e-4}
    ))  # fmt: skip


@sizes
def test_gradients(n_real, n_indicators, dim, n_components, every_isa):
    base = random_base(n_real, n_indicators, dim, n_components)
    z, context = draw(base, 150)
    layer = nvpflow.AffineCoupling(dim, 5, [0] * dim, context_dim=base.context_dim, dtype="float64", random_state=0)
    flow = nvpflow.Flow([layer], base=base)
    _, gradient = flow.nll_and_grad(z, context)
    tables = np.arange(flow.n_parameters - base.indicator_logits.size, flow.n_parameters)
    for i in [*np.random.RandomState(2).permutation(flow.n_parameters)[:30], *tables[:: max(1, len(tables) // 30)]]:
        kept, sides = flow.parameters[i], []
        for step in (1e-6, -1e-6):
            flow.parameters[i] = kept + step
            sides.append(flow.nll_and_grad(z, context)[0])
        flow.parameters[i] = kept
        assert gradient[i] == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-6), i
    points = z[:20]
    found, h = flow.grad_log_prob(points, context[:20]), 1e-5
    for column in range(dim):
        step = h * np.eye(dim)[column]
        slope = (flow.log_prob(points + step, context[:20]) - flow.log_prob(points - step, context[:20])) / (2 * h)
        np.testing.assert_allclose(found[:, column], slope, rtol=1e-5, atol=1e-6)


def test_indicators_choose_the_components(every_isa):
    """A table of probabilities: the shares given a category are those of Bayes."""
    base = nvpflow.ConditionalMixtureBase([1, 1], [[-9], [9]], [[[1]]] * 2, 3, n_indicators=3, dtype="float64")
    base.indicator_logits[:] = np.log([[0.6, 0.3, 0.1], [0.1, 0.3, 0.6]])
    for category, share in enumerate([6 / 7, 1 / 2, 1 / 7]):
        z = base.sample(20_000, category, np.tile(np.eye(3)[category], (20_000, 1)))
        assert np.mean(z < 0) == pytest.approx(share, abs=0.015)


def test_without_indicators_nothing_changes():
    base = nvpflow.ConditionalMixtureBase([1, 2], [[0, -1], [0, 1]], [np.eye(2)] * 2, 1, n_indicators=0)
    assert "n_indicators" not in base.config() and base.indicator_logits.shape == (2, 0)
    assert list(base.state_dict()) == ["logits", "means", "factors"]


@both_precisions
def test_files_and_copies(dtype, tmp_path):
    base = random_base(2, 4, 2, 3, dtype)
    z, context = draw(base, 50)
    flow = nvpflow.Flow([nvpflow.AffineCoupling(2, 5, [0, 1], context_dim=6, dtype=dtype, random_state=0)], base=base)
    expected = flow.log_prob(z, context)
    flow.save(tmp_path / "flow.npz")
    twins = [nvpflow.load(tmp_path / "flow.npz"), pickle.loads(pickle.dumps(flow)), flow.copy()]
    for twin in twins:
        assert twin.base.n_indicators == 4
        np.testing.assert_array_equal(twin.log_prob(z, context), expected)
    assert base.copy().config() == {**base.config()} and base.config()["n_indicators"] == 4
    other = nvpflow.Flow([flow.layers[0].copy()], base=random_base(2, 4, 2, 3, dtype))
    other.base.indicator_logits[:] = 0
    other.load_state_dict(flow.state_dict())
    np.testing.assert_array_equal(other.log_prob(z, context), expected)


def test_damaged_configurations_and_states():
    base = random_base(1, 2, 1, 2)
    flow = nvpflow.Flow([nvpflow.AffineCoupling(1, 5, [0], context_dim=3, dtype="float64", random_state=0)], base=base)
    with pytest.raises(ValueError, match="n_indicators must be at most the 3 columns of the context, got 4"):
        nvpflow.ConditionalMixtureBase._from_config({**base.config(), "n_indicators": 4}, "float64")
    state = flow.state_dict()
    state["base.indicator_logits"] = np.zeros((2, 4))
    with pytest.raises(ValueError, match="indicator_logits"):
        flow.load_state_dict(state)


@pytest.mark.parametrize(
    "n_indicators, error, message",
    [
        (3, ValueError, "n_indicators must be at most the 2 columns of the context, got 3"),
        (-1, ValueError, "n_indicators must be at least 0, got -1"),
        (1.5, TypeError, "n_indicators must be an integer, got 1.5"),
    ],
)
def test_bad_arguments(n_indicators, error, message):
    with pytest.raises(error, match=message):
        nvpflow.ConditionalMixtureBase([1], [[0, 0, 0]], [np.eye(3)], 2, n_indicators=n_indicators)
    with pytest.raises(ValueError, match="more columns than the 1 of the context that are not indicators"):
        nvpflow.ConditionalMixtureBase([1], [[0]], [[[1]]], 2, n_indicators=1)
