"""Repeated rows count as often as they occur: in value shares, in the split, in the number of samples."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.dataset import check_data
from nvpflow._training.statistics import effective_size

R, rng = nvpflow.FlowDensity, np.random.default_rng
pytestmark = pytest.mark.filterwarnings("ignore:column.* repeat few values")
every_state = pytest.mark.parametrize("state", range(3))
FLOAT32 = np.dtype(np.float32)


def shares(model, values, n=20_000, width=0.5):
    """The share of samples within `width` of each value."""
    x = model.sample(n, random_state=1)
    return np.array([(np.abs(x - value) < width).all(axis=1).mean() for value in values])


@every_state
def test_five_values(state):
    p = np.array([0.25, 0.03, 0.04, 0.08, 0.6])
    x = rng(state).choice([1.0, 2, 3, 4, 5], 10_000, p=p)[:, None]
    model = R(random_state=state).fit(x)
    np.testing.assert_allclose(shares(model, np.arange(1, 6)[:, None]), p, atol=0.02)
    density = np.exp(model.score_samples(np.arange(1.0, 6)[:, None]).astype(float))
    np.testing.assert_allclose(density / density.sum(), p, atol=0.02)


@pytest.mark.filterwarnings("ignore:X has 2 distinct rows", "ignore:column.* are linear combinations")
@pytest.mark.parametrize("n", [60, 300])
def test_two_different_rows(n):
    """As particles that collapse to two, or an indicator and its complement."""
    one = rng(0).integers(0, 2, n).astype(float)
    model = R(random_state=0).fit(np.stack([one, 1 - one], axis=1))
    np.testing.assert_allclose(shares(model, [[0, 1], [1, 0]]), [1 - one.mean(), one.mean()], atol=0.05)


@every_state
def test_dependent_binary_columns(state):
    first, flips = rng(state).random((2, 4000)) < [[0.3], [0.1]]
    model = R(random_state=state).fit(np.stack([first, first ^ flips], axis=1).astype(float))
    expected = [0.7 * 0.9, 0.7 * 0.1, 0.3 * 0.1, 0.3 * 0.9]
    np.testing.assert_allclose(shares(model, [[0, 0], [0, 1], [1, 0], [1, 1]]), expected, atol=0.03)


@every_state
def test_integer_values(state):
    """Rounded numbers have the density of the numbers that were rounded."""
    ages, fresh = (np.clip(rng(i).normal(40, 12, (n, 1)), 0, 100) for i, n in ((state, 20_000), (99, 5000)))
    model, plain = R(random_state=state).fit(np.rint(ages)), R(random_state=state).fit(ages)
    assert model.score(np.rint(fresh)) == pytest.approx(plain.score(fresh), abs=0.02)
    assert model.score(fresh) == pytest.approx(plain.score(fresh), abs=0.02)
    expected = [np.mean(np.rint(fresh) == age) for age in (20, 30, 40, 50)]
    np.testing.assert_allclose(shares(model, [[20], [30], [40], [50]]), expected, atol=0.01)


@every_state
def test_value_shares_given_context(state):
    context = rng(state).choice([0.0, 1, 2], 4000)[:, None]
    y = (rng(state + 9).random((4000, 1)) < np.array([0.1, 0.5, 0.2])[context.astype(int)]).astype(float)
    model = R(random_state=state).fit(y, context=context)
    found = [(model.sample(5000, random_state=1, context=[k]) > 0.5).mean() for k in (0.0, 1.0, 2.0)]
    np.testing.assert_allclose(found, [y[context == k].mean() for k in (0.0, 1.0, 2.0)], atol=0.05)


@pytest.mark.parametrize("state", [63, 41, 5])
def test_sentinel_within_range(state):
    x = rng(state).normal(size=(2000, 3)) @ rng(state).normal(size=(3, 3))
    x[rng(state + 1).random(2000) < 0.3, 1] = -1
    expected = (np.abs(x[:, 1] + 1) < 0.05).mean()
    assert (np.abs(R(random_state=state).fit(x).sample(20_000)[:, 1] + 1) < 0.05).mean() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("state", range(6))
def test_split_of_repeated_value(state):
    x = np.where(rng(state).random(2000) < 0.6, 0, rng(state + 99).lognormal(0, 0.5, 2000))[:, None]
    assert shares(R(random_state=state).fit(x), [[0]], width=0.2) == pytest.approx(0.6, abs=0.03)


@every_state
def test_other_values_beside_repeated_value(state):
    """Many zeros take no components and no width from the other values."""
    stats = pytest.importorskip("scipy.stats")
    x = np.where(rng(state).random(2000) < 0.6, 0, rng(state + 99).lognormal(0, 0.5, 2000))[:, None]
    fresh = rng(state + 500).lognormal(0, 0.5, 3000)
    exact = np.log(0.4) + stats.lognorm(0.5).logpdf(fresh)
    assert np.mean(exact - R(random_state=state).fit(x).score_samples(fresh[:, None])) < 0.08


@every_state
@pytest.mark.parametrize("sentinel", [-999, 99_999])
def test_sentinel_rows(sentinel, state):
    x = rng(state).normal(size=(2000, 2))
    missing = rng(state + 9).random(2000) < 0.15
    x[missing, 1] = sentinel
    model = R(random_state=state).fit(x)
    drawn = model.sample(20_000, random_state=1)
    at_sentinel = np.abs(drawn[:, 1] - sentinel) < 1e-3 * abs(sentinel)
    assert at_sentinel.mean() == pytest.approx(missing.mean(), abs=0.02)
    assert np.abs(drawn[~at_sentinel]).max() < 8  # nothing lies between
    fresh = rng(100).normal(size=(2000, 2))
    exact = np.log(1 - missing.mean()) - 0.5 * (fresh**2).sum(axis=1) - np.log(2 * np.pi)
    assert np.mean(exact - model.score_samples(fresh)) < 0.05


@pytest.mark.parametrize("weight", [None, "repeated"])
def test_effective_size(weight):
    x = np.arange(40.0).reshape(10, 4)
    times = np.arange(10) % 4
    if weight:
        data = check_data(x, None, times, FLOAT32)
    else:
        data = check_data(x.repeat(times, axis=0), None, None, FLOAT32)
    assert len(data.x) == effective_size(data) == times.sum() and data.weight is None
    np.testing.assert_array_equal(data.x, x.repeat(times, axis=0))


@pytest.mark.parametrize("weight", [
    [0.5, 2**0.5, 0.0, 1.0],  # no ratios of whole numbers
    [1e6, 2e6 + 1, 0.0, 1e6],  # too many for counts
    [1e308, 1.5, 0.0, 1e307],
    [1e-300, 3e-7, 0.0, 1.0],
])  # fmt: skip
def test_relative_weights(weight):
    x = np.arange(8.0).reshape(4, 2)
    data = check_data(x, None, weight, FLOAT32)
    assert len(data.x) == 3 and data.weight.mean() == pytest.approx(1)
    np.testing.assert_allclose(check_data(x, None, np.array(weight) * 0.3, FLOAT32).weight, data.weight)


def test_integer_weights_in_lowest_terms():
    x = np.arange(8.0).reshape(4, 2)
    for weight in (
        [1, 2, 0, 1],
        [3, 6, 0, 3],
        [0.1, 0.2, 0, 0.1],
        [1.5e-300, 3e-300, 0, 1.5e-300],
        np.array([1, 2, 0, 1]) * 2.0**40,
    ):
        np.testing.assert_array_equal(check_data(x, None, weight, FLOAT32).x, x[[0, 1, 1, 3]])
    assert len(check_data(x, None, [7, 7, 7, 7], FLOAT32).x) == 4
    weight = np.array([2503, 297, 411, 6000]) * 1.5
    assert len(check_data(x, None, weight, FLOAT32).x) == 9211


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_n_samples_seen(fit):
    x = np.repeat(rng(0).normal(size=(20, 2)), 5, axis=0)
    model = getattr(R(max_iter=2, n_layers=2, hidden_dim=4), fit)(x)
    assert model.n_samples_seen_ == 100
    model = getattr(R(max_iter=2, n_layers=2, hidden_dim=4), fit)(x, sample_weight=np.arange(100) % 3)
    assert model.n_samples_seen_ == 66


def test_row_order():
    x = np.round(rng(0).normal(size=(300, 2)), 1)
    options = dict(max_iter=20, n_layers=2, hidden_dim=8, random_state=0)
    one, other = R(**options).fit(x), R(**options).fit(x[rng(1).permutation(300)])
    np.testing.assert_array_equal(one.flow_.parameters, other.flow_.parameters)


def test_epochs_and_noise():
    """Repeating the rows is more data: more batches in an epoch, less noise."""
    few = rng(0).normal(size=(100, 2))
    options = dict(n_layers=2, hidden_dim=4, random_state=0, validation_fraction=None, base="normal", max_iter=None)
    # 4500 updates of 256 samples, and beyond 10,000 samples more, by the square root: sqrt(2.56) = 1.6 times as many.
    assert R(**options).fit(np.repeat(few, 64, axis=0)).n_iter_ == 180
    assert R(**options).fit(np.repeat(few, 256, axis=0)).n_iter_ == 72
