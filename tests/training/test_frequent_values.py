"""Columns in which several values have a large share: k-means may start with each of them apart."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training import mixture_candidates
from nvpflow._training.kmeans import Clusters, Marks, ways_to_mark
from support.marks import both_precisions

VALUES = 10


def rated(n, seed):
    """A score of ten values beside two correlated real columns that depend on it. The exact log-density is not finite."""
    rng = np.random.default_rng(seed)
    score = rng.integers(VALUES, size=n)
    real = rng.normal(size=(n, 2)) @ [[1, 0.7], [0, 0.7]] + 0.1 * score[:, None]
    return np.column_stack([score + np.where(rng.random(n) < 0.15, rng.normal(size=n), 0), real])


@both_precisions
def test_clusters_hold_one_value(dtype):
    x = rated(3000, 0).astype(dtype)
    clusters = Clusters(x, None, np.random.default_rng(0), Marks.EACH)
    labels = clusters.assign(2 * VALUES)
    values = [np.unique(clusters.x[labels == k, 0]) for k in range(2 * VALUES)]
    found = {float(value[0]) for value in values if len(value) == 1}
    assert found == set(range(VALUES))


def test_ways():
    x = rated(2000, 0)
    assert ways_to_mark(x) == (Marks.NONE, Marks.FREQUENT, Marks.EACH)
    x[x[:, 0] != 2, 0] += np.random.default_rng(1).normal(size=np.count_nonzero(x[:, 0] != 2))
    assert ways_to_mark(x) == (Marks.NONE, Marks.FREQUENT)


@pytest.mark.parametrize("seed", [0, 1])
def test_default_fit_gains(seed, monkeypatch):
    x, held_out = rated(2000, seed), rated(4000, seed + 10)
    model = nvpflow.FlowDensity(random_state=seed).fit(x)
    used = model.search_["weight"] > 0
    assert any(name.endswith("each value apart") for name in model.search_["candidate"][used])
    with monkeypatch.context() as patch:
        patch.setattr(mixture_candidates, "ways_to_mark", lambda x: (Marks.NONE, Marks.FREQUENT))
        without = nvpflow.FlowDensity(random_state=seed).fit(x)
    assert model.score(held_out) > -1.1 > without.score(held_out)
