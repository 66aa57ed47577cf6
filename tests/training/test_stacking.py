"""Stacked mixtures: what is held out, the shares, what is averaged; known densities; awkward data."""

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize

import nvpflow
from nvpflow._training import mixture_candidates, stacking
from nvpflow._training.broad import SHARE_OF_FLOOR, WIDTHS
from nvpflow._training.covariances import shrunk_to_identity
from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits
from nvpflow._training.mixture_candidates import Candidates
from nvpflow._training.stacking import stack_mixtures
from nvpflow.mixture_base import concatenated
from support.awkward import AWKWARD, blobs, log_prob
from support.marks import both_precisions


def stacked(x, weight=None, seed=0):
    """The stack where the last fifth of the rows is the validation part."""
    data = Data(x, None, weight)
    n = min(round(0.8 * len(x)), len(x) - 1)
    return stack_mixtures(data.rows(slice(n)), data.rows(slice(n, None)), seed, np.zeros(len(data.x)))


# -- the parts --


@pytest.mark.parametrize("n, n_parts, in_turn", [(8, 10, 8), (400, 10, 10), (2000, 5, 5), (8000, 5, 2), (50_000, 5, 1)])
def test_parts(n, n_parts, in_turn):
    n_validation = n // 5
    training = Data(np.random.default_rng(0).normal(size=(n - n_validation, 2)))
    parts = stacking.parts_in_turn(training, n_validation, n_parts, 0)
    assert len(parts) == in_turn
    assert sum(part.astype(int) for part in parts).max() == 1
    np.testing.assert_array_equal(np.flatnonzero(parts[0]), np.arange(n - n_validation, n))
    if in_turn >= 5:
        assert np.all(sum(part.astype(int) for part in parts) == 1)


def test_gain_of_an_average():
    rng = np.random.default_rng(0)
    squares = np.tile(np.eye(2), (2, 1, 1))
    parts = [nvpflow.MixtureBase([0.3, 0.7], rng.normal(size=(2, 2)), squares, dtype="float64") for _ in range(3)]
    average = concatenated(parts)
    x = average.sample(stacking.DRAWS, 0)
    expected = np.mean(average.log_prob(x) - np.mean([part.log_prob(x) for part in parts], axis=0))
    assert expected > 0.01
    assert stacking._gain_of_average(average, parts, 0) == pytest.approx(expected, rel=1e-9)


def test_held_out_samples_have_no_influence():
    x = blobs(300)[0]
    other = x.copy()
    other[240:] = other[240:][::-1] * 0.5
    units = ColumnUnits(x, None)
    parts = [Candidates(Data(units.standardize(y)), units, np.arange(300) >= 240, 1.0, [0]) for y in (x, other)]
    names = [[*part.fit_simple(), *part.fit(3)] for part in parts]
    assert names[0] == names[1]
    for name in names[0]:
        base, same = (part.average({name: 1.0}) for part in parts)
        np.testing.assert_array_equal(base.parameters, same.parameters)
        assert (parts[0].log_probs[name] != parts[1].log_probs[name]).all()


def test_mixtures_that_get_on_slowly_take_more_steps():
    rng = np.random.default_rng(0)
    t = rng.uniform(4, 14, 600)
    roll = np.column_stack([t * np.cos(t), t * np.sin(t), 20 * rng.uniform(size=600)]) + 0.5 * rng.normal(size=(600, 3))
    units = ColumnUnits(roll, None)
    part = Candidates(Data(units.standardize(roll)), units, np.arange(600) >= 500, 1.0, [0])
    for prior in (mixture_candidates.PRIORS[0], mixture_candidates.PRIORS[-1]):
        part.priors = (prior,)
        for name in part.fit(24):
            mixture = part._new_mixture(part.samples, 24, prior)
            mixture.weights, mixture.means, mixture.covariances = part._mixtures[name][:3]
            assert mixture._steps(1) - mixture._steps(1) < mixture_candidates.LEAST_OF_STEP


# -- the shares --


@pytest.mark.parametrize("weighted", [False, True])
def test_shares_maximise_the_likelihood(weighted):
    rng = np.random.RandomState(0)
    x, weight = rng.normal(size=200), rng.uniform(size=200) if weighted else None
    log_probs = np.array([stats.norm(mean, scale).logpdf(x) for mean, scale in ((0, 2), (1, 1), (-1, 0.7), (4, 1))])

    def loss(logits):
        shares = np.exp(logits) / np.exp(logits).sum()
        return -np.average(np.log(shares @ np.exp(log_probs)), weights=weight)

    best = minimize(loss, np.zeros(4), method="BFGS").fun
    shares = np.array(list(stacking.shares_of(dict(enumerate(log_probs)), weight).values()))
    assert abs(shares.sum() - 1) < 1e-12 and (shares >= 0).all()
    assert loss(np.log(np.maximum(shares, 1e-300))) < best + 1e-4


def test_negligible_candidates_are_dropped_alone(monkeypatch):
    rng = np.random.RandomState(0)
    x = rng.normal(size=400)
    log_probs = {i: stats.norm(mean, 0.5 + i % 3).logpdf(x) for i, mean in enumerate(np.linspace(-3, 3, 40))}
    found = stacking.shares_of(log_probs, None)
    monkeypatch.setattr(stacking, "STEPS_TO_DROP", 10**6)
    whole = stacking.shares_of(log_probs, None)
    assert list(found) == list(whole) and 10 < list(found.values()).count(0.0) < 40 > list(whole.values()).count(0.0)
    means = [stacking.log_average(log_probs, shares).mean() for shares in (found, whole)]
    assert abs(means[0] - means[1]) < 1e-4


def test_an_outlier_of_next_to_no_weight_costs_nothing():
    rng = np.random.default_rng(1)
    centres = 4 * rng.normal(size=(2, 2))
    x, fresh = (centres[rng.integers(0, 2, n)] + 0.5 * rng.normal(size=(n, 2)) for n in (2000, 5000))
    x[0], weight = 60, rng.uniform(0.5, 1.5, 2000)
    scores = []
    for weight[0] in (0, 1e-6):
        scores.append(nvpflow.FlowDensity(random_state=0).fit(x, sample_weight=weight).score(fresh))
    assert scores[1] > scores[0] - 0.02  # it was 1.5 nats below


def test_points_without_a_density():
    log_probs = {"a": np.array([-1.0, -np.inf, -np.inf]), "b": np.array([-2.0, -1.0, -np.inf])}
    shares = stacking.shares_of(log_probs, None)
    assert shares["a"] + shares["b"] == pytest.approx(1) and shares["b"] > 0.5


# -- structured covariances --


@pytest.mark.parametrize("n", [5, 30, 300])
def test_shrunk_to_identity(n):
    sklearn = pytest.importorskip("sklearn.covariance")
    x = np.random.RandomState(0).normal(size=(n, 20)) * np.arange(1, 21)
    np.testing.assert_allclose(shrunk_to_identity(x, None, n), sklearn.ledoit_wolf(x)[0], rtol=1e-9)


# -- densities --


@both_precisions
def test_known_density(dtype):
    x = blobs(1000)[0].astype(dtype)
    stack = stacked(x)
    held_out, weights, means, covariances = blobs(5000, seed=1)
    exact = log_prob(nvpflow.MixtureBase(weights, means, covariances, dtype="float64"), held_out)
    assert np.mean(exact - log_prob(stack.base, held_out)) < 0.02
    assert stack.base.dtype == np.dtype(dtype)
    np.testing.assert_allclose(stack.search["weight"].sum(), 1)
    assert 0 <= stack.gain < 0.05
    best = stack.search["candidate"][stack.search["score"].argmax()]
    assert best.startswith("mixture of ")


def test_normal_distribution_is_fitted_to_all_samples():
    x = np.random.RandomState(0).normal(size=(60, 30))
    x /= x.std(axis=0)
    stack = stacked(x)
    assert all(name.startswith("normal") for name in stack.search["candidate"][stack.search["weight"] > 0])
    assert stack.base.n_components <= 10 and stack.gain == 0
    sklearn = pytest.importorskip("sklearn.covariance")
    held_out = np.random.RandomState(1).normal(size=(2000, 30))
    assert sklearn.LedoitWolf().fit(x).score(held_out) - log_prob(stack.base, held_out).mean() < 0.05


def test_points_far_out():
    """They get a density where there are such points among the samples. Otherwise it is a millionth of that of broad normals."""
    x, far = blobs(400)[0], np.array([[60.0, -60.0]])
    units = ColumnUnits(x, None)
    squares = ((units.standardize(far) / np.array(WIDTHS)[:, None]) ** 2).sum(axis=1)
    broad = np.log(np.mean(np.exp(-squares / 2) / (2 * np.pi * np.square(WIDTHS)))) - units.log_det
    assert log_prob(stacked(x).base, far) == pytest.approx(np.log(SHARE_OF_FLOOR) + broad, abs=1e-3)
    x[::40] *= 10
    assert log_prob(stacked(x).base, far) > -20


def test_samples_of_heavy_tails_are_about_as_wide_as_the_data():
    # With one share for broad normals of 2 to 32 deviations, samples had up to 11 times the deviation of the data.
    x = np.random.default_rng(0).standard_t(4, size=(800, 10))
    drawn = stacked(x).base.sample(20_000, 0)
    assert (drawn.std(axis=0) < 2.5 * x.std(axis=0)).all()


def test_seed_and_weights():
    x, weight = blobs(300)[0], np.random.RandomState(0).uniform(size=300)
    for w in (None, weight):
        np.testing.assert_array_equal(stacked(x, w, 3).base.parameters, stacked(x, w, 3).base.parameters)
    x = np.vstack([np.random.RandomState(0).normal(size=(1000, 2)) + shift for shift in (-5, 5)])
    order = np.random.RandomState(1).permutation(2000)
    base = stacked(x[order], np.repeat([0.5, 1.5], 1000)[order]).base
    np.testing.assert_allclose(base.weights[base.means[:, 0] > 0].sum(), 0.75, atol=0.02)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", [name for name in AWKWARD if name != "one"])
@both_precisions
def test_awkward_data(name, weighted, dtype):
    x = AWKWARD[name]().astype(dtype)
    weight = np.random.RandomState(0).lognormal(0, 3, len(x)) if weighted else None
    stack = stacked(x, weight)
    assert np.isfinite(stack.base.parameters).all() and np.isfinite(stack.gain)
    assert np.isfinite(stack.held_out).all()
    assert np.isfinite(stack.base.log_prob(x)).all()


def test_candidates_whose_share_vanishes_are_left_out(monkeypatch):
    """A share of 0 would be a component of weight 0, which no base takes."""
    rng = np.random.default_rng(0)
    good = rng.normal(size=500)
    broad = f"{stacking.BROAD} of 2 deviations"
    log_probs = {
        stacking.BROAD: good - 2,
        broad: good - 2,
        f"{stacking.NORMAL}, one": good - 1,
        "mixture of 2": good + 0.1 * rng.normal(size=500),
    }
    answers = [{broad: 0.01, f"{stacking.NORMAL}, one": 0.04, "mixture of 2": 0.95}, {broad: 0.0, "mixture of 2": 1.0}]
    monkeypatch.setattr(stacking, "shares_of", lambda *_: answers.pop(0))
    assert broad not in stacking._choose(log_probs, None)


def test_many_good_mixtures_with_small_shares_do_not_leave_a_worse_one_alone():
    """Twenty-five are the same, and none has a large share; a worse one, which suits some samples, has more."""
    rng = np.random.default_rng(0)
    good = stats.norm.logpdf(rng.normal(size=1000))
    log_probs = {stacking.BROAD: good - 2, f"{stacking.NORMAL}, one": good - 0.5}
    log_probs |= {f"mixture of {i}": good for i in range(2, 27)}
    log_probs["mixture of 64"] = good + np.where(rng.random(1000) < 0.15, 1.0, -0.3)
    shares = stacking.shares_of(log_probs, None)
    assert [name for name, share in shares.items() if share >= stacking.LEAST_SHARE] == ["mixture of 64"]
    kept = stacking._choose(log_probs, None)
    of_all, of_kept = (stacking.log_average(log_probs, each).mean() for each in (shares, kept))
    assert of_kept > of_all - 1e-4 and min(kept.values()) >= stacking.LEAST_SHARE


@pytest.mark.parametrize("weighted", [False, True])
def test_normal_distribution_of_more_rows_than_one_mixture_reads(weighted):
    """Rows were sorted by their places for the mixtures, and those in one corner made the normal distribution: 1.3 nats."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30_000, 2))
    weight = rng.uniform(0.5, 1.5, len(x)) if weighted else None
    model = nvpflow.FlowDensity(random_state=0).fit(x, sample_weight=weight)
    assert abs(model.score(x) + np.log(2 * np.pi) + 1) < 0.02
    np.testing.assert_allclose(model.sample(5000, random_state=0).std(axis=0), 1, atol=0.05)


def test_every_kind_of_normal_distribution_is_fitted_to_all_rows(monkeypatch):
    monkeypatch.setattr(Candidates, "most_rows", 500)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 6)) @ rng.normal(size=(6, 6)) + 3
    units = ColumnUnits(x, None)
    candidates = Candidates(Data(units.standardize(x)), units, np.zeros(len(x), bool), 1.0, [0])
    candidates.scales = units.deviation
    names = [name for name in candidates.fit_simple() if name.startswith(stacking.NORMAL)]
    assert len(names) == 5  # shrunk to three targets, one and two factors
    candidates.fit_to_all(names)
    for name in names:
        base = candidates.average({name: 1.0})
        np.testing.assert_allclose(base.means[0], x.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(np.diag(base.covariances[0]), x.var(axis=0), rtol=0.01)
