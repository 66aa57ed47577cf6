"""K-means in the core against plain NumPy."""

import numpy as np
import pytest

from nvpflow import _core
from nvpflow._training.kmeans import CLUSTER_ITER, Clusters
from support.awkward import blobs
from support.marks import both_precisions


def samples(dim, dtype, n=700):
    rng = np.random.default_rng(dim)
    centers = 3 * rng.normal(size=(6, dim))
    return (centers[rng.integers(6, size=n)] + rng.normal(size=(n, dim))).astype(dtype)


def distances(x, centers):
    return ((x[:, None].astype(float) - centers) ** 2).sum(axis=2)


def reference(clusters, k):
    """Labels and centres of the steps of Lloyd."""
    x, share = clusters.points.astype(float), clusters.share
    centers, before = x[clusters.chosen[:k]], None
    for _ in range(CLUSTER_ITER):
        labels = distances(x, centers).argmin(axis=1)
        if before is not None and (labels == before).all():
            break
        before = labels
        sums = np.array([share[labels == c].sum() for c in range(k)])
        means = [share[labels == c] @ x[labels == c] / s if s else centers[c] for c, s in enumerate(sums)]
        centers = np.array(means)
    return labels


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [1, 2, 5, 20])
@pytest.mark.parametrize("dim", [1, 2, 7, 17])
@both_precisions
def test_clusters(dim, k, weighted, dtype, every_isa):
    x = samples(dim, dtype)
    weight = np.random.default_rng(1).integers(3, size=len(x)).astype(float) if weighted else None
    clusters = Clusters(x, weight, np.random.default_rng(0))
    labels = clusters.assign(k)
    np.testing.assert_array_equal(labels, reference(clusters, k))
    shares, means, squares = clusters.moments(k)
    for c in range(k):
        own, share = clusters.x[labels == c].astype(float), clusters.share[labels == c]
        assert shares[c] == pytest.approx(max(share.sum(), 1 / len(x)))
        np.testing.assert_allclose(means[c], share @ own / shares[c], rtol=1e-12, atol=1e-12)
        expected = (own - means[c]).T * share @ (own - means[c])
        np.testing.assert_allclose(squares[c], expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("dim", [1, 2, 7])
@both_precisions
def test_new_centers(dim, dtype):
    """The cumulative distances pass the uniform numbers at the candidates; the best of them stays."""
    x = samples(dim, dtype)
    clusters, uniforms = Clusters(x, None, np.random.default_rng(0)), np.random.default_rng(0)
    uniforms.permutation(len(x))
    least = distances(clusters.points, clusters.points[:1].astype(float))[:, 0]
    clusters.assign(8)
    for chosen in clusters.chosen[1:]:
        cumulative = np.cumsum(least * clusters.share)
        candidates = np.searchsorted(cumulative / cumulative[-1], uniforms.random(3), side="right")
        near = np.minimum(least[:, None], distances(clusters.points, clusters.points[candidates].astype(float)))
        best = (clusters.share @ near).argmin()
        assert chosen == candidates[best]
        least = near[:, best]
    np.testing.assert_allclose(clusters.distances, least, rtol=1e-4 if dtype == "float32" else 1e-10, atol=1e-6)


def test_equal_points():
    """They have no distances by which to choose: any point will do."""
    clusters = Clusters(np.ones((50, 2)), None, np.random.default_rng(0))
    labels = clusters.assign(4)
    assert (labels == 0).all() and len(set(clusters.chosen)) > 1
    shares, means, squares = clusters.moments(4)
    np.testing.assert_allclose(shares, [1, 1 / 50, 1 / 50, 1 / 50])
    np.testing.assert_array_equal(means[0], 1)
    assert (squares == 0).all()


def test_distant_clusters_are_found():
    x = blobs(1000)[0] * 10
    labels = Clusters(x, None, np.random.default_rng(0)).assign(3)
    assert sorted(np.bincount(labels) // 10) == pytest.approx([20, 30, 50], abs=5)


def good():
    x, share = np.ones((5, 2)), np.full(5, 0.2)
    labels, moments = np.zeros(5, np.int64), (np.empty(2), np.empty((2, 2)), np.empty((2, 2, 2)))
    return {
        _core.kmeans: [x, share, 3, np.ones((2, 2)), labels],
        _core.add_center: [x, share, np.zeros(3), np.ones(5)],
        _core.cluster_moments: [x, share, labels, *moments],
    }


@pytest.mark.parametrize("function, places", [(_core.kmeans, 5), (_core.add_center, 4), (_core.cluster_moments, 6)])
def test_bad_arrays(function, places):
    function(*good()[function])
    for place in range(places):
        arguments = good()[function]
        if isinstance(arguments[place], int):
            arguments[place] = 0
        else:
            arguments[place] = arguments[place][:-1].astype("f2")
        with pytest.raises(ValueError, match="must be"):
            function(*arguments)


@pytest.mark.parametrize("label", [-1, 2])
def test_bad_labels(label):
    arguments = good()[_core.cluster_moments]
    arguments[2][3] = label
    with pytest.raises(ValueError, match="less than k"):
        _core.cluster_moments(*arguments)
