"""Mixtures of real columns and categories: steps of expectation-maximisation by their formulas, and fits given categories."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import nvpflow
from nvpflow._training.kmeans import Clusters, moments_of_labels
from nvpflow._training.mixed_mixture import Indicators, MixedMixture, MixedSamples, block_sums

SIZES = (4, 3)


def mixed(n, seed=0):
    """Standardised columns, and the indicators of two categories."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(4, size=n), rng.integers(3, size=n)
    x = np.stack([a + 0.3 * rng.normal(size=n), 0.5 * b + (0.2 + 0.2 * a) * rng.normal(size=n)], axis=1)
    return (x - x.mean(axis=0)) / x.std(axis=0), np.hstack([np.eye(4)[a], np.eye(3)[b]])


@pytest.mark.parametrize("weighted", [False, True])
def test_steps(weighted):
    x, rows = mixed(400)
    weight = np.random.default_rng(1).uniform(0.2, 2, 400) if weighted else None
    share = np.full(400, 1 / 400) if weight is None else weight / weight.sum()
    samples = MixedSamples(x, None if weight is None else weight / weight.mean(), Indicators(rows, SIZES, weight))
    mixture = MixedMixture(samples, 5, 0.3)
    mixture.start(Clusters(x, samples.weight, np.random.default_rng(0)))
    for _ in range(3):
        log_terms = np.log(mixture.weights) + rows @ np.log(mixture.tables).T
        log_terms += np.array([multivariate_normal(*p).logpdf(x) for p in zip(mixture.means, mixture.covariances)]).T
        log_prob = np.logaddexp.reduce(log_terms, axis=1)
        parts = np.exp(log_terms - log_prob[:, None]) * share[:, None]
        counts = parts.T @ rows + 0.3 / samples.n * (share @ rows)
        assert mixture._step() == pytest.approx(-share @ log_prob, rel=1e-9)
        np.testing.assert_allclose(mixture.weights, parts.sum(axis=0), rtol=1e-9)
        np.testing.assert_allclose(mixture.means, parts.T @ x / parts.sum(axis=0)[:, None], rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(mixture.tables, counts / block_sums(counts, SIZES), rtol=1e-6, atol=1e-9)


def test_equal_rows_of_indicators_are_found():
    _, rows = mixed(300)
    known = Indicators(rows, SIZES, None)
    assert len(known.distinct) == len(np.unique(rows, axis=0))
    np.testing.assert_array_equal(known.distinct[known.classes], rows)
    np.testing.assert_allclose(block_sums(known.marginal[None], SIZES), 1)


def branches(n, seed=0):
    """Two branches, whose shares depend on one category and whose widths on another, and their log-density."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(4, size=n), rng.integers(3, size=n)
    share, width = np.array([0.1, 0.5, 0.9, 0.3])[a], np.array([0.2, 0.5, 1.0])[b]
    x = np.where(rng.random(n) < share, 1.5, -1.5) + width * rng.normal(size=n)
    parts = np.log(share) + norm.logpdf(x, 1.5, width), np.log1p(-share) + norm.logpdf(x, -1.5, width)
    return x[:, None], np.stack([a, b], axis=1).astype(float), np.logaddexp(*parts)


def fit(x, context, **options):
    support = {0: "category", 1: "category"}
    return nvpflow.FlowDensity(random_state=0, context_support=support, **options).fit(x, context=context)


@pytest.fixture(scope="module")
def model():
    return fit(*branches(600)[:2])


def test_branches_of_categories(model):
    """With the indicators as real columns of the mixtures and of the regression the gap was 0.15."""
    x, context, known = branches(5000, 1)
    assert model.flow_.base.n_indicators == 7 and model.best_iter_ == 0
    assert -0.02 < known.mean() - model.score(x, context=context) < 0.09


def test_many_values_share_what_they_have_in_common():
    """Of 30 values each has 20 rows: a normal distribution for each of them had a gap of 0.09."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=30)

    def drawn(n):
        c = rng.integers(30, size=n)
        return (mean[c] + 0.3 * rng.normal(size=n))[:, None], c[:, None].astype(float)

    x, context = drawn(600)
    fresh, of_fresh = drawn(5000)
    known = norm.logpdf(fresh[:, 0], mean[of_fresh[:, 0].astype(int)], 0.3)
    model = nvpflow.FlowDensity(random_state=0, context_support={0: "category"}).fit(x, context=context)
    assert known.mean() - model.score(fresh, context=of_fresh) < 0.09


def test_results_are_the_same_for_any_number_of_threads(model):
    x, context, _ = branches(600)
    np.testing.assert_array_equal(fit(x, context, n_jobs=2).flow_.parameters, model.flow_.parameters)
    one, two = (fit(x, context, n_models=2, max_iter=20, n_jobs=n_jobs) for n_jobs in (1, 2))
    np.testing.assert_array_equal(one.score_samples(x, context=context), two.score_samples(x, context=context))


def test_files_and_warm_starts(model, tmp_path):
    x, context, known = branches(600, 2)
    model.save(tmp_path / "model.npz")
    twin = nvpflow.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(twin.score_samples(x, context=context), model.score_samples(x, context=context))
    twin.set_params(warm_start=True, max_iter=20).fit(3 * x - 7, context=context)
    assert twin.flow_.base.n_indicators == 7
    assert known.mean() - np.log(3) - twin.score(3 * x - 7, context=context) < 0.1


def test_weights_count_rows():
    x, context, _ = branches(300)
    weight = np.where(context[:, 0] > 0, 1.0, 0.0)
    weighted = nvpflow.FlowDensity(random_state=0, max_iter=20, context_support={0: "category", 1: "category"})
    weighted.fit(x, context=context, sample_weight=np.exp(x[:, 0] / 4) * (weight + 1))
    assert np.isfinite(weighted.score_samples(x, context=context)).all()


def scales(n, seed=0):
    """Two columns, of which a category tells the size; and the log-density."""
    rng = np.random.default_rng(seed)
    kind, z = rng.integers(0, 3, n), rng.normal(size=(n, 2))
    size = np.array([0.01, 1.0, 100.0])[kind]
    return np.column_stack([size[:, np.newaxis] * z, kind]), norm.logpdf(z).sum(axis=1) - 2 * np.log(size) - np.log(3)


def test_a_component_for_each_category():
    x, (fresh, exact) = scales(300)[0], scales(4000, seed=1)
    model = nvpflow.FlowDensity(support=[None, None, "category"], random_state=0).fit(x)
    assert np.mean(exact - model.score_samples(fresh)) < 0.1  # 0.39 from clusters of k-means


def test_components_know_their_categories():
    rng = np.random.default_rng(0)
    kind, other = rng.integers(0, 3, 60), rng.integers(0, 2, 60)
    indicators = Indicators(np.hstack([np.eye(2)[other], np.eye(3)[kind]]), (2, 3), None)
    np.testing.assert_array_equal(indicators.block(1), np.eye(3)[kind])
    mixture = MixedMixture(MixedSamples(rng.normal(size=(60, 2)), None, indicators), 3)
    shares = np.bincount(kind) / 60
    mixture.start_by_category(1, *moments_of_labels(mixture.samples.x, None, kind, 3))
    np.testing.assert_allclose(mixture.weights, shares)
    np.testing.assert_allclose(mixture.means, [mixture.samples.x[kind == k].mean(axis=0) for k in range(3)])
    np.testing.assert_allclose(mixture.tables[:, :2], np.tile(indicators.marginal[:2], (3, 1)))
    assert (np.diag(mixture.tables[:, 2:]) > 0.9).all()
    np.testing.assert_allclose(mixture.tables[:, 2:].sum(axis=1), 1)
