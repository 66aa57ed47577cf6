"""The densities of the benchmarks with supports: total mass, samples, models that know the support."""

import numpy as np
import pytest
from scipy import stats

from quality.data import N_HELD_OUT, draw
from quality.models import OURS, SUPPORT_MODELS, Unsuitable
from quality.models.columns import RealColumns
from quality.run import measure, models_of
from quality.supports import ANGLE, DESIGN, TURN, CoupledCounts, is_category, is_whole, share_outside


def share_and_weight(kind, n, rng):
    """Uniform points of a column in its support, by the quantiles of a heavy-tailed proposal, and their inverse density."""
    u = (rng.permutation(n) + rng.random(n)) / n
    if is_whole(kind):
        most = 40 if isinstance(kind, str) else kind[1]
        return np.floor((most + 1) * u), np.full(n, most + 1.0)
    if is_category(kind):
        return np.floor(kind[1] * u), np.full(n, float(kind[1]))
    if kind == ANGLE:
        return TURN * u, np.full(n, TURN)
    proposal = {(0, 1): stats.beta(0.5, 0.5), (0, None): stats.lomax(1)}.get(kind, stats.t(2))
    x = proposal.ppf(u)
    return x, 1 / proposal.pdf(x)


@pytest.mark.parametrize("name", DESIGN)
def test_total_mass_is_one(name):
    row, rng = DESIGN[name], np.random.default_rng(0)
    columns, weights = zip(*(share_and_weight(kind, 400_000, rng) for kind in row.support))
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = np.nan_to_num(np.exp(row.density.log_prob(np.stack(columns, axis=1))) * np.prod(weights, axis=0))  # far tails
    assert terms.mean() == pytest.approx(1, abs=5 * terms.std() / len(terms) ** 0.5 + 1e-9)


@pytest.mark.parametrize("name", DESIGN)
def test_samples_are_in_the_support(name):
    row = DESIGN[name]
    x = row.density.sample(5000, np.random.default_rng(0))
    assert np.isfinite(row.density.log_prob(x)).all()
    for column, kind in zip(x.T, row.support):
        if is_category(kind):
            assert np.array_equal(np.unique(column), np.arange(kind[1]))
        elif is_whole(kind):
            assert (column == np.floor(column)).all() and column.min() >= 0
        elif kind == ANGLE:
            assert column.min() >= 0 and column.max() < TURN
        elif kind is not None:
            assert column.min() > 0 and (kind[1] is None or column.max() < 1)


def test_coupled_counts_against_samples():
    density = CoupledCounts()
    x = density.sample(200_000, np.random.default_rng(0)).astype(int)
    counts = np.zeros(density.masses.shape)
    np.add.at(counts, tuple(x.T), 1)
    expected = len(x) * density.masses
    some = expected >= 5
    counts, expected = counts[some], expected[some]
    assert stats.chi2.sf((((counts - expected) ** 2) / expected).sum(), len(counts) - 1) > 1e-4
    np.testing.assert_allclose(density.masses.sum(axis=1)[:12], stats.poisson(3).pmf(np.arange(12)), atol=1e-9)


# Those of PyTorch and JAX take too long here.
QUICK = [name for name in SUPPORT_MODELS if name not in ("zuko NSF", "denmarf", "pzflow")]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("model", QUICK)
def test_models(model):
    for package in SUPPORT_MODELS[model].packages:
        pytest.importorskip(package)
    (x, support), (held_out,), log_true = draw("beta-2d", 300, 0)
    log_prob = SUPPORT_MODELS[model].fit(x, support, seed=0)
    assert -0.1 < np.mean(log_true - log_prob(held_out)) < 1
    assert len(held_out) == N_HELD_OUT and models_of("beta-2d") is SUPPORT_MODELS


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("model", [name for name in QUICK if name not in (OURS, "nvpflow without support")])
def test_masses_of_whole_numbers(model):
    for package in SUPPORT_MODELS[model].packages:
        pytest.importorskip(package)
    (x, support), *_ = draw("binomial", 300, 0)
    log_prob = SUPPORT_MODELS[model].fit(x, support, seed=0)
    assert 0.9 < np.exp(log_prob(np.arange(11)[:, None])).sum() < 1 + 1e-3  # models without bounds lose some below 0


@pytest.mark.parametrize("model", ["GaussianMixture", "KernelDensity"])
def test_probabilities_of_categories(model):
    pytest.importorskip("sklearn")
    (x, support), *_ = draw("coupled-categories", 1000, 0)
    log_prob = SUPPORT_MODELS[model].fit(x, support, seed=0)
    y = np.linspace(-20, 20, 801)
    codes = np.stack(np.meshgrid(np.arange(4), np.arange(3), y, indexing="ij"), axis=-1).reshape(-1, 3)
    assert np.exp(log_prob(codes)).sum() * 0.05 == pytest.approx(1, abs=1e-3)
    assert share_outside(log_prob.sample(500, np.random.default_rng(0)), support) == 0


def test_unsuitable_models_give_no_figure():
    samples = draw("poisson", 300, 0)
    with pytest.raises(Unsuitable, match="columns of whole numbers have no density"):
        SUPPORT_MODELS["nvpflow without support"].fit(*samples[0], seed=0)
    with pytest.raises(Unsuitable, match="columns of categories have no density"):
        SUPPORT_MODELS["nvpflow without support"].fit(*draw("coupled-categories", 300, 0)[0], seed=0)
    assert measure(SUPPORT_MODELS["nvpflow without support"], samples, 0) is None


def test_figures_say_how_many_samples_are_outside():
    samples = draw("beta-2d", 300, 0)
    assert measure(SUPPORT_MODELS[OURS], samples, 0)["outside"] == 0
    assert measure(SUPPORT_MODELS["nvpflow without support"], samples, 0)["outside"] > 0


def test_share_outside():
    support = None, (0, None), (0, 1), "angle", "whole", ("whole", 12), ("category", 3)
    inside = [-5.0, 0.0, 1.0, TURN, 40.0, 12.0, 2.0]
    wrong = [np.nan, -0.1, 1.1, 2 * TURN, 1.5, 13.0, 3.0]
    rows = np.array([inside] + [inside[:d] + [wrong[d]] + inside[d + 1 :] for d in range(7)])
    assert share_outside(rows[:1], support) == 0
    assert all(share_outside(rows[d : d + 1], support) == 1 for d in range(1, 8))
    assert share_outside(rows[:4], support) == 0.75


def test_real_columns_go_there_and_back():
    pytest.importorskip("sklearn")
    support = None, (0, None), (0, 1), "whole"
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(size=500), rng.lognormal(size=500), rng.random(500), rng.poisson(3, 500)], axis=1)
    columns = RealColumns(x, support, 0)
    np.testing.assert_allclose(columns.reals.mean(axis=0), 0, atol=1e-12)
    back = columns.fitted(None, lambda n, rng: columns.reals).sample(500, rng)
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-9)
