"""FlowDensity with n_models > 1: what the methods return, and what an average of densities does not have."""

import copy
import pickle

import numpy as np
import pytest

import nvpflow
from support.ensembles import fitted
from support.estimators import FRESH, X, make

CONTEXT = np.random.default_rng(3).uniform(size=(len(X), 2))
SHIFTED = X + CONTEXT  # depends on the context


@pytest.fixture(scope="module")
def model():
    return fitted(base="normal")


@pytest.fixture(scope="module")
def conditional():
    return fitted(x=SHIFTED, context=CONTEXT)


def test_one_model_is_a_flow():
    """Bit for bit the fit without the parameter."""
    one = make(n_models=1).fit(X)
    assert type(one.flow_) is nvpflow.Flow and type(one.n_iter_) is type(one.best_iter_) is int
    np.testing.assert_array_equal(one.flow_.parameters, make().fit(X).flow_.parameters)
    assert "member" not in one.history_


def test_fitted_attributes(model):
    assert type(model.flow_) is nvpflow.FlowEnsemble and len(model.flow_) == 3
    assert model.n_iter_ == len(model.history_["train_nll"]) == 3 * 20
    assert model.best_iter_.shape == (3,) and model.best_iter_.dtype.kind == "i"
    assert model.history_["member"].tolist() == [0] * 20 + [1] * 20 + [2] * 20
    assert len({flow.parameters.tobytes() for flow in model.flow_}) == 3
    for k, kept in enumerate(model.best_iter_):  # the kept epochs have the lowest validation NLL
        epoch = model.history_["validation_epoch"]
        own = model.history_["member"][epoch - 1] == k
        best = epoch[own][model.history_["validation_nll"][own].argmin()]
        assert kept == best - 20 * k


def test_density_is_the_average(model):
    densities = [np.exp(flow.log_prob(FRESH).astype(float)) for flow in model.flow_]
    np.testing.assert_allclose(model.score_samples(FRESH), np.log(np.mean(densities, axis=0)), rtol=2e-5)
    assert model.score(FRESH) == pytest.approx(model.score_samples(FRESH).mean(dtype=float), rel=1e-6)
    np.testing.assert_array_equal(model.grad_log_prob(FRESH), model.flow_.grad_log_prob(FRESH))


def test_average_is_better_than_its_members(model):
    members = [flow.log_prob(FRESH).mean() for flow in model.flow_]
    assert model.score(FRESH) > np.mean(members)


def test_density_integrates_to_one(model):
    axis = np.linspace(-15, 15, 400)
    grid = np.stack(np.meshgrid(axis + 5, axis - 3), axis=-1).reshape(-1, 2)
    mass = np.exp(model.score_samples(grid).astype(float)).sum() * (axis[1] - axis[0]) ** 2
    assert mass == pytest.approx(1, abs=0.02)


class TestSpread:
    def test_of_members(self, model):
        log_density, std = model.score_samples(FRESH, return_std=True)
        np.testing.assert_array_equal(log_density, model.score_samples(FRESH))
        of_members = [flow.log_prob(FRESH).astype(float) for flow in model.flow_]
        np.testing.assert_allclose(std, np.std(of_members, axis=0), rtol=1e-4, atol=1e-6)
        assert std.shape == (len(FRESH),) and std.dtype == model.flow_.dtype and (std > 0).all()

    def test_of_one_model(self):
        log_density, std = make().fit(X).score_samples(FRESH, return_std=True)
        assert not std.any() and std.shape == log_density.shape

    def test_without_density(self, model):
        """Some members without a density: infinite; all: zero."""
        twin = copy.deepcopy(model)
        far = [[1e30, 1e30]]
        assert twin.score_samples(far) == -np.inf
        log_density, std = twin.score_samples(far, return_std=True)
        assert log_density == -np.inf and std == 0
        twin.flow_[0].layers[-1].log_scale[:] = -60
        log_density, std = twin.score_samples(X[:2], return_std=True)
        assert np.isfinite(log_density).all() and (std == np.inf).all()

    @pytest.mark.parametrize("wrong", [1, "yes", None])
    def test_argument(self, model, wrong):
        for estimator in (model, fitted(nvpflow.FlowOutlierDetector, max_iter=2)):
            with pytest.raises(TypeError, match="return_std must be True or False"):
                estimator.score_samples(X, return_std=wrong)


def test_samples(model):
    x = model.sample(2000, random_state=1)
    np.testing.assert_array_equal(x, model.sample(2000, random_state=1))
    np.testing.assert_array_equal(x, model.flow_.sample(2000, 1))
    np.testing.assert_array_equal(model.sample(5), model.sample(5))  # of the estimator's own seed
    drawn, log_density = model.sample_and_log_prob(2000, 1)
    np.testing.assert_array_equal(drawn, x)
    np.testing.assert_array_equal(log_density, model.score_samples(x))
    np.testing.assert_allclose(x.mean(axis=0), FRESH.mean(axis=0), atol=0.6)


class TestConditional:
    def test_context_is_read_as_by_one_model(self, conditional):
        single = make().fit(SHIFTED, context=CONTEXT)
        np.testing.assert_array_equal(conditional.context_range_, single.context_range_)
        for method in (conditional.score_samples, conditional.grad_log_prob):
            assert np.isfinite(method(SHIFTED, context=CONTEXT)).all()
        x = conditional.sample(3000, context=[0.9, 0.9])
        np.testing.assert_allclose(x.mean(axis=0) - X.mean(axis=0), 0.9, atol=0.5)
        assert conditional.sample(4, context=CONTEXT[:3], per_context=True).shape == (3, 4, 2)
        with pytest.warns(UserWarning, match="leave the range of training"):
            far = conditional.score_samples(SHIFTED[:1], context=[[9.0, 9.0]])
        assert np.isfinite(far).all()

    def test_context_is_needed(self, conditional):
        with pytest.raises(ValueError, match="context must be given"):
            conditional.score_samples(X)


@pytest.mark.filterwarnings("ignore:.* vary by less than a thousand times the resolution")
def test_one_origin_for_all_members():
    """Columns with an offset that float32 hardly resolves, and such a context."""
    x, context = X + [1e6, 0], CONTEXT + [0, 1e7]
    model = fitted(x=x, context=context)
    assert model.origin_ == pytest.approx([x[:, 0].mean(), 0], abs=1e-6)  # of all samples, not those of a member
    assert model.context_origin_ == pytest.approx([0, context[:, 1].mean()], abs=1e-6)
    near = fitted(x=X, context=CONTEXT)
    assert model.score(x, context=context) == pytest.approx(near.score(X, context=CONTEXT), abs=0.05)
    np.testing.assert_allclose(model.sample(500, context=context[0]).mean(axis=0), x.mean(axis=0), atol=1)


class TestOneFlowIsNeeded:
    METHODS = ("transform", "inverse_transform", "fit_transform", "get_feature_names_out", "partial_fit")

    @pytest.mark.parametrize("name", METHODS)
    def test_ensembles_have_no_such_method(self, model, name):
        for estimator, n in ((model, 3), (make(n_models=7), 7)):
            assert not hasattr(estimator, name)
            with pytest.raises(AttributeError, match=f"{name} needs one flow, .* an average of {n}, .* use n_models=1"):
                getattr(estimator, name)

    @pytest.mark.parametrize("name", METHODS)
    def test_others_have_it(self, name):
        for estimator in (make(), make().fit(X), make().fit(X).set_params(n_models=2), make(n_models=-1), make(n_models="3")):
            assert callable(getattr(estimator, name))
        assert getattr(nvpflow.FlowDensity, name).__doc__

    def test_the_fitted_model_decides(self, model):
        assert not hasattr(copy.copy(model).set_params(n_models=1), "transform")


class TestDetector:
    @pytest.mark.parametrize("contamination", ["auto", 0.1])
    def test_threshold(self, contamination):
        detector = fitted(nvpflow.FlowOutlierDetector, contamination=contamination)
        scores, std = detector.score_samples(X, return_std=True)
        np.testing.assert_array_equal(scores, detector.flow_.log_prob(X).astype(float))
        np.testing.assert_array_equal(detector.predict(X), np.where(scores >= detector.offset_, 1, -1))
        assert std.dtype == scores.dtype == float and std.shape == (len(X),)
        share = (detector.predict(X) == -1).mean()
        assert share == pytest.approx(0.05 if contamination == "auto" else 0.1, abs=0.03)
        assert type(detector.flow_) is nvpflow.FlowEnsemble and detector.n_iter_ == 60

    def test_same_density(self):
        detector = fitted(nvpflow.FlowOutlierDetector)
        np.testing.assert_array_equal(detector.score_samples(FRESH), fitted().score_samples(FRESH).astype(float))


def test_pickle(model):
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.score_samples(FRESH), model.score_samples(FRESH))


def test_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b"])
    model = fitted(x=frame).set_output(transform="pandas")
    assert model.sample(3).columns.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.score_samples(frame[["b", "a"]])


def test_representations(model):
    assert repr(model).startswith("FlowDensity(base='normal', hidden_dim=8, max_iter=20, n_layers=2, n_models=3")
    page = model._repr_html_()
    assert "FlowEnsemble" in page and ", ".join(map(str, model.best_iter_)) in page
