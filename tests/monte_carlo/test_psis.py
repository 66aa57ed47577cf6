"""Pareto smoothed importance sampling: against ArviZ, known tails, and inputs that have no tail."""

import numpy as np
import pytest

from nvpflow.monte_carlo import psis
from nvpflow.monte_carlo.psis import _fit_pareto, _quantiles, largest_k, samples_for

RATIOS = {
    "normal": np.random.default_rng(1).normal(size=1000),
    "sharp": 3 * np.random.default_rng(2).normal(size=1000),
    "light": -np.random.default_rng(3).random(500),
    "few": np.random.default_rng(4).normal(size=30),
    "wide": 40 * np.random.default_rng(5).normal(size=200),
}
# By ArviZ 0.23.4: k, and the largest and the sum of the squares of the weights.
ARVIZ = {
    "normal": (0.32774043332, 0.020795046972, 0.00288851348838),
    "sharp": (1.54019275327, 0.141778778977, 0.0773439308104),
    "light": (-0.740183595278, 0.00315389667292, 0.00215770646965),
    "few": (0.312652337451, 0.195635604827, 0.0890553926797),
    "wide": (16.0178353417, 0.999999977214, 0.999999954428),
}


@pytest.mark.parametrize("name", RATIOS)
def test_stored_results_of_arviz(name):
    log_weights, k = psis(RATIOS[name] + 1000)
    weights = np.exp(log_weights)
    assert weights.sum() == pytest.approx(1, rel=1e-12)
    assert (k, weights.max(), (weights**2).sum()) == pytest.approx(ARVIZ[name], rel=1e-9)


@pytest.mark.parametrize("name", RATIOS)
@pytest.mark.filterwarnings("ignore")
def test_against_arviz(name):
    arviz = pytest.importorskip("arviz", reason="needs ArviZ: pip install nvpflow[arviz]")
    if not hasattr(arviz, "psislw"):
        pytest.skip("ArviZ 1 has no function for log-ratios")
    expected, k = arviz.psislw(RATIOS[name].copy())
    log_weights, found = psis(RATIOS[name])
    assert found == pytest.approx(float(k), rel=1e-9)
    np.testing.assert_allclose(log_weights, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("k", [-0.5, 0, 0.3, 0.9])
def test_shape_of_a_pareto_distribution(k):
    x = np.sort(_quantiles(np.random.default_rng(0).random(4000), k, 2.0))
    assert _fit_pareto(x) == pytest.approx((k, 2), abs=0.1)


def test_quantiles():
    """Of an exponential distribution for k = 0, which the formula for small k is near; closed forms for others."""
    p = np.array([0.1, 0.5, 0.99])
    np.testing.assert_allclose(_quantiles(p, 0.0, 3.0), -3 * np.log(1 - p))
    np.testing.assert_allclose(_quantiles(p, 1e-9, 3.0), -3 * np.log(1 - p), rtol=1e-7)
    np.testing.assert_allclose(_quantiles(p, 0.5, 3.0), 6 * ((1 - p) ** -0.5 - 1))


def test_smoothing_keeps_order_and_the_largest_weight():
    ratios = RATIOS["sharp"]
    log_weights, _ = psis(ratios)
    np.testing.assert_array_equal(
        np.argsort(log_weights[log_weights < log_weights.max()]), np.argsort(ratios[log_weights < log_weights.max()])
    )
    body = ratios < np.quantile(ratios, 0.8)
    shift = (ratios - log_weights)[body]
    np.testing.assert_allclose(shift, shift[0], rtol=1e-12)
    assert (log_weights + shift[0]).max() <= ratios.max() + 1e-9


def test_inputs_without_a_tail():
    """Equal weights, few weights, zeros, one weight that is all, and ties."""
    log_weights, k = psis(np.full(100, 5.0))
    assert k == -np.inf
    np.testing.assert_allclose(log_weights, -np.log(100))
    log_weights, k = psis([0.0, 1.0, 2.0])
    assert np.isnan(k) and np.exp(log_weights) == pytest.approx(np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum())
    log_weights, k = psis([-np.inf] * 100 + [0.0])
    assert np.isnan(k) and log_weights[-1] == 0 and (log_weights[:-1] == -np.inf).all()
    log_weights, k = psis([*np.arange(100.0), 5000])
    assert k == np.inf and log_weights[-1] == 0
    assert np.isnan(psis(np.repeat([0.0, 1.0, 2.0], [100, 10, 10]))[1])
    assert psis(np.repeat([0.0, 2.0], 40))[1] == -np.inf


def test_huge_range_gives_no_warning():
    for spread in (1e2, 1e3, 1e6):
        log_weights, k = psis(spread * np.random.default_rng(0).normal(size=3000))
        assert k > 1 and np.logaddexp.reduce(log_weights) == pytest.approx(0, abs=1e-9)


def test_limits_of_k():
    assert largest_k(100) == pytest.approx(0.5) and largest_k(10**6) == 0.7 and largest_k(5) == 0
    assert samples_for(0.5) == pytest.approx(100) and largest_k(round(samples_for(0.6))) == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize(
    "ratios, message",
    [
        (np.zeros((3, 2)), r"shape \(n,\), n >= 1, got shape \(3, 2\)"),
        ([], r"got shape \(0,\)"),
        (["a", "b"], "must be real numbers"),
        ([0.0, np.nan], "must be finite or -inf"),
        ([0.0, np.inf], "must be finite or -inf"),
        ([-np.inf, -np.inf], "some finite"),
    ],
)
def test_errors(ratios, message):
    with pytest.raises(ValueError, match=f"log_ratios .*{message}"):
        psis(ratios)


def test_input_is_unchanged():
    ratios = RATIOS["sharp"].copy()
    psis(ratios)
    np.testing.assert_array_equal(ratios, RATIOS["sharp"])
