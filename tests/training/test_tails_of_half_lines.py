"""Samples of positive columns and counts are of the size of the data, whatever is next to the bound."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.tails import Tails
from nvpflow.supports._fitted import Supports

N = 400


def counts(rng):
    return np.column_stack([rng.normal(size=N), rng.negative_binomial(0.3, 0.03, N)])


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_overdispersed_counts(seed):
    x = counts(np.random.default_rng(seed))
    model = nvpflow.FlowDensity(support=[None, nvpflow.Integer(0)], random_state=0).fit(x)
    samples = model.sample(20_000, random_state=1)[:, 1]
    assert samples.std() < 3 * x[:, 1].std()
    assert samples.max() < 20 * x[:, 1].max()
    given = model.conditional({0: 0.0}, 1)
    assert given.std() < 2 * x[:, 1].std()


def test_upper_bounds_are_mirrored():
    x = counts(np.random.default_rng(0))
    model = nvpflow.FlowDensity(support=[None, nvpflow.Integer(None, 0)], random_state=0).fit(x * [1, -1])
    samples = model.sample(20_000, random_state=1)[:, 1]
    assert samples.min() > -20 * x[:, 1].max()


def test_given_a_context():
    rng = np.random.default_rng(1)
    context = rng.normal(size=(600, 2))
    y = rng.exponential(np.exp(2 * np.tanh(context[:, 1])))
    model = nvpflow.FlowDensity(support=["positive"], random_state=1).fit(y[:, np.newaxis], context=context)
    samples = model.sample(20_000, context=[0.8, 2.8], random_state=0)
    assert samples.max() < 10 * y.max()
    assert samples.mean() < 20  # 7.3


def test_maps_given_a_context_stay_in_files(tmp_path):
    rng = np.random.default_rng(1)
    context = rng.normal(size=(300, 1))
    y = np.exp(context + rng.normal(size=(300, 1)))
    model = nvpflow.FlowDensity(support=["positive"], random_state=0, base="normal", max_iter=2).fit(y, context=context)
    assert model.flow_.layers[-1].scales == pytest.approx([-y.max()])
    supports: Supports = model._supports
    assert not supports.is_straight.any() and supports.is_half_line.all()
    model.save(tmp_path / "model.npz")
    loaded = nvpflow.load(tmp_path / "model.npz")
    assert not loaded._supports.is_straight.any() and loaded._supports.is_half_line.all()


class TestTails:
    tails = Tails(np.full(3, 2.0), np.full(3, 5.0), np.array([np.inf, 1.0, -1.0]))
    x = np.array([[0.0, -3.0, -2.0], [9.0, 2.0, 3.0]])

    def test_narrow_components_stay(self):
        covariances = 0.01 * np.eye(3)[np.newaxis]
        found = self.tails.narrowed(self.x, 100, np.ones(1), np.zeros((1, 3)), covariances)
        np.testing.assert_array_equal(found, covariances)

    def test_few_samples_are_expected_beyond(self):
        rng = np.random.default_rng(0)
        factor = rng.normal(size=(3, 3))
        covariances = 10 * (factor @ factor.T + np.eye(3))[np.newaxis]
        found = self.tails.narrowed(self.x, 100, np.ones(1), np.zeros((1, 3)), covariances)[0]
        draws = rng.multivariate_normal(np.zeros(3), found, 1_000_000)
        assert 100 * np.mean(draws[:, 1] > 2 + 1) <= 0.3 * 1.05
        assert 100 * np.mean(draws[:, 2] < -2 - 1) <= 0.3 * 1.05
        assert np.linalg.eigvalsh(found).min() > 0

    def test_what_others_are_given_the_column_stays(self):
        covariances = np.array([[[4.0, 6.0], [6.0, 9.001]]])
        tails = Tails(np.full(2, 2.0), np.full(2, 5.0), np.array([np.inf, 1.0]))
        found = tails.narrowed(self.x[:, :2], 100, np.ones(1), np.zeros((1, 2)), covariances)[0]
        assert found[1, 1] < 2
        assert found[0, 1] / found[1, 1] == pytest.approx(6 / 9.001)
        assert found[0, 0] - found[0, 1] ** 2 / found[1, 1] == pytest.approx(4 - 36 / 9.001, rel=1e-6)

    def test_broad_normals_move_towards_the_bound(self):
        means, deviations = self.tails.broad(self.x, np.full((1, 3), 32.0))
        assert means[0, 0] == 0
        assert deviations[0] == pytest.approx([2, 1.4, 1.4])
        assert self.tails.broad(self.x, np.full((1, 3), 32.0), of_floor=True)[1][0, 0] == 5
        assert means[0, 1:] + 3 * np.array([1, -1]) * deviations[0, 1:] == pytest.approx([3, -3])  # twice the largest distance
        assert means[0, 1:] - 2 * np.array([1, -1]) * deviations[0, 1:] == pytest.approx([-4, 4])  # as before

    def test_columns_before(self):
        tails = self.tails.in_units_of(np.array([2.0, 1.0, 1.0, 4.0]))
        np.testing.assert_array_equal(tails.doubled, [np.inf, np.inf, 1.0, -0.25])
        np.testing.assert_array_equal(tails.widest, [np.inf, 2.0, 2.0, 0.5])


def test_products_beside_categories_keep_logarithms():
    """Categories of the table itself are no context: ties between columns may be linear in logarithms."""
    rng = np.random.default_rng(0)
    kinds, size = rng.choice(["a", "b"], N), np.exp(rng.normal(size=N))
    table = np.array([kinds, size, size * np.exp(0.1 * rng.normal(size=N))], dtype=object).T
    options = {"max_iter": 1, "n_layers": 1, "random_state": 0}
    model = nvpflow.FlowDensity(support=["category", "positive", "positive"], **options).fit(table)
    assert model.flow_.layers[-1].scales == (0, 0)
