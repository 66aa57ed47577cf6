"""Conditional and marginal densities agree with closed forms, and with the joint density that they come from."""

import numpy as np
import pytest

import nvpflow
from nvpflow import FlowDensity
from nvpflow.queries._slice import Slice
from support.samples import moons as draw_moons

MEAN, COVARIANCE = np.array([1.0, -2.0, 0.5]), np.array([[2.0, 1.2, 0.3], [1.2, 1.5, -0.4], [0.3, -0.4, 0.8]])
LAYERS = {"base": "normal", "n_layers": 4, "max_iter": 20, "random_state": 0}


def normal_model(mean=MEAN, covariance=COVARIANCE, weights=(1.0,)):
    """A model whose density is a mixture of normal distributions."""
    means, covariances = np.atleast_2d(mean), np.reshape(covariance, (-1, *np.shape(covariance)[-2:]))
    model = FlowDensity(max_iter=1, dtype="float64", random_state=0)
    model.fit(np.random.default_rng(0).normal(size=(60, means.shape[1])))
    base = nvpflow.MixtureBase(weights, means, covariances, dtype="float64")
    identity = nvpflow.ActNorm(means.shape[1], dtype="float64")
    model.flow_, model.origin_ = nvpflow.Flow([identity], base), np.zeros(means.shape[1])
    return model


def regression(given, values):
    """Mean and covariance of the other columns of the normal distribution."""
    free = [i for i in range(3) if i not in given]
    slopes = COVARIANCE[np.ix_(free, given)] @ np.linalg.inv(COVARIANCE[np.ix_(given, given)])
    mean = MEAN[free] + slopes @ (np.asarray(values) - MEAN[given])
    return mean, COVARIANCE[np.ix_(free, free)] - slopes @ COVARIANCE[np.ix_(given, free)]


@pytest.fixture(scope="module")
def moons():
    return draw_moons(600)


@pytest.fixture(scope="module")
def averaged(moons):
    """An average of mixtures."""
    return FlowDensity(random_state=0).fit(moons)


@pytest.fixture(scope="module")
def layered(moons):
    """Trained layers over N(0, I)."""
    return FlowDensity(**LAYERS).fit(moons)


def test_conditional_of_a_normal_distribution_is_its_regression():
    model = normal_model()
    mean, covariance = regression([0, 2], [2.0, 1.0])
    found = model.conditional({0: 2.0, 2: 1.0})
    assert found.method == "exact"
    assert found.columns == [1]
    np.testing.assert_allclose([found.mean(), found.std()], [mean[0], np.sqrt(covariance[0, 0])], atol=1e-6)
    ends = mean[0] + np.sqrt(covariance[0, 0]) * np.array([-1.959964, 1.959964])
    np.testing.assert_allclose(found.interval(0.95), ends, atol=1e-5)
    np.testing.assert_allclose(found.cdf(ends), [0.025, 0.975], atol=1e-6)


def test_two_free_columns_have_means_deviations_and_a_joint_density():
    model = normal_model()
    mean, covariance = regression([1], [0.0])
    found = model.conditional({1: [0.0, 0.0]})
    np.testing.assert_allclose(found.mean(), [mean, mean], atol=1e-6)
    np.testing.assert_allclose(found.std()[1], np.sqrt(np.diagonal(covariance)), atol=1e-6)
    point = np.array([[0.3, 0.4]])
    moved = (point - mean)[0]
    expected = -0.5 * moved @ np.linalg.inv(covariance) @ moved - 0.5 * np.log(np.linalg.det(2 * np.pi * covariance))
    np.testing.assert_allclose(found.score_samples(np.tile(point, (2, 1))), [expected] * 2, atol=1e-6)
    np.testing.assert_allclose(found.pdf(([0.3], [0.4])).ravel(), np.exp([expected] * 2), atol=1e-6)
    with pytest.raises(ValueError, match="x must be a tuple of two arrays"):
        found.cdf(0.0)


def test_quantiles_of_two_far_humps_invert_the_distribution_function():
    model = normal_model([[-5.0, 0.0], [5.0, 0.0]], [np.eye(2) * 0.01, np.eye(2)], [0.3, 0.7])
    marginal = model.marginal(0)
    q = np.array([0.001, 0.299, 0.3, 0.301, 0.5, 0.999])
    np.testing.assert_allclose(marginal.cdf(marginal.ppf(q)), q, atol=1e-8)
    assert marginal.ppf([0.0, 1.0]).tolist() == [-np.inf, np.inf]


def test_quadrature_agrees_with_sums_of_the_joint_density(layered):
    grid = np.linspace(-4, 4, 4001)
    joint = np.exp(layered.score_samples(np.c_[np.full(len(grid), 0.3), grid]).astype(float))
    joint /= np.trapezoid(joint, grid)
    found = layered.conditional({0: [0.3, 1.2]})
    assert found.method == "quadrature"
    np.testing.assert_allclose(found.pdf(grid)[0], joint, atol=1e-3)
    np.testing.assert_allclose(np.trapezoid(found.pdf(grid), grid, axis=1), 1, atol=1e-4)
    below = np.concatenate([[0], np.cumsum((joint[1:] + joint[:-1]) / 2 * np.diff(grid))])
    np.testing.assert_allclose(found.cdf(grid)[0], below, atol=1e-3)
    np.testing.assert_allclose(found.mean()[0], np.trapezoid(joint * grid, grid), atol=1e-3)
    q = np.array([0.05, 0.5, 0.95])
    np.testing.assert_allclose(found.cdf(found.ppf(q)), [q, q], atol=1e-6)
    assert (found.error < 1e-3).all()
    np.testing.assert_allclose(found.score_samples([0.1, 0.2]), np.log(np.diagonal(found.pdf([0.1, 0.2]))), atol=1e-3)


@pytest.mark.parametrize("parameters", [{}, {"coupling": "affine"}, {"n_models": 3}], ids=["spline", "affine", "average"])
def test_total_mass_is_one_in_every_row_and_errors_are_not_underestimated(moons, parameters):
    model = FlowDensity(**LAYERS | parameters).fit(moons)
    grid = np.linspace(-5, 6, 11_001)
    found = model.conditional({0: moons[:150, 0]})
    errors = np.abs(np.trapezoid(found.pdf(grid), grid, axis=1) - 1)
    assert errors.max() < 1e-4
    assert (errors <= found.error).mean() > 0.99
    assert found.error.max() < 3e-4


def test_densities_by_quadrature_are_joint_ones_over_an_integral(layered):
    grid = np.linspace(-1, 2, 7)
    found = layered.conditional({0: [0.3, 1.2]})
    for given, density in zip([0.3, 1.2], found.pdf(grid)):
        joint = layered.score_samples(np.c_[np.full(len(grid), given), grid]).astype(float)
        np.testing.assert_allclose(np.ptp(np.log(density) - joint), 0, atol=1e-5)


def test_quadrature_needs_few_densities(layered, moons, monkeypatch):
    counts, compute = [], Slice.__call__
    monkeypatch.setattr(Slice, "__call__", lambda self, rows, u: counts.append(len(rows)) or compute(self, rows, u))
    layered.conditional({0: moons[:200, 0]}).interval(0.9)
    assert 100 < sum(counts) / 200 < 550


def test_marginal_of_a_flow_in_two_dimensions_integrates_the_other_column(layered):
    x, y = np.array([-0.5, 0.4, 1.6]), np.linspace(-5, 5, 3001)
    points = np.stack([axis.ravel() for axis in np.meshgrid(x, y, indexing="ij")], axis=1)
    joint = np.exp(layered.score_samples(points).astype(float)).reshape(3, -1)
    marginal = layered.marginal(0)
    np.testing.assert_allclose(marginal.pdf(x), np.trapezoid(joint, y, axis=1), atol=1e-3)
    both = layered.marginal([0, 1])
    np.testing.assert_allclose(both.mean(), layered.sample(40_000, 1).mean(axis=0), atol=0.02)


def test_more_columns_are_drawn_and_say_so():
    x = np.random.default_rng(0).multivariate_normal(np.zeros(4), np.eye(4) * 0.5 + 0.5, size=500)
    model = FlowDensity(**LAYERS).fit(x)
    found = model.conditional({0: 1.0})
    assert found.method == "importance"
    assert 2000 < found.effective_size < np.inf
    assert 0.0005 < found.error < 0.01
    drawn = model.conditional({0: 1.0}).sample(2000, 1)
    np.testing.assert_allclose(found.mean(), drawn.mean(axis=0), atol=0.1)
    one = found.marginal(1)
    np.testing.assert_allclose(one.cdf(one.ppf([0.2, 0.8])), [0.2, 0.8], atol=0.002)
    grid = np.linspace(-4, 5, 100)
    density = one.pdf(grid)
    np.testing.assert_allclose(np.trapezoid(density, grid), 1, atol=1e-4)
    np.testing.assert_allclose(np.trapezoid(density[:50], grid[:50]), one.cdf(grid[49]), atol=1e-4)


def test_rows_with_fewer_cells_do_not_make_others_drawn():
    x = np.random.default_rng(0).multivariate_normal(np.zeros(4), np.eye(4) * 0.5 + 0.5, size=500)
    model = FlowDensity(**LAYERS).fit(x)
    rows = np.array([[0.5, 0.2, np.nan, -0.1], [0.5, np.nan, np.nan, np.nan]])
    both, alone = model.conditional(rows, 2), model.conditional(rows[:1], 2)
    grid = np.linspace(-1, 1, 5)
    np.testing.assert_allclose(both.pdf(grid)[0], alone.pdf(grid)[0], rtol=1e-6)
    np.testing.assert_allclose(both.pdf(np.stack([grid, grid])), both.pdf(grid), rtol=1e-6)
    assert both.error[0] == alone.error[0] < both.error[1]
    assert np.isinf(both.effective_size[0]) and np.isfinite(both.effective_size[1])


def test_a_row_without_a_density_is_nan_with_a_warning(layered):
    model = FlowDensity(support=["positive", "real"], **LAYERS).fit(np.exp(np.random.default_rng(0).normal(size=(200, 2))))
    found = model.conditional({0: [1.0, -1.0]})
    with pytest.warns(nvpflow.AccuracyWarning, match="no density in 1 row"):
        mean = found.mean()
    assert np.isfinite(mean[0])
    assert np.isnan(mean[1])


def test_many_rows_have_the_results_of_each_row_alone(averaged):
    many = averaged.conditional({0: np.linspace(-1, 2, 4000)})
    few = averaged.conditional({0: np.linspace(-1, 2, 4000)[[5, 3600]]})
    np.testing.assert_allclose(many.ppf([0.9])[[5, 3600]], few.ppf([0.9]), atol=1e-7)


def test_posterior_is_normalised_and_ignores_the_column(averaged, moons):
    model = averaged
    grid = np.linspace(-2, 2, 301)
    found = model.posterior(moons[:5], 1, grid)
    np.testing.assert_allclose(np.trapezoid(found, grid, axis=1), 1, atol=1e-12)
    other = moons[:5].copy()
    other[:, 1] = np.nan
    np.testing.assert_array_equal(found, model.posterior(other, 1, grid))
    np.testing.assert_allclose(found, model.conditional({0: moons[:5, 0]}).pdf(grid), atol=1e-3)


@pytest.mark.parametrize(
    ("given", "columns", "message"),
    [
        ({5: 1.0}, None, "given must be names or numbers of columns of X: a number of a column must be at most 1, got 5"),
        ({"x": 1.0}, None, "the names are none"),
        ({0: 1.0, 1: 2.0}, None, "leave a column free"),
        ({0: 1.0}, 0, "must not be given"),
        ({0: [1.0, 2.0]}, [1, 1], "each once"),
        (np.zeros((3, 3)), 1, "shape"),
        (np.array([[0.0, np.nan], [np.nan, 1.0]]), None, "columns must name"),
    ],
)
def test_bad_questions_have_clear_errors(moons, given, columns, message):
    with pytest.raises(ValueError, match=message):
        normal_model(MEAN[:2], COVARIANCE[:2, :2]).conditional(given, columns)


def test_bad_values_have_clear_errors(moons):
    model = normal_model(MEAN[:2], COVARIANCE[:2, :2])
    with pytest.raises(ValueError, match="'x' in column 0, row 0$"):  # nothing can be declared in a question
        model.conditional({0: "x"})
    with pytest.raises(ValueError, match="q must be from 0 to 1, got 90"):
        model.conditional({0: 1.0}).ppf([0.5, 90])


def test_members_in_other_units_count_by_their_densities():
    model = normal_model(MEAN[:2], COVARIANCE[:2, :2])
    base = nvpflow.MixtureBase([1.0], [[0.0, 0.0]], [np.eye(2)], dtype="float64")
    wide = nvpflow.ActNorm(2, dtype="float64")
    wide.log_scale[:], wide.bias[:] = [1.5, 0.5], [2.0, 1.0]
    model.flow_ = nvpflow.FlowEnsemble([model.flow_, nvpflow.Flow([wide], base)], [0.3, 0.7])
    grid = np.linspace(-12, 12, 4001)
    joint = np.exp(model.score_samples(np.c_[np.full(len(grid), 3.0), grid]))
    found = model.conditional({0: 3.0})
    assert found.method == "exact"
    np.testing.assert_allclose(found.pdf(grid), joint / np.trapezoid(joint, grid), atol=1e-5)


@pytest.mark.parametrize("limits", [{"LARGE_ERROR": 0.0}, {"FEW": np.inf}], ids=["error", "size"])
def test_results_that_cannot_be_trusted_warn(layered, monkeypatch, limits):
    model = layered if "FEW" not in limits else FlowDensity(**LAYERS).fit(np.random.default_rng(0).normal(size=(200, 4)))
    found = model.conditional({0: 0.3})
    for name, value in limits.items():
        monkeypatch.setattr(f"nvpflow.queries.conditional.{name}", value)
    with pytest.warns(nvpflow.AccuracyWarning, match=r"of 1 row\(s\) cannot be trusted"):
        found.interval(0.9)
