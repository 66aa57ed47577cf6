"""Steps of expectation-maximisation that leave out components which are not responsible for a group of near rows."""

import numpy as np
import pytest

from nvpflow._training.em import Mixture, Samples
from nvpflow._training.kmeans import Clusters
from nvpflow._training.neighbours import LEAF, order_of_neighbours
from support.awkward import blobs
from support.marks import both_precisions


@pytest.mark.parametrize("n", [1, LEAF, LEAF + 1, 1000])
@pytest.mark.parametrize("dim", [1, 3])
def test_order_has_each_row_once(n, dim):
    x = np.random.default_rng(0).normal(size=(n, dim))
    order = order_of_neighbours(x)
    assert sorted(order) == list(range(n))
    np.testing.assert_array_equal(order, order_of_neighbours(x))


def test_rows_of_a_leaf_are_near_each_other():
    x = np.random.default_rng(0).uniform(size=(64 * LEAF, 2))
    spread = x[order_of_neighbours(x)].reshape(64, LEAF, 2).std(axis=1)
    assert spread.mean() < 1.3 / 8 * x.std()


def test_equal_rows_have_an_order():
    assert sorted(order_of_neighbours(np.zeros((500, 2), np.float32))) == list(range(500))


def started(x, weight, k):
    """A mixture that begins with clusters. Weaker than usual, the prior ties the components less to each other."""
    mixture = Mixture(Samples(x, weight), k, 0.03)
    mixture.start(Clusters(x, weight, np.random.default_rng(0)))
    return mixture


@pytest.mark.parametrize("weighted", [False, True])
@both_precisions
def test_steps_are_those_of_all_components(weighted, dtype, every_isa):
    x = blobs(2000)[0].astype(dtype)
    weight = np.random.default_rng(1).uniform(0, 2, len(x)) if weighted else None
    mixture, one_by_one = started(x, weight, 12), started(x, weight, 12)
    nll, before = mixture._steps(100), np.inf
    for _ in range(100):  # the first step of a call reads all components
        expected = one_by_one._steps(1)
        if before - expected < 1 / mixture.samples.n:
            break
        before = expected
    assert abs(nll - expected) < 1e-4
    np.testing.assert_allclose(mixture.weights, one_by_one.weights, atol=2e-3)


def test_a_component_reaches_rows_that_it_was_far_from():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(1000, 2)), rng.normal(40, 1, size=(1000, 2))])
    mixture = Mixture(Samples(x, None), 8, 0.0)
    mixture.weights, mixture.means = np.full(8, 1 / 8), rng.normal(size=(8, 2))
    mixture.means[0] = 20  # on its way it comes to be responsible for groups, in which others were before
    mixture.covariances = np.tile(np.eye(2), (8, 1, 1))
    mixture._steps(60)
    far = mixture.means[:, 0] > 30
    assert abs(mixture.weights[far].sum() - 0.5) < 1e-6
