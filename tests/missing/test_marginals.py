"""Log-densities of rows with missing cells: exact in mixtures, by importance sampling where layers were trained."""

import warnings

import numpy as np
import pytest

import nvpflow
from nvpflow.missing._marginal import Marginals
from nvpflow.missing._model import IncompleteModel

NAN = np.nan
POINTS = np.random.default_rng(0).normal(size=(600, 3)) @ [[1, 0.5, 0], [0, 1, 0.7], [0, 0, 1]]
MARGINALIZE = {"missing": "marginalize", "random_state": 0, "max_iter": 10}


def log_integral(model, row, column, grid, weights, **options):
    """Logarithm of the integral of the density over a column of the row."""
    rows = np.tile(row, (len(grid), 1))
    rows[:, column] = grid
    return float(np.log(np.exp(model.score_samples(rows, **options).astype(np.float64)) @ weights))


@pytest.fixture(scope="module")
def mixture_model():
    return nvpflow.FlowDensity(**MARGINALIZE, base="mixture").fit(POINTS)


@pytest.fixture(scope="module")
def trained():
    """A model whose layers are kept."""
    bent = np.c_[POINTS[:, 0], POINTS[:, 1] + POINTS[:, 0] ** 2, POINTS[:, 2]]
    options = MARGINALIZE | {"max_iter": 40, "validation_fraction": None, "base": "mixture", "n_layers": 4}
    return nvpflow.FlowDensity(**options).fit(bent), bent


class TestExactDensities:
    def test_normal_distribution(self):
        """One normal distribution in the units of the data: the marginal is that of the covariance's block."""
        rng = np.random.default_rng(1)
        factor = rng.normal(size=(3, 3))
        base = nvpflow.MixtureBase([1], [np.zeros(3)], [np.eye(3)], dtype="float64")
        scale = nvpflow.ActNorm(3, dtype="float64")
        scale.log_scale[:], scale.bias[:] = [0.5, -1, 3], [1, 10, -100]
        base.factors[:] = np.linalg.inv(np.linalg.cholesky(factor @ factor.T))[np.tril_indices(3)]
        base.factors[:, [0, 2, 5]] = np.log(base.factors[:, [0, 2, 5]])
        flow = nvpflow.Flow([scale], base)
        x = np.array([[2.0, NAN, -90.0]])
        covariance = (factor @ factor.T * np.outer(np.exp(scale.log_scale), np.exp(scale.log_scale)))[np.ix_([0, 2], [0, 2])]
        offsets = x[0, [0, 2]] - scale.bias[[0, 2]]
        expected = -0.5 * (offsets @ np.linalg.solve(covariance, offsets) + np.linalg.slogdet(2 * np.pi * covariance)[1])
        estimate = Marginals(flow).log_prob(x)
        assert estimate.log_prob[0] == pytest.approx(expected, abs=1e-9)
        assert estimate.error[0] == 0

    def test_log_normal_column(self):
        """Bounded columns: the marginal of a log-normal column, as exp(normal) beside another column."""
        base = nvpflow.MixtureBase([1], [[0.5, -1]], [[[1, 0.6], [0.6, 2]]], dtype="float64")
        flow = nvpflow.Flow([nvpflow.Bounded(2, [(0, None), (0, None)], dtype="float64")], base)
        x = np.array([[3.0, NAN], [NAN, 0.2]])
        logs = np.log([3.0, 0.2])
        expected = -0.5 * ((logs - [0.5, -1]) ** 2 / [1, 2] + np.log(2 * np.pi * np.array([1, 2]))) - logs
        assert np.allclose(Marginals(flow).log_prob(x).log_prob, expected, atol=1e-9)

    @pytest.mark.parametrize("column", range(3))
    def test_integrals_of_the_density(self, mixture_model, column):
        grid = np.linspace(-12, 12, 4001)
        rows = POINTS[:3].copy()
        rows[:, column] = NAN
        found, error = mixture_model.score_samples(rows, return_error=True)
        expected = [log_integral(mixture_model, row, column, grid, np.full(4001, grid[1] - grid[0])) for row in rows]
        assert (error == 0).all()
        assert np.allclose(found, expected, atol=1e-5)

    def test_complete_and_empty_rows(self, mixture_model):
        rows = np.vstack([POINTS[:4], np.full((2, 3), NAN)])
        found = mixture_model.score_samples(rows)
        assert (found[4:] == 0).all()
        assert np.allclose(found[:4], mixture_model.score_samples(POINTS[:4]), atol=1e-5)
        assert mixture_model.score(rows) == pytest.approx(found.mean(), abs=1e-6)
        assert mixture_model.score(rows, sample_weight=[0, 0, 0, 0, 1, 1]) == 0

    def test_kinds_of_columns(self):
        """A half-line, whole numbers and an angle: marginals are sums and integrals of the density."""
        rng = np.random.default_rng(0)
        x = np.c_[np.exp(POINTS[:, 0]), rng.poisson(np.exp(0.4 * POINTS[:, 1] + 1)), rng.vonmises(POINTS[:, 0], 2) % 6.28]
        x[:40, 1], x[40:80, 2] = NAN, NAN
        support = ["positive", nvpflow.Integer(0), nvpflow.Angle()]
        for n_models in (1, 2):
            model = nvpflow.FlowDensity(**MARGINALIZE, support=support, n_models=n_models).fit(x)
            logs, angles = np.linspace(-7, 7, 2001), np.linspace(0, 2 * np.pi, 801)[:-1]
            grids = [
                (np.exp(logs), np.exp(logs) * (logs[1] - logs[0])),
                (np.arange(80.0), np.ones(80)),
                (angles, np.full(800, angles[1])),
            ]
            for column, grid in enumerate(grids):
                row = x[100:101].copy()
                row[0, column] = NAN
                assert model.score_samples(row)[0] == pytest.approx(log_integral(model, row[0], column, *grid), abs=1e-4)
            outside = [[-1, NAN, 1], [1, 0.5, NAN], [NAN, -1, NAN]]
            assert (model.score_samples(outside) == -np.inf).all()

    def test_given_a_context(self):
        context = POINTS[:, :1]
        model = nvpflow.FlowDensity(**MARGINALIZE).fit(POINTS[:, 1:], context=context)
        grid = np.linspace(-12, 12, 2001)
        row = np.array([[0.3, NAN]])
        expected = log_integral(model, row[0], 1, grid, np.full(2001, grid[1] - grid[0]), context=[0.7])
        assert model.score_samples(row, context=[0.7])[0] == pytest.approx(expected, abs=1e-3)

    def test_base_that_reads_the_context(self):
        base = nvpflow.ConditionalMixtureBase([1], [[0, 0, 0]], [np.linalg.inv(np.cov(POINTS.T))], 1, dtype="float64")
        flow = nvpflow.Flow([nvpflow.ActNorm(2, dtype="float64")], base)
        flow.layers[0].log_scale[:], flow.layers[0].bias[:] = 0, 0
        covariance, c = base.covariances[0], 0.8
        mean = covariance[1, 0] / covariance[0, 0] * c
        variance = covariance[1, 1] - covariance[1, 0] ** 2 / covariance[0, 0]
        expected = -0.5 * ((0.4 - mean) ** 2 / variance + np.log(2 * np.pi * variance))
        found = Marginals(flow).log_prob(np.array([[0.4, NAN]]), np.array([[c]])).log_prob
        assert found[0] == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("n_real", [0, 1])
    def test_base_that_reads_indicators(self, n_real):
        """Indicators of categories change the weights of the components: the marginal against a sum by hand."""
        rng = np.random.default_rng(n_real)
        means, logits = rng.normal(size=(2, n_real + 2)), rng.normal(size=(2, 3))
        covariances = np.array([np.cov(rng.normal(size=(n_real + 2, 9))) for _ in range(2)])
        base = nvpflow.ConditionalMixtureBase([0.3, 0.7], means, covariances, n_real + 3, n_indicators=3, dtype="float64")
        base.indicator_logits[:] = logits
        layer = nvpflow.ActNorm(2, dtype="float64")
        layer.log_scale[:], layer.bias[:] = 0, 0
        marginals = Marginals(nvpflow.Flow([layer], base))
        context = np.hstack([rng.normal(size=(3, n_real)), np.eye(3)])
        x = np.array([[0.4, NAN], [NAN, -0.3], [0.1, 0.2]])
        found = marginals.log_prob(x, context).log_prob
        for row, given, log_prob in zip(x, context, found):
            known = np.append(given[:n_real], row[~np.isnan(row)])
            places = np.r_[np.arange(n_real), n_real + np.flatnonzero(~np.isnan(row))]
            terms = {}
            for name, values, columns in (("both", known, places), ("context", known[:n_real], places[:n_real])):
                offsets, blocks = values - means[:, columns], covariances[:, columns][:, :, columns]
                squares = np.einsum("ki,kij,kj->k", offsets, np.linalg.inv(blocks), offsets)
                dets = np.linalg.slogdet(2 * np.pi * blocks)[1]
                terms[name] = np.log([0.3, 0.7]) + logits @ given[n_real:] - 0.5 * (squares + dets)
            expected = np.logaddexp.reduce(terms["both"]) - np.logaddexp.reduce(terms["context"])
            assert log_prob == pytest.approx(expected, abs=1e-9)
        drawn = marginals.draw(np.repeat(x, 2, axis=0), np.repeat(context, 2, axis=0), 3, rng)
        assert drawn.shape == (6, 3, 2) and np.isfinite(drawn).all()


class TestImportanceSampling:
    @pytest.mark.parametrize("column", range(3))
    def test_errors_are_as_reported(self, trained, column):
        model, x = trained
        grid = np.linspace(-14, 30, 8001)
        rows = x[:60].copy()
        rows[:, column] = NAN
        found, error = model.score_samples(rows, return_error=True)
        expected = [log_integral(model, row, column, grid, np.full(8001, grid[1] - grid[0])) for row in rows]
        assert (error > 0).all() and np.median(error) < 0.011
        scores = (found - expected) / error
        assert np.sqrt(np.mean(scores**2)) < 2
        assert np.abs(found - expected).max() < 0.1

    def test_a_row_has_the_same_density_whatever_the_others_are(self, trained):
        model, x = trained
        rows = np.where(np.random.default_rng(2).random(x.shape) < 0.3, NAN, x)[:100]
        together = model.score_samples(rows)
        for i in (0, 7, 50):
            assert model.score_samples(rows[i : i + 1])[0] == pytest.approx(together[i], abs=1e-5)
        assert np.array_equal(model.score_samples(rows), together)

    def test_doubtful_rows_warn_once(self, trained, monkeypatch):
        model, x = trained
        rows = x[:5].copy()
        rows[:, 1] = NAN
        monkeypatch.setattr("nvpflow.missing._model.FEW", 1e9)
        with pytest.warns(UserWarning, match=r"the log-density of 5 row\(s\) with missing cells cannot be trusted") as caught:
            model.score_samples(rows)
        assert len(caught) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.score_samples(x[:5])

    def test_flow_over_a_normal_base(self):
        model = nvpflow.RealNVP(**MARGINALIZE, n_layers=4).fit(POINTS)
        grid = np.linspace(-14, 14, 4001)
        row = np.array([[0.2, NAN, 0.1]])
        found, error = model.score_samples(row, return_error=True)
        expected = log_integral(model, row[0], 1, grid, np.full(4001, grid[1] - grid[0]))
        assert abs(found[0] - expected) < 5 * error[0] < 0.1


def test_the_cache_follows_the_parameters(mixture_model):
    rows = np.array([[0.5, NAN, 0.1]])
    model = nvpflow.FlowDensity(**MARGINALIZE).fit(POINTS)
    before = model.score_samples(rows)
    model.partial_fit(POINTS + 0.5)
    assert model.score_samples(rows) != before
    fresh = IncompleteModel(model.flow_, None, None).score(rows, None).log_density
    assert np.allclose(model.score_samples(rows), fresh, atol=1e-6)
    model.fit(POINTS)
    assert np.array_equal(model.score_samples(rows), before)
