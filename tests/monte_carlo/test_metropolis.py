"""Independence Metropolis-Hastings: moments, exactness on a small chain, diagnostics against ArviZ, and errors."""

import numpy as np
import pytest

import nvpflow
from nvpflow.monte_carlo import independence_metropolis
from nvpflow.monte_carlo._convergence import _normal_scores, ess_bulk, ess_tail, split_r_hat
from nvpflow.monte_carlo.metropolis import _walk
from support.targets import CHOLESKY, LOG_EVIDENCE, MEAN, log_prob


@pytest.fixture(scope="module")
def chains(model):
    return independence_metropolis(model, log_prob, random_state=0)


def ar1(m, n, slope, seed=0):
    """Chains (m, n) of an autoregressive process, of variance 1."""
    noise = np.random.default_rng(seed).normal(size=(n, m)) * np.sqrt(1 - slope**2)
    x = np.empty((n, m))
    x[0] = noise[0] / np.sqrt(1 - slope**2)
    for t in range(1, n):
        x[t] = slope * x[t - 1] + noise[t]
    return x.T


def test_moments(chains):
    x = chains.flat_samples
    assert chains.samples.shape == (4, 1000, 2) and chains.has_converged and (x[:1000] == chains.samples[0]).all()
    error = np.sqrt(np.diag(CHOLESKY @ CHOLESKY.T) / chains.ess_bulk)
    assert (np.abs(x.mean(axis=0) - MEAN) < 4 * error).all()
    assert np.cov(x.T) == pytest.approx(CHOLESKY @ CHOLESKY.T, abs=0.4)
    np.testing.assert_array_equal(chains.log_prob, log_prob(x).reshape(4, 1000))
    assert 0.5 < chains.acceptance_rate.min() <= chains.acceptance_rate.max() < 1 and chains.pareto_k < 0.5


def test_accepted_steps_are_those_that_move(chains):
    moved = (chains.samples[:, 1:] != chains.samples[:, :-1]).any(axis=2)
    np.testing.assert_array_equal(moved, chains.accepted[:, 1:])


def test_stationary_distribution():
    """On three points with proposal shares q, the shares of a long walk are those of p."""
    p, q = np.array([0.2, 0.7, 0.1]), np.array([0.5, 0.2, 0.3])
    rng = np.random.default_rng(0)
    points = rng.choice(3, p=q, size=(3000, 40))
    chosen, _ = _walk(np.log(p / q)[points], rng)
    shares = np.bincount(points.ravel()[chosen[100:]].ravel()) / chosen[100:].size
    assert shares == pytest.approx(p, abs=0.01)


def test_walk_leaves_points_without_density():
    log_ratios = np.array([[-np.inf, 0.0], [-np.inf, -np.inf], [-700.0, -np.inf], [-np.inf, -np.inf]])
    chosen, accepted = _walk(log_ratios, np.random.default_rng(0))
    np.testing.assert_array_equal(chosen, [[2, 1], [4, 1], [4, 1]])
    np.testing.assert_array_equal(accepted, [[True, False], [True, False], [False, False]])


def test_a_seed_gives_the_same_chains(model, chains):
    again = independence_metropolis(model, log_prob, batch_size=1001, random_state=0)
    np.testing.assert_array_equal(again.samples, chains.samples)
    other = independence_metropolis(model, log_prob, random_state=1)
    assert not np.array_equal(other.samples, chains.samples)


def test_warm_up_comes_before(model):
    """The kept steps of a walk with a warm-up are the last ones of the same walk without."""
    long = independence_metropolis(model, log_prob, 600, 2, n_warmup=0, random_state=0)
    short = independence_metropolis(model, log_prob, 500, 2, n_warmup=100, random_state=0)
    np.testing.assert_array_equal(short.samples, long.samples[:, 100:])
    np.testing.assert_array_equal(short.accepted, long.accepted[:, 100:])


def test_effective_sizes_of_an_autoregressive_process():
    """(1 - slope) / (1 + slope) of the size for the mean."""
    for slope in (0.0, 0.5, 0.9, -0.5):
        chains = ar1(4, 5000, slope)
        assert ess_bulk(chains) == pytest.approx(20_000 * (1 - slope) / (1 + slope), rel=0.15)
        assert split_r_hat(chains) < 1.01
    assert ess_tail(ar1(4, 5000, 0.9)) < 6000


def test_r_hat_of_chains_that_disagree():
    chains = np.random.default_rng(0).normal(size=(4, 500))
    assert split_r_hat(chains) < 1.01 < 1.2 < split_r_hat(chains + [[0], [0], [0], [2]])
    assert split_r_hat(chains * [[1], [1], [1], [4]]) > 1.1  # in width alone
    assert split_r_hat(chains + np.linspace(0, 2, 500)) > 1.1  # a common drift
    assert split_r_hat(np.array([[1.0] * 10, [2.0] * 10])) == np.inf and np.isnan(split_r_hat(np.ones((2, 10))))


def test_normal_scores_of_ties():
    scores = _normal_scores(np.array([[3.0, 1.0, 3.0, 2.0]]))
    assert scores[0, 0] == scores[0, 2] and scores[0, 1] == pytest.approx(-1.0491, abs=1e-3)  # Phi^-1(0.625 / 4.25)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("chains", [ar1(4, 501, 0.7), ar1(2, 300, -0.5), np.round(ar1(3, 200, 0.5))])
def test_against_arviz(chains):
    arviz = pytest.importorskip("arviz", reason="needs ArviZ: pip install nvpflow[arviz]")
    data = arviz.convert_to_dataset({"x": chains})
    assert split_r_hat(chains) == pytest.approx(float(arviz.rhat(data)["x"].item()), rel=1e-6)
    assert ess_bulk(chains) == pytest.approx(float(arviz.ess(data, method="bulk")["x"].item()), rel=1e-6)
    assert ess_tail(chains) == pytest.approx(float(arviz.ess(data, method="tail", prob=(0.05, 0.95))["x"].item()), rel=1e-6)


def test_text(chains):
    text = str(chains)
    assert "4 chains of 1000 steps in 2 dimensions" in text and "The chains agree" in text
    assert f"{chains.acceptance_rate.mean():.3f}, from" in text and f"{chains.r_hat.max():.4f}" in text


def test_longest_stay(chains):
    stays = [len(run) for row in chains.accepted[:, 1:] for run in "".join("01"[int(a)] for a in row).split("1")]
    assert chains._longest_stay() == max(stays) + 1


def test_narrow_proposals_warn():
    narrow = nvpflow.RealNVP(max_iter=5, random_state=0).fit(0.4 * np.random.default_rng(0).normal(size=(500, 5)))
    with pytest.warns(nvpflow.AccuracyWarning, match="independence_metropolis: Not converged: the largest R-hat is") as caught:
        result = independence_metropolis(narrow, lambda x: -0.5 * (x**2).sum(axis=1), 200, random_state=0)
    assert caught[0].filename == __file__ and not result.has_converged and "Take more steps" in str(result)


def test_bounds_of_the_target(model):
    def half(x):
        return np.where(x[:, 0] > MEAN[0], log_prob(x), -np.inf)

    result = independence_metropolis(model, half, 4000, random_state=0)
    assert (result.flat_samples[:, 0] > MEAN[0]).all() and result.acceptance_rate.max() < 0.6


def test_errors(model):
    def hidden(x):
        return np.where(np.arange(len(x)) == len(x) - 1, LOG_EVIDENCE, -np.inf)

    with pytest.raises(ValueError, match="finite at some proposal of each chain's warm-up: n_warmup must be larger"):
        independence_metropolis(model, hidden, 10)
    for arguments, message in (
        ({"n_steps": 3}, "n_steps must be at least 4, got 3"),
        ({"n_chains": 0}, "n_chains must be at least 1, got 0"),
        ({"n_warmup": -1}, "n_warmup must be at least 0, got -1"),
        ({"temperature": 0}, "temperature must be finite and > 0"),
    ):
        with pytest.raises(ValueError, match=message):
            independence_metropolis(model, log_prob, **arguments)
    with pytest.raises(TypeError, match="log_prob must be a function"):
        independence_metropolis(model, None)
