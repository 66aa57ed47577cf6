"""Importance sampling: evidence, moments and errors against exact ones, proposals of all kinds, and what the text says."""

import re

import numpy as np
import pytest

import nvpflow
from nvpflow.monte_carlo import importance_sample, psis
from nvpflow.monte_carlo.importance import ImportanceResult
from support.targets import CHOLESKY, LOG_EVIDENCE, MEAN, log_prob


@pytest.fixture(scope="module")
def result(model):
    return importance_sample(model, log_prob, 4000, random_state=1)


def test_evidence_and_moments(result):
    assert result.is_reliable and 0.001 < result.log_evidence_error < 0.02
    assert result.log_evidence == pytest.approx(LOG_EVIDENCE, abs=4 * result.log_evidence_error)
    mean, error = result.expectation()
    assert error == pytest.approx(CHOLESKY.std() * np.ones(2) / 60, rel=2) and (np.abs(mean - MEAN) < 4 * error).all()
    assert result.covariance() == pytest.approx(CHOLESKY @ CHOLESKY.T, abs=0.25)
    np.testing.assert_allclose(result.covariance(), np.cov(result.samples.T, aweights=result.weights, ddof=0))


def test_stated_errors_are_those_of_repetitions(model):
    runs = [importance_sample(model, log_prob, 500, random_state=seed) for seed in range(200)]
    for found, stated in (
        ([run.log_evidence for run in runs], [run.log_evidence_error for run in runs]),
        ([run.expectation()[0][0] for run in runs], [run.expectation()[1][0] for run in runs]),
    ):
        assert np.std(found) == pytest.approx(np.mean(stated), rel=0.2)
    assert np.mean([run.log_evidence for run in runs]) == pytest.approx(LOG_EVIDENCE, abs=0.005)


def test_fields(model, result):
    x, log_q = result.samples, result.log_proposal
    np.testing.assert_allclose(log_q, model.score_samples(x), atol=1e-4)
    np.testing.assert_array_equal(result.log_prob, log_prob(x))
    log_weights, k = psis(result.log_prob - log_q)
    np.testing.assert_array_equal(result.log_weights, log_weights)
    assert result.pareto_k == k and result.weights.sum() == pytest.approx(1)
    assert result.ess == pytest.approx(1 / (result.weights**2).sum()) and x.dtype == np.float64
    assert result.names == ("x0", "x1")


def test_a_seed_gives_the_same_samples(model, result):
    again = importance_sample(model, log_prob, 4000, batch_size=999, random_state=1)
    np.testing.assert_array_equal(again.samples, result.samples)
    assert again.log_evidence == pytest.approx(result.log_evidence, rel=1e-12)
    generator = np.random.default_rng(0)
    one, other = (importance_sample(model, log_prob, 100, random_state=generator) for _ in range(2))
    assert not np.array_equal(one.samples, other.samples)


def test_the_evidence_of_a_target_with_a_hard_edge_has_no_bias():
    """Smoothing took bounded weights for ones with a tail: by 1.5 standard errors in the mean."""
    rng = np.random.default_rng(0)
    model = nvpflow.FlowDensity(random_state=0).fit(np.abs(rng.normal(size=(1000, 1))))

    def half_normal(x):
        return np.where(x[:, 0] > 0, -0.5 * x[:, 0] ** 2, -np.inf)

    runs = [importance_sample(model, half_normal, 5000, random_state=seed) for seed in range(40)]
    assert all(run.pareto_k < 0.5 for run in runs)
    for run in runs:
        ratios = np.exp(run.log_prob - run.log_proposal)
        assert run.log_evidence == pytest.approx(np.log(ratios.mean()), abs=1e-12)
        assert run.log_evidence_error == pytest.approx(ratios.std(ddof=1) / ratios.mean() / np.sqrt(5000), rel=1e-9)
    z = [(run.log_evidence - 0.5 * np.log(np.pi / 2)) / run.log_evidence_error for run in runs]
    assert abs(np.mean(z)) < 0.5


@pytest.mark.parametrize("kind", ["Flow", "FlowEnsemble", "RealNVP", "frame"])
def test_proposals(kind, rough):
    if kind == "RealNVP":
        model = nvpflow.RealNVP(max_iter=30, random_state=0).fit(rough)
    elif kind == "FlowEnsemble":
        model = nvpflow.FlowDensity(max_iter=5, n_models=2, random_state=0).fit(rough).flow_
    elif kind == "Flow":
        model = nvpflow.FlowDensity(max_iter=5, random_state=0).fit(rough).flow_
    else:
        pandas = pytest.importorskip("pandas")
        model = nvpflow.FlowDensity(max_iter=5, random_state=0).fit(pandas.DataFrame(rough, columns=["a", "b"]))
        model.set_output(transform="pandas")
    result = importance_sample(model, log_prob, 2000, random_state=0)
    assert result.names == (("a", "b") if kind == "frame" else ("x0", "x1"))
    assert result.log_evidence == pytest.approx(LOG_EVIDENCE, abs=0.1)


def test_context_and_temperature():
    """The flow of a posterior, for one observation; a warm proposal is wider."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(1000, 1))
    model = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(theta, context=theta + rng.normal(size=(1000, 1)))

    def joint(x):
        return -0.5 * x[:, 0] ** 2 - 0.5 * (x[:, 0] - 1) ** 2 - np.log(2 * np.pi)

    evidence = -0.25 - 0.5 * np.log(4 * np.pi)  # N(1; 0, 2)
    for context in ([1.0], [[1.0]]):
        result = importance_sample(model, joint, 4000, context=context, temperature=1.3, random_state=0)
        assert result.log_evidence == pytest.approx(evidence, abs=0.03)
        assert result.samples.std() == pytest.approx(np.sqrt(0.5 * 1.3), rel=0.1)
    with pytest.raises(ValueError, match=r"context must be one row, of shape \(C,\) or \(1, C\), got shape \(4000, 1\)"):
        importance_sample(model, joint, 4000, context=np.ones((4000, 1)))


def test_bounds_of_the_target(model):
    """Points without density have no weight."""

    def half(x):
        return np.where(x[:, 0] > MEAN[0], log_prob(x), -np.inf)

    result = importance_sample(model, half, 4000, random_state=0)
    assert result.log_evidence == pytest.approx(LOG_EVIDENCE - np.log(2), abs=0.1)
    assert (result.resample(500, random_state=0)[:, 0] > MEAN[0]).all()
    mean, error = result.expectation(lambda x: (x[:, 0] > MEAN[0]).astype(float))
    assert mean == pytest.approx(1) and error == pytest.approx(0, abs=1e-6)
    values = lambda x: np.where(x[:, :1] > MEAN[0], x, np.nan)  # noqa: E731
    assert np.isfinite(result.expectation(values)).all()


def test_resample(result):
    drawn = result.resample(20_000, random_state=0)
    assert drawn.mean(axis=0) == pytest.approx(result.expectation()[0], abs=0.01)
    np.testing.assert_array_equal(drawn, result.resample(20_000, random_state=0))
    assert np.abs(np.corrcoef(drawn[1:, 0], drawn[:-1, 0])[0, 1]) < 0.05  # in random order
    counts = (drawn[:, None, 0] == result.samples[:40, 0]).sum(axis=0)
    assert (np.abs(counts - 20_000 * result.weights[:40]) < 1).all()
    assert result.resample(0).shape == (0, 2)


def test_text(result):
    assert "4000 samples in 2 dimensions" in str(
        result
    ) and "Pareto k gives no reason for doubt. What the model does not reach" in str(result)


@pytest.mark.parametrize(
    "k, n, said",
    [
        (0.3, 4000, "no reason for doubt"),
        (0.6, 100, "Not reliable yet: k = 0.60 needs at least 316 samples"),
        (0.8, 4000, "k > 0.7 a few samples carry the estimates, .* needs at least 100,000 samples"),
        (1.2, 4000, "have no finite mean"),
        (np.nan, 10, "Pareto k is unknown"),
    ],
)
def test_verdicts(k, n, said):
    one = np.zeros((n, 1))
    result = ImportanceResult(one, one[:, 0], one[:, 0], one[:, 0] - np.log(n), k, n, 0.0, 0.0, ("x0",))
    assert re.search(said, str(result)) and result.is_reliable == (k == 0.3)


def test_narrow_proposals_warn(rough):
    """A proposal that is much narrower than the target in five dimensions."""
    rng = np.random.default_rng(0)
    narrow = nvpflow.RealNVP(max_iter=5, random_state=0).fit(0.4 * rng.normal(size=(500, 5)))
    with pytest.warns(nvpflow.AccuracyWarning, match="importance_sample: Not reliable") as caught:
        result = importance_sample(narrow, lambda x: -0.5 * (x**2).sum(axis=1), random_state=0)
    assert result.pareto_k > 0.7 and caught[0].filename == __file__


@pytest.mark.parametrize(
    "target, error, message",
    [
        (3, TypeError, r"log_prob must be a function of points \(n, D\), got 3"),
        (lambda x: 0.0, ValueError, r"log_prob must return shape \(50,\) for points of shape \(50, 2\), got \(\): a function f of one"),
        (lambda x: x, ValueError, r"must return shape \(50,\) .* got \(50, 2\)"),
        (lambda x: ["a"] * len(x), TypeError, "log_prob must return real numbers"),
        (lambda x: log_prob(x) + 0j, TypeError, "log_prob must return real numbers"),
        (lambda x: None, TypeError, "what log_prob returns must be an array of real numbers, got a NoneType"),
        (lambda x: np.full(len(x), np.nan), ValueError, r"or -inf where there is no density, got nan at \["),
        (lambda x: np.full(len(x), np.inf), ValueError, "got inf at"),
        (lambda x: np.full(len(x), -np.inf), ValueError, "got -inf at all 50"),
    ],
)  # fmt: skip
def test_bad_targets(model, target, error, message):
    with pytest.raises(error, match=message):
        importance_sample(model, target, 50)


def test_errors(model, result):
    with pytest.raises(TypeError, match="model must be a FlowDensity, a Flow or a FlowEnsemble, got 'flow'"):
        importance_sample("flow", log_prob)
    with pytest.raises(TypeError, match="model must be a FlowDensity, a Flow or a FlowEnsemble, got <class"):
        importance_sample(nvpflow.FlowDensity, log_prob)
    with pytest.raises(nvpflow.NotFittedError):
        importance_sample(nvpflow.FlowDensity(), log_prob)
    with pytest.raises(ValueError, match="n_samples must be at least 2, got 1"):
        importance_sample(model, log_prob, 1)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        importance_sample(model, log_prob, 50, batch_size=0)
    with pytest.raises(ValueError, match=r"function must return shape \(4000, ...\), got \(2,\)"):
        result.expectation(lambda x: x[0])


def test_models_with_categories():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.random.default_rng(0).normal(size=60), "b": pandas.Categorical(["x", "y"] * 30)})
    mixed = nvpflow.FlowDensity(max_iter=2, random_state=0).fit(frame)
    with pytest.raises(ValueError, match="model must have columns of numbers, but it draws categories"):
        importance_sample(mixed, log_prob)


def test_a_target_may_change_its_points(model, result):
    def careless(x):
        found = log_prob(x)
        x[:] = 0
        return found

    np.testing.assert_array_equal(importance_sample(model, careless, 4000, random_state=1).samples, result.samples)
