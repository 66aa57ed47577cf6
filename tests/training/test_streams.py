"""Pieces of a stream after a fit: of the same density, of one that moves, and of columns with narrow peaks."""

import numpy as np
import pytest

import nvpflow


def clusters(n, rng):
    return 0.5 * rng.normal(size=(n, 2)) + 4 * rng.integers(0, 2, size=(n, 1))


def uneven(n, rng):
    """Years of a survey, which are no lattice, and a number that depends on them."""
    years = np.random.default_rng(0).choice(np.arange(1900, 2000), 40, replace=False)
    year = rng.choice(years, n)
    return np.column_stack([year, 0.02 * (year - 1950) + rng.normal(size=n)])


@pytest.mark.filterwarnings("ignore:.*repeat few values")
@pytest.mark.parametrize("draw", [clusters, uneven])
def test_a_fit_is_not_lost(draw):
    """Steps of training cost up to 0.06 nats of two clusters, and 9 of the peaks."""
    rng = np.random.default_rng(0)
    fresh, model = draw(5000, rng), nvpflow.FlowDensity(random_state=0).fit(draw(1000, rng))
    before = model.score(fresh)
    for _ in range(5):
        model.partial_fit(draw(1000, rng))
        assert model.score(fresh) > before - 0.01


def test_more_samples_of_the_same_density_gain():
    rng = np.random.default_rng(1)
    fresh, model = clusters(5000, rng), nvpflow.FlowDensity(random_state=0).fit(clusters(300, rng))
    before = model.score(fresh)
    for _ in range(20):
        model.partial_fit(clusters(1000, rng))
    assert model.score(fresh) > before + 0.01


@pytest.mark.parametrize("average", [0.0, 0.995])
def test_a_density_that_moves_is_followed(average):
    rng = np.random.default_rng(0)
    model = nvpflow.FlowDensity(average=average, random_state=0).fit(clusters(1000, rng))
    fresh = clusters(5000, rng) + 1
    best = nvpflow.FlowDensity(random_state=0).fit(clusters(5000, rng) + 1).score(fresh)
    before = model.score(fresh)
    for _ in range(30):
        model.partial_fit(clusters(1000, rng) + 1)
    assert model.score(fresh) > best - 0.05 > before + 1


def test_parameters_that_somebody_has_changed_are_continued():
    rng = np.random.default_rng(0)
    model = nvpflow.FlowDensity(random_state=0).fit(clusters(1000, rng)).partial_fit(clusters(1000, rng))
    model.flow_.parameters[:] = model.flow_.parameters * np.float32(1.001)
    before = model.flow_.parameters.copy()
    model.partial_fit(clusters(1000, rng))
    assert np.abs(model.flow_.parameters - before).max() < 0.01


def test_an_interrupted_piece_leaves_the_model(monkeypatch):
    rng = np.random.default_rng(0)
    model = nvpflow.FlowDensity(random_state=0).fit(clusters(1000, rng)).partial_fit(clusters(1000, rng))
    before = model.flow_.parameters.copy()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("nvpflow.optim.Adam.step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(clusters(1000, rng))
    np.testing.assert_array_equal(model.flow_.parameters, before)
