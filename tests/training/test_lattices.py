"""Columns of few values: where they are, the map that undoes it, and what a fit makes of it."""

import copy

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow._training.lattice import Lattices
from nvpflow._training.margins import AS_IT_IS, BY_QUANTILES, Margins

DOUBLE = np.dtype(np.float64)
pytestmark = pytest.mark.filterwarnings("ignore:.*repeat few values")


def tenths(n, seed=0):
    """Magnitudes in tenths, of which some are frequent."""
    return np.round(4.8 + 0.3 * np.random.default_rng(seed).gamma(1.5, 1.0, n), 1)[:, np.newaxis]


def earthquakes(n, seed):
    """A depth in two branches that part with the magnitude, the magnitude in tenths, and the logarithm of a number."""
    rng = np.random.default_rng(seed)
    magnitude = tenths(n, seed)[:, 0]
    depth = rng.choice([-1, 1], n) * np.sqrt(0.2 + (magnitude - 4.8) ** 2) + 0.2 * rng.standard_normal(n)
    return np.column_stack([depth, magnitude, 1.2 * magnitude + 0.25 * rng.standard_normal(n)])


def lattice_of(x):
    found = Lattices.of(Data(np.asarray(x, float)), np.ones(np.shape(x)[1], bool))
    return None if found is None else (found.first.tolist(), found.step.tolist(), found.n_values.tolist())


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(random_state=0).fit(earthquakes(1000, 0))


class TestDetection:
    def test_tenths(self):
        x = tenths(1000)
        first, step, n = lattice_of(x)
        assert first == [x.min()]
        np.testing.assert_allclose(step, 0.1, rtol=1e-12)
        assert n == [round((x.max() - x.min()) / 0.1) + 1]

    def test_float32(self):
        assert lattice_of(tenths(1000).astype(np.float32))[2] == lattice_of(tenths(1000))[2]

    def test_values_between_which_some_are_missing(self):
        x = np.random.default_rng(0).choice([1.0, 2.5, 3.0, 6.5], (500, 1), p=[0.5, 0.2, 0.2, 0.1])
        assert lattice_of(x) == ([1.0], [0.5], [12])

    def test_missing_cells(self):
        x = tenths(1000)
        x[::3] = np.nan
        assert lattice_of(x) == lattice_of(tenths(1000)[np.arange(1000) % 3 > 0])

    @pytest.mark.parametrize(
        "values",
        [
            np.arange(18.0, 90.0),  # too many
            [0.0, 1.0, np.pi, 10.0],  # no common step
        ],
    )
    def test_other_columns(self, values):
        assert lattice_of(np.random.default_rng(0).choice(values, (2000, 1))) is None

    def test_rounded_columns_without_a_frequent_value(self):
        """Mixtures put no peaks on such values."""
        assert lattice_of(np.random.default_rng(0).integers(0, 30, (2000, 1))) is None

    def test_few_rows_of_each_value(self):
        assert lattice_of(np.arange(8.0).repeat(9)[:, np.newaxis]) is None

    def test_copies_of_rows_do_not_count(self):
        """Fifteen rows that weights or a bootstrap have copied are not columns of fifteen values."""
        rows = np.random.default_rng(0).standard_normal((15, 2)).round(2)
        rows[:, 1] = np.arange(15)
        repeated = rows.repeat(40, axis=0)
        assert lattice_of(repeated) is None
        known = Data(repeated[:, 1:], copy_of=np.arange(15).repeat(40))
        assert Lattices.of(known, np.ones(1, bool)) is None

    def test_among(self):
        x = np.hstack([tenths(500), tenths(500, 1)])
        assert Lattices.of(Data(x), np.array([False, True])).columns.tolist() == [False, True]
        assert Lattices.of(Data(x), np.zeros(2, bool)) is None


@pytest.fixture(params=[2, 9, 10, 31])
def lattices(request):
    return Lattices(np.array([3.0, 0.0]), np.array([0.25, 1.0]), np.array([request.param, 0]))


class TestMap:
    @staticmethod
    def cells(lattices, x):
        """Where the map takes numbers x, in steps from the image of the lowest value."""
        first, n = Margins([lattices.stage], DOUBLE), lattices.n_values[0]

        def image(x):
            return first.inverse(np.column_stack([x, np.zeros_like(x)]))[0][:, 0]

        low, high = image(np.array([3.0, 3 + 0.25 * (n - 1)]))
        return (image(x) - low) / (high - low) * (n - 1)

    def test_values_stay_and_become_bumps(self, lattices):
        n = lattices.n_values[0]
        values = 3 + 0.25 * np.arange(n)
        np.testing.assert_allclose(self.cells(lattices, values), np.arange(n), atol=1e-9)
        np.testing.assert_allclose(self.cells(lattices, values[1:] - 0.125), np.arange(n - 1) + 0.5, atol=1e-9)
        below, above = self.cells(lattices, values - 0.02), self.cells(lattices, values + 0.02)
        assert (above - below > 0.93).all()

    def test_what_is_next_to_the_outer_values_is_drawn_to_them(self, lattices):
        """One cell beyond the last one is a tenth of a step beyond the last value."""
        n = lattices.n_values[0]
        ends = np.array([3 - 0.025, 3 + 0.25 * (n - 1 + 0.1)])
        found = self.cells(lattices, ends)
        np.testing.assert_allclose(found, [-1.5, n - 0.5 + 1], atol=0.1)

    def test_column_without_a_lattice_stays(self, lattices):
        x = np.column_stack([np.full(50, 3.1), np.linspace(-20, 20, 50)])
        np.testing.assert_allclose(Margins([lattices.stage], DOUBLE).inverse(x)[0][:, 1], x[:, 1], atol=1e-12)

    def test_slopes_are_derivatives(self, lattices):
        first = Margins([lattices.stage], DOUBLE)
        x = np.linspace(2, 3 + 0.25 * lattices.n_values[0] + 1, 301)
        x = np.column_stack([x, np.zeros(301)])
        step = np.array([1e-7, 0])
        slope = (first.inverse(x + step)[0] - first.inverse(x - step)[0])[:, 0] / 2e-7
        np.testing.assert_allclose(first.inverse(x)[1], np.log(slope), atol=2e-3)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_known_again_from_layers(self, lattices, dtype):
        layers = Margins([lattices.stage], np.dtype(dtype)).layers(0.0)
        found = Margins.from_layers(layers, 0.0, np.dtype(dtype)).lattices
        np.testing.assert_array_equal(found.n_values, lattices.n_values)
        np.testing.assert_allclose(found.first[0], 3, atol=1e-4)
        np.testing.assert_allclose(found.step[0], 0.25, rtol=1e-4)

    def test_spread_stays_in_the_cells(self, lattices):
        values = np.arange(lattices.n_values[0]).repeat(100)
        x = np.column_stack([3 + 0.25 * values, np.zeros(len(values))])
        places = self.cells(lattices, Margins([lattices.stage], DOUBLE).spread(x)[:, 0]) - values
        assert (np.abs(places) < 0.5 + 1e-6).all() and (np.ptp(places.reshape(-1, 100), axis=1) > 0.6).all()

    def test_values_off_the_lattice_stay(self, lattices):
        x = np.column_stack([[3.1, 2.0, 100.0], np.zeros(3)])
        np.testing.assert_allclose(Margins([lattices.stage], DOUBLE).spread(x), x, atol=1e-9)

    def test_log_slopes_are_those_at_the_values(self, lattices):
        margins = Margins.behind(lattices, None, DOUBLE)
        x = np.column_stack([np.full(20, 3.25), np.zeros(20)])
        np.testing.assert_allclose(margins.log_slopes(x), margins.inverse(x)[1], atol=1e-12)
        assert (margins.inverse(margins.spread(x))[1] < margins.log_slopes(x)).any()

    def test_shapes_are_those_behind(self, lattices):
        x = np.random.default_rng(0).exponential(size=(500, 2))
        behind = Margins.fit(x, None, np.array([AS_IT_IS, BY_QUANTILES]), DOUBLE)
        margins = Margins.behind(lattices, behind, DOUBLE)
        np.testing.assert_array_equal(margins.shapes, [AS_IT_IS, BY_QUANTILES])
        assert margins.n_parameters == behind.n_parameters


class TestFit:
    def test_more_likely_than_peaks(self, model):
        test = earthquakes(1000, 1)
        mixtures = [GaussianMixture(k, random_state=0).fit(earthquakes(1000, 0)) for k in (2, 8, 16, 32)]
        assert model.score(test) > max(mixture.score(test) for mixture in mixtures) + 0.5
        assert any("few values spread" in name for name in model.search_["candidate"])

    def test_samples_have_the_values(self, model):
        magnitude, test = model.sample(4000, random_state=0)[:, 1], earthquakes(4000, 1)[:, 1]
        assert (np.abs(magnitude - np.round(magnitude, 1)) < 0.01).mean() > 0.95
        shares = [(np.abs(x[:, None] - np.arange(4.8, 6.0, 0.1)) < 0.05).mean(axis=0) for x in (magnitude, test)]
        np.testing.assert_allclose(*shares, atol=0.04)

    def test_depths_know_both_branches(self, model):
        """Peaks had learnt the depths of each magnitude by itself."""
        magnitude = np.array([5.0, 5.4, 5.8])
        distance = np.sqrt(0.2 + (magnitude - 4.8) ** 2)
        for column, at in zip(magnitude, distance):
            one = model.conditional({1: column}, [0])
            depth = np.linspace(-3, 3, 3001)
            truth = sum(np.exp(-0.5 * ((depth - sign * at) / 0.2) ** 2) for sign in (-1, 1)) / (2 * 0.2 * np.sqrt(2 * np.pi))
            difference = np.abs(one.pdf(depth).ravel() - truth).sum() * (depth[1] - depth[0]) / 2
            assert difference < 0.17

    def test_density_integrates_to_one(self, model):
        one = model.conditional({0: 1.0, 2: 6.3}, [1])
        grid = np.linspace(2, 10, 400_001)
        density = one.pdf(grid).ravel()
        np.testing.assert_allclose(np.trapezoid(density, grid), 1, atol=1e-4)
        np.testing.assert_allclose(one.mean(), np.trapezoid(density * grid, grid), atol=2e-4)
        np.testing.assert_allclose(one.cdf(5.26), np.trapezoid(density[grid < 5.26], grid[grid < 5.26]), atol=1e-4)

    def test_what_others_determine_stays(self):
        """Spread, a sum of whole numbers would leave the plane in which the rows lie."""
        rng = np.random.default_rng(0)
        parts = rng.binomial(9, [0.2, 0.4], (1000, 2))
        x = np.column_stack([parts, parts.sum(axis=1), parts[:, 0] + rng.standard_normal(1000)]).astype(float)
        with pytest.warns(UserWarning, match="linear combinations"):
            model = nvpflow.FlowDensity(random_state=0).fit(x)
        drawn = model.sample(2000, random_state=0)
        assert (np.abs(drawn[:, 0] + drawn[:, 1] - drawn[:, 2]) < 0.1).mean() > 0.9

    def test_units_do_not_matter(self, model):
        scale, shift = np.array([3.0, 10.0, 0.1]), np.array([5.0, -20.0, 1.0])
        other = nvpflow.FlowDensity(random_state=0).fit(earthquakes(1000, 0) * scale + shift)
        test = earthquakes(500, 2)
        assert abs(other.score(test * scale + shift) + np.log(scale).sum() - model.score(test)) < 0.05

    def test_saved_and_loaded(self, model, tmp_path):
        model.save(tmp_path / "model.npz")
        test = earthquakes(100, 3)
        np.testing.assert_array_equal(nvpflow.load(tmp_path / "model.npz").score_samples(test), model.score_samples(test))


class TestGivenAContext:
    """As targets of a regression are: answers from 1 to 7 that grow with the first of two columns, and spread with the second."""

    @staticmethod
    def answers(n, seed):
        rng = np.random.default_rng(seed)
        X = rng.uniform(-1, 1, (n, 2))
        hidden = 4 + 2 * X[:, 0] + (0.6 + 0.4 * X[:, 1]) * rng.standard_normal(n)
        return X, np.clip(np.round(hidden), 1, 7)

    @staticmethod
    def probabilities(X):
        scale = 0.6 + 0.4 * X[:, 1:]
        ends = np.array([-np.inf, *np.arange(1.5, 7), np.inf])
        return np.diff(norm.cdf((ends - 4 - 2 * X[:, :1]) / scale), axis=1)

    def test_probabilities_of_the_values(self):
        X, y = self.answers(1000, 0)
        model = nvpflow.FlowDensity(random_state=0).fit(y[:, np.newaxis], context=X)
        test, _ = self.answers(300, 1)
        rows = np.repeat(test, 7, axis=0)
        values = np.tile(np.arange(1.0, 8), 300)[:, np.newaxis]
        share = np.exp(model.score_samples(values, context=rows)).reshape(300, 7)
        share /= share.sum(axis=1, keepdims=True)
        truth = self.probabilities(test)
        gap = (truth * np.log(np.maximum(truth, 1e-12) / share)).sum(axis=1).mean()
        assert gap < 0.06

    def test_regression(self):
        X, y = self.answers(1000, 0)
        model = nvpflow.FlowRegressor(random_state=0).fit(X, y)
        test, _ = self.answers(1000, 1)
        truth = self.probabilities(test) @ np.arange(1.0, 8)
        assert np.sqrt(np.mean((model.predict(test) - truth) ** 2)) < 0.12
        drawn = model.sample(test[:300], random_state=0)
        assert (np.abs(drawn - np.round(drawn)) < 0.05).mean() > 0.93

    def test_means_of_zeros_and_ones_are_probabilities(self):
        X = np.random.default_rng(0).standard_normal((1000, 1))
        y = (3 * X[:, 0] + np.random.default_rng(1).logistic(size=1000) > 0).astype(float)
        found = nvpflow.FlowRegressor(random_state=0).fit(X, y).predict(X)
        assert found.min() > -0.03 and found.max() < 1.03
        assert np.sqrt(np.mean((found - 1 / (1 + np.exp(-3 * X[:, 0]))) ** 2)) < 0.06

    def test_what_the_context_determines_is_not_spread(self):
        rng = np.random.default_rng(0)
        X = rng.integers(0, 6, (600, 2)).astype(float)
        model = nvpflow.FlowRegressor(random_state=0).fit(X, X @ [1.0, 2.0])
        np.testing.assert_allclose(model.predict(X), X @ [1.0, 2.0], atol=0.02)


@pytest.mark.parametrize("share", [0.05, 0.15])
def test_rare_values_keep_their_shares(share):
    """Evenly spread over its cell, a rare value beside a frequent one had up to twice its share."""
    rng = np.random.default_rng(0)
    rare = (rng.random((600, 2)) < share).astype(float)
    x = np.column_stack([rare, rare.sum(axis=1) + rng.standard_normal(600), rng.standard_normal(600)])
    model = nvpflow.FlowDensity(random_state=0).fit(x)
    for column in (0, 1):
        assert abs(1 - float(np.ravel(model.marginal(column).cdf(0.5))[0]) - rare[:, column].mean()) < 0.025


class TestWarmStart:
    def test_more_rows_of_the_same(self, model):
        again = nvpflow.FlowDensity(random_state=0, warm_start=True).fit(earthquakes(1000, 0))
        again.fit(earthquakes(1000, 5))
        test = earthquakes(1000, 1)
        assert again.score(test) > model.score(test) - 0.15

    def test_moved_to_another_lattice(self):
        model = nvpflow.FlowDensity(random_state=0, warm_start=True).fit(earthquakes(1000, 0))
        model.fit(2 * earthquakes(1000, 1) + 0.37)
        test = earthquakes(1000, 2)
        fresh = nvpflow.FlowDensity(random_state=0).fit(2 * earthquakes(1000, 1) + 0.37)
        assert model.score(2 * test + 0.37) > fresh.score(2 * test + 0.37) - 0.15

    def test_moved_off_every_lattice(self):
        rng = np.random.default_rng(0)
        model = nvpflow.FlowDensity(random_state=0, warm_start=True).fit(earthquakes(1000, 0))
        smooth = earthquakes(1000, 1) + rng.uniform(-0.05, 0.05, (1000, 1))
        model.fit(smooth)
        fresh = nvpflow.FlowDensity(random_state=0).fit(smooth)
        test = earthquakes(1000, 2) + rng.uniform(-0.05, 0.05, (1000, 1))
        assert model.score(test) > fresh.score(test) - 0.15


def test_missing_cells_are_filled_with_values():
    """Draws between the values would have hidden the lattice from the fit."""
    x = earthquakes(1000, 0)
    rng = np.random.default_rng(1)
    x[rng.random(1000) < 0.2, 1] = np.nan
    x[rng.random(1000) < 0.2, 0] = np.nan
    model = nvpflow.FlowDensity(missing="marginalize", random_state=0).fit(x)
    assert any("few values spread" in name for name in model.search_["candidate"])
    test = earthquakes(1000, 2)
    whole = nvpflow.FlowDensity(random_state=0).fit(earthquakes(1000, 0))
    assert model.score(test) > whole.score(test) - 0.2


def test_folds_of_a_detector_spread_what_the_whole_fit_does():
    """Else peaks of other heights set the threshold: 6 % of fresh rows were outliers instead of a tenth."""
    shares = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        train, test = (np.column_stack([rng.normal(size=n), rng.poisson(3, n)]) for n in (120, 1000))
        model = nvpflow.FlowOutlierDetector(contamination=0.1, random_state=0, max_iter=2).fit(train)
        shares.append((model.predict(test) == -1).mean())
    assert 0.08 < np.mean(shares) < 0.14


def test_pieces_after_a_fit_keep_the_peaks(model):
    """Noise, and steps of Adam, are wider than the peaks, and took 7 nats of them."""
    fresh, twin = earthquakes(2000, 9), copy.deepcopy(model)
    before = twin.score(fresh)
    for seed in range(3):
        twin.partial_fit(earthquakes(1000, 10 + seed))
        assert twin.score(fresh) > before - 0.3
    assert -twin.history_["train_nll"][-1] == pytest.approx(twin.score(earthquakes(1000, 12)), abs=0.3)
