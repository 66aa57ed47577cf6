"""Conditional fits over a mixture of context and samples, given the context: when it is chosen, and what must follow."""

import pickle

import numpy as np
import pytest
from scipy.stats import norm

import nvpflow
from nvpflow._training.build import new_flow
from nvpflow._training.conditional_stacking import fit_conditional_mixture
from nvpflow._training.dataset import Data
from nvpflow._training.mixture_search import fit_mixture
from nvpflow._training.stacking import stack_mixtures
from nvpflow._training.standardize import Units
from nvpflow._training.start import Start

BASE = nvpflow.ConditionalMixtureBase


def branches(n, seed=0):
    """Two branches, and their log-density. In one of them x grows with the context, in the other it falls."""
    rng = np.random.default_rng(seed)
    c = rng.uniform(-2, 2, size=(n, 1))
    x = np.where(rng.random((n, 1)) < 0.5, 1, -1) * (1 + 0.5 * c) + 0.2 * rng.normal(size=(n, 1))
    log_prob = np.log(0.5 * sum(norm.pdf(x, sign * (1 + 0.5 * c), 0.2) for sign in (1, -1)))
    return x, c, log_prob[:, 0]


def fit(x, context, **options):
    return nvpflow.FlowDensity(random_state=0, **options).fit(x, context=context)


@pytest.fixture(scope="module")
def model():
    return fit(*branches(400)[:2])


# -- the choice --


def test_branches(model):
    """Without the conditional mixture the gap was 0.19."""
    x, context, known = branches(5000, 1)
    assert isinstance(model.flow_.base, BASE) and model.best_iter_ == 0
    assert -0.02 < known.mean() - model.score(x, context=context) < 0.06


def test_the_search_names_what_was_kept(model):
    search, shift = model.search_, model.score(*branches(400)[:1], context=branches(400)[1])
    reads = np.char.endswith(search["candidate"], " given the context")
    assert search["candidate"][~reads][-1].startswith("flow over a mixture of")
    assert search["weight"][reads].sum() == pytest.approx(1) and not search["weight"][~reads].any()
    best = search["score"] @ search["weight"]
    assert abs(best - shift) < 0.2 and abs(search["validation_score"] @ search["weight"] - best) < 0.3


def test_members_of_an_ensemble_choose_for_themselves():
    x, context, known = branches(400)
    model = fit(x, context, n_models=2)
    kept = np.array([isinstance(flow.base, BASE) for flow in model.flow_])
    rivals = np.char.endswith(model.search_["candidate"], "given the context")
    assert kept.any()
    for i in range(2):
        own = rivals & np.char.startswith(model.search_["candidate"], f"member {i}")
        assert model.search_["weight"][own].sum() == pytest.approx(0.5 * kept[i])
    assert model.search_["weight"].sum() == pytest.approx(1)
    assert known.mean() - model.score(x, context=context) < 0.05


def test_what_is_kept_is_compared():
    """A start whose layers were discarded counts with its average of mixtures, not with its first mixture."""
    rng = np.random.default_rng(0)
    context, x = rng.normal(size=(2, 200, 1)).astype(np.float32)
    data = Data(x, context)
    training, held_out = data.rows(slice(0, 160)), data.rows(slice(160, None))
    settings = nvpflow.FlowDensity(max_iter=2)._settings()
    mixture, units = fit_mixture(training.x), Units.of(training, False, False, settings.dtype)
    start = Start(settings, training, held_out, units, new_flow(settings, training, 0, mixture), mixture, 0)
    start.judge_layers()
    stack = stack_mixtures(training, held_out, 0, np.zeros(len(x)))
    np.testing.assert_allclose(start.log_prob_of_kept(), stack.held_out + stack.gain)
    assert (start.log_prob_of_kept() != start.log_prob_of_flow()).any()


def test_explicit_mixture_chooses_as_well(model):
    x, context, _ = branches(400)
    np.testing.assert_array_equal(fit(x, context, base="mixture").flow_.parameters, model.flow_.parameters)
    assert fit(x, context, base="normal", max_iter=5).flow_.base is None
    alone = fit(x, context, base="mixture", validation_fraction=None, max_iter=5)
    assert type(alone.flow_.base) is nvpflow.MixtureBase


def test_a_linear_regression_keeps_its_base():
    rng = np.random.default_rng(0)
    for n in (50, 300):
        context = rng.normal(size=(n, 6))
        x = context @ rng.normal(size=(6, 2)) + 0.3 * rng.normal(size=(n, 2))
        assert type(fit(x, context, max_iter=20).flow_.base) is nvpflow.MixtureBase


def test_many_columns_are_not_searched():
    rng = np.random.default_rng(0)
    x, context = rng.normal(size=(90, 1)), rng.normal(size=(90, 45))
    names = fit(x, context, max_iter=5).search_["candidate"]
    assert not np.char.endswith(names, "given the context").any()


@pytest.mark.parametrize(
    "columns", [lambda k: np.eye(3)[k], lambda k: np.stack([k, 0 * k + 7.5], axis=1), lambda k: k[:, None]]
)
def test_contexts_of_few_values(columns):
    """One-hot columns, a constant one, and three values."""
    rng = np.random.default_rng(0)
    k = rng.integers(3, size=600)
    mean, deviation = np.array([-2.0, 0.0, 1.0])[k], np.array([0.1, 1.0, 0.3])[k]
    x, context = (mean + deviation * rng.normal(size=600))[:, None], columns(k).astype(float)
    model = fit(x, context)
    gap = norm.logpdf(x[:, 0], mean, deviation).mean() - model.score(x, context=context)
    assert isinstance(model.flow_.base, BASE) and -0.05 < gap < 0.05
    drawn = model.sample(300, random_state=0, per_context=True, context=context[[int((k == i).argmax()) for i in range(3)]])
    np.testing.assert_allclose(drawn.std(axis=1)[:, 0], [0.1, 1.0, 0.3], rtol=0.25)


# -- what follows --


@pytest.mark.filterwarnings("ignore:column.* of context vary by less than a thousand times the resolution")
def test_context_in_other_units(model):
    """The flow reads the context in its own units, also where an origin must be subtracted."""
    x, context, _ = branches(400)
    for scale, shift in ((1e-3, 2.0), (50.0, 1e3), (1.0, 1e6)):
        other = fit(x, context * scale + shift)
        found = other.score_samples(x, context=context * scale + shift)
        np.testing.assert_allclose(found, model.score_samples(x, context=context), atol=0.05)
        assert isinstance(other.flow_.base, BASE)


def test_contexts_beyond_the_range_are_clipped(model):
    with pytest.warns(UserWarning, match="leave the range of training"):
        far = model.score_samples([[1.0]], context=[[1e6]])
    assert np.isfinite(far) and far == model.score_samples([[1.0]], context=model.context_range_[1:])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_files_and_copies(dtype, tmp_path):
    x, context, _ = branches(300)
    model = fit(x, context, dtype=dtype, max_iter=100)
    model.save(tmp_path / "model.npz")
    expected = model.score_samples(x, context=context)
    for twin in (nvpflow.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(model))):
        assert isinstance(twin.flow_.base, BASE)
        np.testing.assert_array_equal(twin.score_samples(x, context=context), expected)


def test_results_are_the_same_for_any_number_of_threads_and_order_of_rows(model):
    x, context, _ = branches(400)
    order = np.random.default_rng(0).permutation(400)
    for other in (fit(x, context, n_jobs=2), fit(x[order], context[order])):
        np.testing.assert_array_equal(other.flow_.parameters, model.flow_.parameters)


def test_weights_count_rows():
    x, context, _ = branches(400)
    weight = np.where(context[:, 0] > 0, 1.0, 0.0)
    options = {"random_state": 0, "max_iter": 50}
    weighted = nvpflow.FlowDensity(**options).fit(x, context=context, sample_weight=weight)
    fewer = nvpflow.FlowDensity(**options).fit(x[weight > 0], context=context[weight > 0])
    np.testing.assert_array_equal(weighted.flow_.parameters, fewer.flow_.parameters)
    unequal = nvpflow.FlowDensity(**options).fit(x, context=context, sample_weight=np.exp(context[:, 0]))
    assert np.isfinite(unequal.score_samples(x, context=context)).all()


def test_warm_start_continues_the_base(model):
    x, context, _ = branches(400, 2)
    later = pickle.loads(pickle.dumps(model)).set_params(warm_start=True, max_iter=20)
    later.fit(x, context=context)
    assert isinstance(later.flow_.base, BASE)
    fresh, fresh_context, known = branches(3000, 3)
    assert known.mean() - later.score(fresh, context=fresh_context) < 0.06
    moved = pickle.loads(pickle.dumps(model)).set_params(warm_start=True, max_iter=20)
    moved.fit(5 * x + 100, context=3 * context - 40)
    assert known.mean() - np.log(5) - moved.score(5 * fresh + 100, context=3 * fresh_context - 40) < 0.08


def test_partial_fit_continues_the_base(model):
    x, context, _ = branches(400, 4)
    later = pickle.loads(pickle.dumps(model))
    before = later.score(x, context=context)
    for _ in range(5):
        later.partial_fit(x, context=context)
    assert isinstance(later.flow_.base, BASE) and later.score(x, context=context) > before - 0.02
    assert (later.flow_.base.means != model.flow_.base.means).any()


def test_outlier_detector():
    x, context, _ = branches(300)
    detector = nvpflow.FlowOutlierDetector(random_state=0).fit(x, context=context)
    assert isinstance(detector.estimator_.flow_.base, BASE)
    known = detector.predict([[2.0], [-2.0], [0.0]], context=[[2.0]] * 3)
    assert list(known) == [1, 1, -1]


def test_history_is_that_of_the_callback():
    """The average that replaces the flow leaves the history as it is."""
    x, context, _ = branches(200)
    seen = []
    model = nvpflow.FlowDensity(random_state=0, max_iter=30)
    model.fit(x, context=context, callback=lambda epoch, *nll: seen.append((epoch, *nll)) and False)
    assert isinstance(model.flow_.base, BASE) and model.n_iter_ == len(seen) == len(model.history_["train_nll"]) == 30
    np.testing.assert_array_equal([nll for _, nll, _ in seen], model.history_["train_nll"])
    assert model.best_iter_ == 0


def test_a_single_mixture():
    x, context, known = branches(300)
    data = Data(x.astype(np.float32), context.astype(np.float32))
    base = fit_conditional_mixture(data, (), 0)
    assert 2 <= base.n_components <= 48 and base.context_dim == 1
    assert abs(base.log_prob(data.x, data.context).mean() - known.mean()) < 0.1
