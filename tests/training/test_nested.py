"""Mixtures that start with components around one centre."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits
from nvpflow._training.kmeans import Clusters, moments_of_shells
from nvpflow._training.mixture_candidates import MOST_ROWS_OF_NESTED, NESTED, Candidates, components_of


def peak(n, seed=0, dim=1):
    """A narrow normal distribution at the centre of a wide one, a third of all samples."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)) * np.where(rng.random((n, 1)) < 1 / 3, 0.1, 1)


def part_of(x, weight=None):
    units = ColumnUnits(x, weight)
    return Candidates(Data(units.standardize(x), None, weight), units, np.arange(len(x)) % 5 == 0, 1.0, [0])


def heavy_tailed(n, seed=0):
    """Student's t with 2 degrees of freedom, in five columns."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 5)) / np.sqrt(rng.chisquare(2, size=(n, 1)) / 2)


def score_of_nested(x):
    part = part_of(x)
    names = part.fit_nested()
    assert {components_of(name) for name in names} == set(NESTED)
    return max(np.maximum(part.log_probs[name], -40).mean() for name in names)


def test_shells_are_better_starts_than_clusters(monkeypatch):
    samples = [heavy_tailed(300, seed) for seed in range(6)]
    shells = [score_of_nested(x) for x in samples]
    of_clusters = lambda x, weight, k: Clusters(x, weight, np.random.default_rng(0)).moments(k)  # noqa: E731
    monkeypatch.setattr("nvpflow._training.mixture_candidates.moments_of_shells", of_clusters)
    assert np.mean(shells) > np.mean([score_of_nested(x) for x in samples]) + 0.05


def test_default_fit_of_a_peak():
    found = nvpflow.FlowDensity(random_state=0).fit(peak(200, 1))
    assert any("nested" in name for name in found.search_["candidate"])
    x = peak(4000, 5)
    true = np.log(np.exp(-0.5 * x[:, 0] ** 2) * 2 / 3 + np.exp(-50 * x[:, 0] ** 2) / 0.3) - 0.5 * np.log(2 * np.pi)
    assert true.mean() - found.score(x) < 0.05


@pytest.mark.parametrize("weight", [None, np.arange(1.0, 101.0)])
def test_shells(weight):
    x = peak(100, 3, 2)
    shares, means, squares = moments_of_shells(x, weight, 4)
    share = np.full(100, 0.01) if weight is None else weight / weight.sum()
    shell = np.argsort(np.argsort(((x - np.median(x, axis=0)) ** 2).sum(axis=1), kind="stable")) // 25
    for k in range(4):
        rows = shell == k
        np.testing.assert_allclose(shares[k], share[rows].sum())
        np.testing.assert_allclose(means[k], np.average(x[rows], axis=0, weights=share[rows]))
        offsets = (x[rows] - means[k]) * np.sqrt(share[rows])[:, None]
        np.testing.assert_allclose(squares[k], offsets.T @ offsets, atol=1e-12)


def test_only_few_rows_without_repeated_values():
    assert part_of(np.round(peak(200), 1)).fit_nested() == []
    assert part_of(peak(MOST_ROWS_OF_NESTED * 5 // 4 + 5)).fit_nested() == []
    assert part_of(peak(6)).fit_nested() == []
