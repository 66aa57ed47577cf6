"""FlowDensity with n_models > 1 and a support: one transformation for all members, and averages of densities and masses."""

import copy
import io
import pickle

import numpy as np
import pytest

import nvpflow
from nvpflow._training.tails import Tails
from nvpflow.layers import Bounded

QUICK = dict(n_models=2, n_layers=2, hidden_dim=8, max_iter=5, random_state=0)
BOUNDED, SUMS = [(0, 1), "positive", None], [nvpflow.Angle(0, 360), "positive", nvpflow.Integer(0)]
pytestmark = [
    pytest.mark.filterwarnings("ignore:.* vary by less than a thousand times"),
    pytest.mark.filterwarnings("ignore:column.* repeat few values"),
]
KINDS = pytest.mark.parametrize("name", ["bounded", "sums"])


def draw(n, seed=0):
    """Rows in BOUNDED, the last column with an offset that float32 does not resolve, and rows in SUMS."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3)) @ (np.eye(3) + 0.4)
    whole = rng.poisson(np.exp(0.5 * z[:, 2]))
    return {
        "bounded": np.c_[1 / (1 + np.exp(-z[:, 0])), np.exp(z[:, 1]), 1e7 + z[:, 2]],
        "sums": np.c_[60 * z[:, 0] % 360, np.exp(z[:, 1]), whole],
    }


X, FRESH = draw(300), draw(100, seed=1)
SUPPORT = {"bounded": BOUNDED, "sums": SUMS}


def fit(name, **parameters):
    return nvpflow.FlowDensity(support=SUPPORT[name], **QUICK | parameters).fit(X[name])


@pytest.fixture(scope="module")
def models():
    return {name: fit(name) for name in SUPPORT}


def member(model, k):
    """The model of one member."""
    one = copy.copy(model)
    one.flow_ = model.flow_[k]
    return one


@KINDS
def test_members_share_the_transformation(models, name):
    model = models[name]
    last = [flow.layers[-1] for flow in model.flow_]
    assert len(last) == 2 and all(isinstance(layer, Bounded) for layer in last)
    assert last[0].config() == last[1].config()
    assert not np.array_equal(model.flow_[0].parameters, model.flow_[1].parameters)


def test_members_share_the_origin(models):
    assert models["bounded"].origin_[:2].tolist() == [0, 0] and models["bounded"].origin_[2] == pytest.approx(1e7, abs=1)
    kinds = models["sums"]._known_supports().kinds
    assert kinds[0].origin != 0 and models["sums"].origin_.tolist() == [kind.origin for kind in kinds]
    assert models["bounded"].score(FRESH["bounded"]) > -10


def fitted_near(bounds, centre, deviation):
    x = centre + deviation * np.random.default_rng(0).normal(size=(300, 1))
    return nvpflow.FlowDensity(support=[bounds], **QUICK).fit(x), x


@pytest.mark.parametrize("bounds, centre, deviation", [((0, 1), 0.9, 1e-3), ("positive", 1e3, 1)])
def test_bounded_columns_have_no_origin(bounds, centre, deviation):
    model, _ = fitted_near(bounds, centre, deviation)
    assert model.origin_.tolist() == [0]


@pytest.mark.parametrize("bounds, centre, deviation", [((0, 1), 0.9, 1e-6), ("positive", 1e9, 1)])
def test_members_share_the_origin_of_a_column_far_from_its_bounds(bounds, centre, deviation):
    model, x = fitted_near(bounds, centre, deviation)
    assert abs(model.origin_[0] - x.mean()) < deviation
    of_members = np.array([member(model, k).score_samples(x) for k in range(2)], np.float64)
    np.testing.assert_allclose(model.score_samples(x), np.log(np.exp(of_members).mean(axis=0)), atol=1e-5)
    assert abs(model.score(x) + 0.5 * np.log(2 * np.pi * np.e) + np.log(deviation)) < 0.5


@KINDS
def test_density_is_the_average(models, name):
    model = models[name]
    of_members = np.array([member(model, k).score_samples(FRESH[name]) for k in range(2)], np.float64)
    np.testing.assert_allclose(model.score_samples(FRESH[name]), np.log(np.exp(of_members).mean(axis=0)), atol=1e-5)
    log_density, std = model.score_samples(FRESH[name], return_std=True)
    np.testing.assert_array_equal(log_density, model.score_samples(FRESH[name]))
    np.testing.assert_allclose(std, of_members.std(axis=0), atol=1e-5)
    assert std.dtype == log_density.dtype == np.float32 and std.max() > 0.01


@KINDS
def test_points_outside(models, name):
    outside = FRESH[name][:1] * [[1, -1, 1]]
    log_density, std = models[name].score_samples(outside, return_std=True)
    assert log_density[0] == -np.inf and std[0] == 0


def test_masses_sum_to_one():
    x = np.random.default_rng(0).binomial(6, 0.3, (300, 1))
    model = nvpflow.FlowDensity(support=[nvpflow.Integer(0, 6)], **QUICK).fit(x)
    assert np.exp(model.score_samples(np.arange(7)[:, None]).astype(float)).sum() == pytest.approx(1, abs=1e-4)


@KINDS
def test_samples(models, name):
    model = models[name]
    x, log_density = model.sample_and_log_prob(50, random_state=1)
    np.testing.assert_array_equal(x, model.sample(50, random_state=1))
    np.testing.assert_allclose(log_density, model.score_samples(x), atol=1e-3)
    assert (x[:, 0] >= 0).all() and (x[:, 0] <= (1 if name == "bounded" else 360)).all() and (x[:, 1] > 0).all()
    if name == "sums":
        assert (x[:, 2] == np.floor(x[:, 2])).all() and (x[:, 2] >= 0).all()


def test_samples_per_context():
    context = np.random.default_rng(3).uniform(size=(300, 1))
    model = nvpflow.FlowDensity(support=SUMS, **QUICK).fit(X["sums"], context=context)
    x, log_density = model.sample_and_log_prob(4, random_state=1, context=context[:3], per_context=True)
    assert x.shape == (3, 4, 3)
    expected = model.score_samples(x.reshape(-1, 3), context=np.repeat(context[:3], 4, axis=0))
    np.testing.assert_allclose(log_density.ravel(), expected, atol=1e-4)


@KINDS
def test_same_for_any_number_of_threads(models, name):
    other = fit(name, n_jobs=2)
    for one, two in zip(models[name].flow_, other.flow_):
        np.testing.assert_array_equal(one.parameters, two.parameters)
        assert one.layers[-1].config() == two.layers[-1].config()
    np.testing.assert_array_equal(models[name].score_samples(FRESH[name]), other.score_samples(FRESH[name]))
    np.testing.assert_array_equal(models[name].sample(20, 1), other.sample(20, 1))


def save_and_load(model):
    file = io.BytesIO()
    model.save(file)
    file.seek(0)
    return nvpflow.load(file)


@KINDS
@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model)), save_and_load])
def test_copies_and_files(models, name, twin_of):
    twin = twin_of(models[name])
    for ours, theirs in zip(
        models[name].score_samples(FRESH[name], return_std=True), twin.score_samples(FRESH[name], return_std=True)
    ):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(twin.sample(20, 1), models[name].sample(20, 1))


@KINDS
def test_warm_start_with_more_members(name):
    model = fit(name, n_models=1, warm_start=True)
    last = model.flow_.layers[-1].config()
    model.set_params(n_models=3).fit(X[name])
    assert [flow.layers[-1].config() for flow in model.flow_] == [last] * 3
    assert np.isfinite(model.score(FRESH[name]))
    with pytest.raises(ValueError, match="warm_start needs the support of the fit before"):
        model.set_params(support=None).fit(X[name])


@KINDS
@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_outliers(name, contamination):
    detector = nvpflow.FlowOutlierDetector(support=SUPPORT[name], contamination=contamination, **QUICK).fit(X[name])
    scores, std = detector.score_samples(X[name], return_std=True)
    assert scores.dtype == std.dtype == np.float64 and (std >= 0).all()
    np.testing.assert_array_equal(scores, detector.score_samples(X[name]))
    if contamination == 0.1:
        assert (detector.predict(X[name]) == -1).mean() == pytest.approx(0.1, abs=0.01)


def test_whole_numbers_have_no_gradient(models):
    with pytest.raises(ValueError, match="whole numbers"):
        models["sums"].grad_log_prob(FRESH["sums"])
    assert np.isfinite(models["bounded"].grad_log_prob(FRESH["bounded"])).all()


def without_broad(search):
    kept = ["broad normals" not in name for name in search["candidate"]]
    return {name: values[kept] for name, values in search.items()}


class TestUnits:
    """A positive column is one of logarithms to training: curves and scores differ by the mean logarithm."""

    X = np.exp(np.random.default_rng(0).normal(3, 1, size=(200, 1)))
    WEIGHT = np.random.default_rng(1).uniform(0.5, 1.5, 200)

    @pytest.mark.parametrize("n_models", [1, 2])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_search_and_history(self, n_models, weighted, monkeypatch):
        monkeypatch.setattr(Tails, "narrowed", lambda self, x, n, weights, means, covariances: covariances)  # behind a bound
        weight = self.WEIGHT if weighted else None
        options = QUICK | {"n_models": n_models, "max_iter": 20}
        model = nvpflow.FlowDensity(support=["positive"], **options).fit(self.X, sample_weight=weight)
        assert model._known_supports().scales.tolist() == [0]
        plain = nvpflow.FlowDensity(**options).fit(np.log(self.X), sample_weight=weight)
        shift = np.average(np.log(self.X[:, 0]), weights=weight)
        ours, theirs = without_broad(model.search_), without_broad(plain.search_)  # which are less broad behind a bound
        assert ours["candidate"].tolist() == theirs["candidate"].tolist()
        flows = np.array(["flow over" in name for name in ours["candidate"]])
        np.testing.assert_allclose((ours["score"] + shift)[~flows], theirs["score"][~flows], atol=1e-4)
        # The flow is judged on the validation samples, whose mean logarithm is another one.
        for search in (ours, theirs):
            np.testing.assert_array_equal(search["score"][flows], search["validation_score"][flows])
        gap = theirs["validation_score"] - ours["validation_score"]
        for k, last in enumerate(np.flatnonzero(flows)):
            epochs = model.history_["validation_epoch"] - 1
            own = slice(None) if n_models == 1 else model.history_["member"][epochs] == k
            curves = [fitted.history_["validation_nll"][own] for fitted in (model, plain)]
            np.testing.assert_allclose(curves[0] - curves[1], gap[last], atol=1e-4)
