"""The total mass is 1: sums over whole numbers and categories, integrals over the rest, for each kind and each pair of kinds."""

import itertools

import numpy as np
import pytest

import nvpflow

QUICK = dict(n_layers=2, hidden_dim=8, max_iter=5, base="normal", dtype="float64", random_state=0)
STEP = 0.1
T = np.arange(-7.5, 7.5, STEP)  # of the trapezoidal rule, on the real line
TURN = 360 * np.arange(72) / 72


def shares(t):
    """The normal distribution function, by its logistic approximation: any monotonic map to (0, 1) does."""
    return 1 / (1 + np.exp(-1.6 * t))


def slopes(t):
    return 1.6 * shares(t) * (1 - shares(t))


# Of each kind: what is declared, draws from normal numbers, and the nodes of a rule with their weights.
KINDS = {
    "real": (None, lambda z: z, T, np.full(len(T), STEP)),
    "bounded": ((-1, 3), lambda z: 4 * shares(z) - 1, 4 * shares(T) - 1, 4 * STEP * slopes(T)),
    "positive": ("positive", lambda z: np.exp(z / 2), np.exp(T / 2), STEP / 2 * np.exp(T / 2)),
    "below": ((None, 5), lambda z: 5 - np.exp(z / 2), 5 - np.exp(T / 2), STEP / 2 * np.exp(T / 2)),
    "angle": (nvpflow.Angle(0, 360), lambda z: 60 * z % 360, TURN, np.full(72, 5.0)),
    "integer": (nvpflow.Integer(), lambda z: np.floor(2 * z), np.arange(-25, 25), np.ones(50)),
    "count": (nvpflow.Integer(0, 9), lambda z: np.floor(10 * shares(z)), np.arange(10), np.ones(10)),
    "category": ("category", lambda z: np.searchsorted([-0.5, 0.5], z), np.arange(3), np.ones(3)),
}


@pytest.mark.parametrize(
    "kinds", [(kind,) for kind in KINDS] + [*itertools.combinations_with_replacement(KINDS, 2)], ids="-".join
)
def test_is_one(kinds):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 2)) @ [[1, 0.6], [0, 0.8]]
    declared, draws, nodes, weights = zip(*(KINDS[kind] for kind in kinds))
    x = np.stack([draw(column) for draw, column in zip(draws, z.T)], axis=1)
    fitted = nvpflow.FlowDensity(support=list(declared), **QUICK).fit(x)
    points = np.stack(np.meshgrid(*nodes, indexing="ij"), axis=-1).reshape(-1, len(kinds))
    weight = np.prod(np.stack(np.meshgrid(*weights, indexing="ij"), axis=-1).reshape(-1, len(kinds)), axis=1)
    assert weight @ np.exp(fitted.score_samples(points)) == pytest.approx(1, abs=2e-3)


def some_zeros(share, counts):
    return lambda rng, n: np.where(rng.random(n) < share, 0, counts(rng, n))


COUNTS = {
    "many zeros": (some_zeros(0.3, lambda rng, n: rng.poisson(8, n)), nvpflow.Integer(0)),
    "nearly all zeros": (some_zeros(0.92, lambda rng, n: np.round(rng.lognormal(4, 1, n))), nvpflow.Integer(0)),
    "zeros before even ones": (some_zeros(0.8, lambda rng, n: rng.integers(1, 101, n)), nvpflow.Integer(0, 100)),
    "even numbers": (
        lambda rng, n: rng.choice([8, 10, 12, 14, 16, 18], n, p=[0.1, 0.1, 0.4, 0.1, 0.2, 0.1]),
        nvpflow.Integer(0),
    ),
    "one that stands out": (
        lambda rng, n: np.where(rng.random(n) < 0.5, 40, np.round(rng.normal(40, 12, n))),
        nvpflow.Integer(),
    ),
    "on both ends": (lambda rng, n: np.clip(np.round(rng.normal(70, 30, n)), 0, 100), nvpflow.Integer(0, 100)),
    "rare": (lambda rng, n: rng.random(n) < 0.99, nvpflow.Integer(0, 1)),
}


@pytest.mark.parametrize("name", COUNTS)
def test_of_counts_without_a_smooth_density_is_one(name):
    # Where samples crowd within a cell, the rule of few points for its mass missed their peak, or hit it: masses were 0.1 to 1.4.
    draw, support = COUNTS[name]
    x = draw(np.random.default_rng(0), 1000).astype(float)[:, np.newaxis]
    fitted = nvpflow.FlowDensity(support=[support], random_state=0).fit(x)
    k = np.arange(-40.0, 5000)[:, np.newaxis]
    p = np.exp(fitted.score_samples(k).astype(float))
    assert p.sum() == pytest.approx(1, abs=2e-3)
    np.testing.assert_allclose(p, fitted.marginal(0).pdf(k.ravel()), atol=2e-3)


@pytest.mark.parametrize("n", [30, 100])
def test_of_an_angle_far_from_all_others_is_one(n):
    # Its broad normal distributions, of up to 32 standard deviations, had most of their mass beyond the turns that are summed.
    rng = np.random.default_rng(2)
    x = np.append(rng.vonmises(1, 60, n - 2), [-2.3, -1.3])[:, np.newaxis]
    fitted = nvpflow.FlowDensity(support=[nvpflow.Angle()], random_state=2).fit(x)
    nodes = np.linspace(-np.pi, np.pi, 2000, endpoint=False)[:, np.newaxis]
    assert 2 * np.pi * np.exp(fitted.score_samples(nodes)).mean() == pytest.approx(1, abs=2e-5)
