"""Margins of columns whose density depends on a context, or on categories of the same table."""

import numpy as np
import pytest

import nvpflow

RATES = {"a": 0.0, "b": 1.0, "c": 2.0}


def mixed_table(n, seed, zeros=0.4):
    """A category, and two columns that it moves: skewed, and of which a share is zero. Also their log-density."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(list(RATES), n)
    mean = np.array([RATES[value] for value in kind])
    z, is_zero = rng.normal(size=n), rng.random(n) < zeros * mean / 2
    amount = np.where(is_zero, 0.0, 1 + rng.normal(size=n))
    table = np.empty((n, 3), dtype=object)
    table[:, 0], table[:, 1], table[:, 2] = kind, np.exp(mean + z), amount
    log_p = -np.log(3) - 0.5 * z**2 - mean - z - 0.5 * np.log(2 * np.pi)
    of_amount = np.log1p(-zeros * mean / 2) - 0.5 * (amount - 1) ** 2 - 0.5 * np.log(2 * np.pi)
    return table, log_p + np.where(is_zero, np.nan, of_amount.astype(float))


def has_margins(flow):
    return any(isinstance(layer, nvpflow.SplineCoupling) and layer.tail_bound == 1 for layer in flow.layers)


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(support={0: "category"}, missing="marginalize", random_state=0).fit(mixed_table(1500, 0)[0])


def test_tables_with_skewed_columns_and_zeros(model):
    """Before there were margins and mixtures with peaks beside categories, this table was 1.5 nats off."""
    rows, log_p = mixed_table(4000, 1)
    known = np.isfinite(log_p)
    assert has_margins(model.flow_)
    assert np.mean((log_p - model.score_samples(rows))[known]) < 0.15
    drawn = model.sample(4000, random_state=0)
    for kind, rate in RATES.items():
        of_kind = drawn[drawn[:, 0] == kind]
        assert abs(np.mean(np.abs(of_kind[:, 2].astype(float)) < 0.01) - 0.2 * rate) < 0.05
        assert abs(np.median(of_kind[:, 1].astype(float)) / np.exp(rate) - 1) < 0.25


def test_densities_of_rows_with_missing_cells_are_marginals(model):
    grid = np.linspace(-2, 200, 40_001)
    rows = np.empty((len(grid), 3), dtype=object)
    rows[:, 0], rows[:, 1], rows[:, 2] = "b", grid, 0.7
    whole = np.exp(model.score_samples(rows).astype(float)).sum() * (grid[1] - grid[0])
    given = np.array([["b", np.nan, 0.7]], dtype=object)
    np.testing.assert_allclose(np.exp(model.score_samples(given)[0]), whole, rtol=2e-3)
    conditional = model.conditional({0: "b", 2: 0.7})
    np.testing.assert_allclose(conditional.pdf(grid[::4000]), np.exp(model.score_samples(rows[::4000])) / whole, rtol=2e-3)


def test_files_keep_them(model, tmp_path):
    rows, _ = mixed_table(50, 2)
    model.save(tmp_path / "model.npz")
    np.testing.assert_array_equal(nvpflow.load(tmp_path / "model.npz").score_samples(rows), model.score_samples(rows))


def skewed_given(n, seed):
    rng = np.random.default_rng(seed)
    c, z = rng.uniform(-2, 2, size=(n, 2)), rng.normal(size=n)
    c[:2] = [[-2, -2], [2, 2]]
    return np.exp(c[:, :1] + 0.5 * z[:, np.newaxis]), c, -0.5 * z**2 - np.log(0.5 * np.sqrt(2 * np.pi)) - c[:, 0] - 0.5 * z


@pytest.fixture(scope="module")
def conditional():
    x, c, _ = skewed_given(500, 0)
    return nvpflow.FlowDensity(random_state=0, warm_start=True).fit(x, context=c)


def test_skewed_columns_given_a_context(conditional):
    x, c, log_p = skewed_given(4000, 1)
    assert has_margins(conditional.flow_)
    assert np.mean(log_p - conditional.score_samples(x, context=c)) < 0.15  # 0.3 without margins


def test_gradients_see_the_context_before_the_margins(conditional):
    x, c, _ = skewed_given(40, 2)
    step = 1e-3 * x  # some samples are next to 0, where slopes change within a thousandth
    ends = [conditional.score_samples(x + sign * step, context=c).astype(float) for sign in (1, -1)]
    np.testing.assert_allclose(
        conditional.grad_log_prob(x, context=c)[:, 0], (ends[0] - ends[1]) / (2 * step[:, 0]), rtol=0.05, atol=0.05
    )


def test_warm_starts_keep_them(conditional):
    x, c, log_p = skewed_given(4000, 1)
    before = np.mean(log_p - conditional.score_samples(x, context=c))
    again = skewed_given(500, 3)
    conditional.fit(again[0], context=again[1])
    assert has_margins(conditional.flow_)
    assert np.mean(log_p - conditional.score_samples(x, context=c)) < before + 0.05


def test_columns_without_need_have_none():
    """A column that is normal given its context gets no margin, however skewed it is by itself."""
    rng = np.random.default_rng(0)
    c = rng.exponential(size=(500, 1))
    model = nvpflow.FlowDensity(random_state=0).fit(3 * c + 0.1 * rng.normal(size=(500, 1)), context=c)
    assert not has_margins(model.flow_)


def half_declared(n, seed):
    """Two dependent columns of log-normal numbers, of which only the first one is declared, and their log-density."""
    z = np.random.default_rng(seed).normal(size=(n, 2)) @ np.linalg.cholesky([[1, 0.7], [0.7, 1]]).T
    log_p = -0.5 * (z @ np.linalg.inv([[1, 0.7], [0.7, 1]]) * z).sum(axis=1) - np.log(2 * np.pi) - 0.5 * np.log(0.51)
    return np.exp(z), log_p - z.sum(axis=1)


@pytest.fixture(scope="module")
def declared():
    x, _ = half_declared(800, 0)
    return nvpflow.FlowDensity(support={0: "positive"}, missing="marginalize", random_state=0).fit(x)


def test_columns_beside_a_support(declared):
    """A declared column took the margins of all others: 0.2 nats."""
    x, log_p = half_declared(4000, 1)
    assert has_margins(declared.flow_)
    assert np.mean(log_p - declared.score_samples(x)) < 0.1
    assert declared.sample(1000, random_state=0)[:, 0].min() > 0
    first = declared.marginal([0])  # an exponential of a linear tail would have no mean
    assert abs(float(np.squeeze(first.mean())) - np.exp(0.5)) < 0.3


def test_questions_to_columns_beside_a_support(declared):
    grid = np.linspace(-5, 200, 100_001)
    step = grid[1] - grid[0]
    joint = np.exp(declared.score_samples(np.column_stack([np.full(len(grid), 1.3), grid])).astype(float))
    np.testing.assert_allclose(joint.sum() * step, np.exp(declared.score_samples([[1.3, np.nan]])[0]), rtol=1e-3)
    found, at = declared.conditional({0: 1.3}), np.array([0.3, 1.0, 4.0])
    np.testing.assert_allclose(found.cdf(at), np.interp(at, grid, np.cumsum(joint)) / joint.sum(), atol=1e-3)
    given = declared.conditional({1: 1.3})
    np.testing.assert_allclose(given.cdf(given.ppf([0.1, 0.9])), [0.1, 0.9], atol=1e-5)
