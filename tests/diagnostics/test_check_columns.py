"""Checks of models with columns of every kind, with a context, and with missing cells."""

import numpy as np
import pytest

import nvpflow
from diagnostics.conftest import draw
from diagnostics.test_check import MOST_ALARMS, N_SEEDS
from nvpflow.diagnostics._tables import draw_each, draw_together

N = 600


def _columns():
    rng = np.random.default_rng(0)
    a = rng.normal(size=N)
    values = np.array([["red", "green", "blue"][k] for k in rng.integers(0, 3, N)], object)
    return {
        "bounded": (np.c_[np.exp(a), rng.beta(2, 3, N)], ["positive", "unit"]),
        "angle": (np.c_[a, rng.vonmises(0, 2, N)], [None, nvpflow.Angle(-np.pi, np.pi)]),
        "integer": (np.c_[a, rng.poisson(np.exp(0.3 * a))], [None, "integer"]),
        "category": (np.array([a.astype(object), values]).T, [None, "category"]),
        "categories alone": (np.array([values, values[::-1]]).T, ["category", "category"]),
    }


@pytest.fixture(scope="module", params=_columns())
def fitted(request):
    x, support = _columns()[request.param]
    return request.param, nvpflow.FlowDensity(support=support, max_iter=20, random_state=0).fit(x)


def test_own_samples_of_every_kind_are_no_misfit(fitted):
    _, model = fitted
    alarms = sum(model.check(model.sample(120, random_state=s + 1), random_state=s).has_misfit for s in range(N_SEEDS))
    assert alarms <= MOST_ALARMS


def test_kinds_and_notes(fitted):
    kind, model = fitted
    x = model.sample(200, random_state=1)
    report = model.check(x, X_train=x)
    assert [column.kind for column in report.columns][-1] == ("category" if "categor" in kind else kind)
    assert bool(report.baselines) == (kind in ("bounded", "angle"))
    assert any("no baselines" in note for note in report.notes) == (kind not in ("bounded", "angle"))
    assert all(len(column.coverage) == 2 * (column.kind != "category") for column in report.columns)
    assert any("codes" in note for note in report.notes) == ("categor" in kind)


def test_misfit_of_a_category_and_of_whole_numbers():
    models = {}
    for kind in ("category", "integer"):
        x, support = _columns()[kind]
        models[kind] = nvpflow.FlowDensity(support=support, max_iter=20, random_state=0).fit(x)
    x = models["category"].sample(300, random_state=1)
    x[:80, 1] = "blue"
    assert any(line.startswith("column x1") for line in models["category"].check(x).verdicts)
    x = models["integer"].sample(300, random_state=1)
    x[:, 1] += 1
    assert any(line.startswith("column x1") for line in models["integer"].check(x).verdicts)


def test_angles_are_read_modulo_their_turn():
    x, support = _columns()["angle"]
    model = nvpflow.FlowDensity(support=support, max_iter=10, random_state=0).fit(x)
    np.testing.assert_allclose(model.check(x + [0, 4 * np.pi]).columns[1].pit, model.check(x).columns[1].pit, atol=1e-3)


@pytest.fixture(scope="module")
def conditional():
    context = np.random.default_rng(1).uniform(-1, 1, size=(800, 1))
    return nvpflow.FlowDensity(max_iter=30, random_state=0).fit(draw(0, 800) + [3, 0] * context, context=context)


def test_own_samples_given_contexts_are_no_misfit(conditional):
    alarms = 0
    for seed in range(N_SEEDS):
        context = np.random.default_rng(seed).uniform(-1, 1, size=(200, 1))
        x = conditional.sample(200, random_state=seed + 1, context=context)
        alarms += conditional.check(x, context=context, random_state=seed).has_misfit
    assert alarms <= MOST_ALARMS


def test_rows_with_wrong_contexts_are_misfit(conditional):
    """The margins are right, the dependence on the context is not."""
    context = np.random.default_rng(2).uniform(-1, 1, size=(400, 1))
    report = conditional.check(draw(2) + [3, 0] * context, context=np.roll(context, 1, axis=0))
    assert any(line.startswith("column x0") for line in report.verdicts)
    assert report.n_effective == 400


def test_baselines_given_a_context(conditional):
    context = np.random.default_rng(3).uniform(-1, 1, size=(1200, 1))
    x = draw(3, 1200) + [3, 0] * context
    report = conditional.check(x[800:], context=context[800:], X_train=x[:800], context_train=context[:800])
    c = np.c_[np.ones(1200), context]
    left = x - c @ np.linalg.lstsq(c[:800], x[:800])[0]
    covariance = np.cov(left[:800].T)
    expected = 0.5 * (
        np.einsum("ni,ij,nj->n", left[800:], np.linalg.inv(covariance), left[800:])
        + np.linalg.slogdet(2 * np.pi * covariance)[1]
    )
    assert report.baselines[0].nll == pytest.approx(expected.mean(), abs=0.02)
    with pytest.raises(ValueError, match="context_train must be given"):
        conditional.check(x, context=context, X_train=x)


def test_missing_cells():
    train = draw(0, 800)
    train[::4, 1][train[::4, 0] > 0] = np.nan
    model = nvpflow.FlowDensity(missing="marginalize", max_iter=20, random_state=0).fit(train)
    alarms = 0
    for seed in range(N_SEEDS):
        x = model.sample(200, random_state=seed + 1)
        x[x[:, 0] > 0.3, 1] = np.nan  # at random, but not completely at random
        report = model.check(x, random_state=seed)
        alarms += report.has_misfit
    assert alarms <= MOST_ALARMS
    assert report.density is None and np.isnan(report.nll_of_samples)
    assert any(f"fill {np.isnan(x).sum()} missing cells" in note for note in report.notes)
    x[:, 0] += 1
    assert model.check(x).has_misfit


def test_an_ensemble():
    model = nvpflow.FlowDensity(n_models=2, max_iter=5, random_state=0).fit(draw(0))
    reports = [model.check(model.sample(100, random_state=seed + 1), random_state=seed) for seed in range(N_SEEDS)]
    assert sum(report.has_misfit for report in reports) <= MOST_ALARMS
    assert model.check(model.sample(300, random_state=1) + [1, 0]).has_misfit


def _counts(n, seed):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(3, n)
    frame = {"a": counts, "y": rng.normal(0.3 * counts), "c": rng.choice(list("uv"), n)}
    return pytest.importorskip("pandas").DataFrame(frame)


@pytest.mark.filterwarnings("ignore:column.* repeat few values")
class TestWholeNumbersOfAFrame:
    """Samples are rounded as rows are, to the peaks of a density of real numbers, and so is their density."""

    def test_they_are_no_misfit(self):
        report = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(_counts(N, 0)).check(_counts(300, 1), random_state=0)
        for column in (report.columns[0], report.density):
            assert column.p_value > 1e-3
        assert "too spread out" not in " ".join(report.verdicts)

    @pytest.mark.parametrize("columns", [["a", "y"], ["c", "a", "y"]])
    def test_draws_for_all_rows(self, columns):
        model = nvpflow.FlowDensity(max_iter=3, random_state=0).fit(_counts(N, 0)[columns])
        draws = draw_together(model, 50, 1)
        assert (draws.table[:, 0] % 1 == 0).all() and (draws.table[:, 1] % 1 != 0).any()
        np.testing.assert_array_equal(draws.log_density, model.score_samples(model.sample(50, 1)))

    def test_draws_for_each_row(self):
        x, context = _counts(N, 0)[["a"]], _counts(N, 0)[["y"]]
        model = nvpflow.FlowDensity(max_iter=3, random_state=0).fit(x, context=context)
        ((part, draws),) = draw_each(model, 4, 1, model._check_context(context[:5], 5))
        assert len(part) == 5 and (draws.table % 1 == 0).all()
        points, given = (
            pytest.importorskip("pandas").DataFrame({"a": draws.table.ravel()}),
            context.loc[np.repeat(range(5), 4)],
        )
        np.testing.assert_array_equal(draws.log_density.ravel(), model.score_samples(points, context=given))
