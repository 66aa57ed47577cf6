"""How the members of an ensemble are trained: their held-out samples, seeds, threads, callbacks and warm starts."""

import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow._training.split import lone_values, split, split_for_members
from support.ensembles import fitted
from support.estimators import FRESH, X, make


def held_out(n, fraction, n_models, seed=0):
    """Which rows each member does not train on, (n_models, n), of rows that differ in both columns."""
    data = Data(np.stack([np.arange(n), np.arange(n) % 7], axis=1).astype(float))
    parts = split_for_members(SimpleNamespace(validation_fraction=fraction), data, seed, n_models)
    masks = np.zeros((n_models, n), bool)
    for mask, (training, validation) in zip(masks, parts):
        mask[validation.x[:, 0].astype(int)] = True
        assert sorted(np.append(training.x[:, 0], validation.x[:, 0])) == list(range(n))
    return masks


class TestHeldOutSamples:
    @pytest.mark.parametrize(
        "n, fraction, n_models", [(100, 0.2, 5), (99, 0.2, 5), (1000, 0.1, 10), (101, 0.3, 3), (9, 0.5, 2)]
    )
    def test_disjoint_where_they_can_be(self, n, fraction, n_models):
        masks = held_out(n, fraction, n_models)
        assert masks.sum(axis=0).max() == 1
        assert (abs(masks.sum(axis=1) - fraction * n) <= 1).all()

    @pytest.mark.parametrize("n, fraction, n_models", [(100, 0.2, 8), (103, 0.3, 7), (50, 0.6, 3), (200, 0.9, 4), (7, 0.5, 3)])
    def test_as_even_as_possible_otherwise(self, n, fraction, n_models):
        times = held_out(n, fraction, n_models).sum(axis=0)
        assert times.min() >= 1 and times.max() - times.min() <= 1

    @pytest.mark.parametrize("n", [7, 9, 10, 101])
    @pytest.mark.parametrize("fraction, n_models", [(0.2, 2), (0.5, 2), (0.2, 8), (0.6, 3), (0.74, 4), (0.01, 3)])
    def test_every_row_trains_a_member(self, n, fraction, n_models):
        masks = held_out(n, fraction, n_models)
        assert not masks.all(axis=0).any() and masks.any(axis=1).all()

    def test_more_members_than_rows(self):
        masks = held_out(5, 0.2, 12)
        assert (masks.sum(axis=1) == 1).all() and masks.sum(axis=0).max() == 3

    def test_of_one_model_as_before(self):
        data, settings = Data(np.random.default_rng(0).normal(size=(50, 2))), SimpleNamespace(validation_fraction=0.2)
        (ours,) = split_for_members(settings, data, 3, 1)
        for one, other in zip(ours, split(settings, data, 3)):
            np.testing.assert_array_equal(one.x, other.x)

    def test_order_is_random(self):
        assert (held_out(100, 0.2, 3, 0) != held_out(100, 0.2, 3, 1)).any()

    def test_lone_values_stay_in_training(self):
        x = np.stack([np.arange(20.0), np.zeros(20)], axis=1)
        x[7, 1] = 1
        settings = SimpleNamespace(validation_fraction=0.5)
        for training, _ in split_for_members(settings, Data(x), 0, 4):
            assert np.ptp(training.x[:, 1]) == 1

    def test_lone_values_beside_missing_cells_stay_in_training(self):
        x = np.stack([np.arange(20.0), np.full(20, np.nan)], axis=1)
        x[[3, 7], 1] = [1, 2]
        for training in (np.setdiff1d(np.arange(20), [7]), np.setdiff1d(np.arange(20), [0, 3])):
            held_out = np.setdiff1d(np.arange(20), training)
            assert lone_values(x, training, held_out).tolist() == [7 if 7 in held_out else 3]
        assert lone_values(x, np.arange(8), np.arange(8, 20)).tolist() == []

    def test_none(self):
        model = fitted(validation_fraction=None)
        assert "validation_nll" not in model.history_ and (model.best_iter_ == 20).all()
        assert len({flow.parameters.tobytes() for flow in model.flow_}) == 3  # from different starts


OPTIONS = {
    "normal": {"base": "normal"},
    "two starts": {"base": "normal", "n_init": 2},
    "mixture": {},
    "in float64": {"dtype": "float64", "coupling": "affine"},
    "without standardisation": {"standardize": False, "base": "normal"},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_n_jobs_changes_no_bit(case):
    first = fitted(n_jobs=1, **OPTIONS[case])
    for n_jobs in (2, 3, 7):
        model = fitted(n_jobs=n_jobs, **OPTIONS[case])
        assert [flow.parameters.tobytes() for flow in model.flow_] == [flow.parameters.tobytes() for flow in first.flow_]
        np.testing.assert_array_equal(model.history_["train_nll"], first.history_["train_nll"])
        np.testing.assert_array_equal(model.best_iter_, first.best_iter_)
        assert model.flow_.n_jobs == n_jobs
        np.testing.assert_array_equal(model.score_samples(FRESH), first.score_samples(FRESH))


def test_threads_end_with_the_call():
    before = threading.active_count()
    fitted(n_jobs=3)
    assert threading.active_count() == before


def test_more_models_keep_the_first_members():
    """Their seeds and held-out samples do not depend on the number of members."""
    three, five = fitted(base="normal"), fitted(base="normal", n_models=5)
    assert [flow.parameters.tobytes() for flow in five.flow_[:3]] == [flow.parameters.tobytes() for flow in three.flow_]


def test_random_state():
    one, other, again = (fitted(base="normal", random_state=seed) for seed in (1, 2, 1))
    np.testing.assert_array_equal(one.score_samples(FRESH), again.score_samples(FRESH))
    assert not np.array_equal(one.score_samples(FRESH), other.score_samples(FRESH))
    rng = np.random.default_rng(0)
    assert not np.array_equal(fitted(random_state=rng).sample(3, 0), fitted(random_state=rng, base="normal").sample(3, 0))


def test_weights():
    weight = np.where(X[:, 0] > 5, 1.0, 0.0)
    model = fitted(sample_weight=weight)
    assert model.n_samples_seen_ == weight.sum() and (model.sample(500)[:, 0] > 4).mean() > 0.95


class TestCallbacks:
    def test_epochs_are_counted_on(self):
        told = []
        model = fitted(n_jobs=2, base="normal", callback=lambda *epoch: told.append(epoch))
        assert [epoch for epoch, *_ in told] == list(range(1, 61))
        np.testing.assert_array_equal([nll for _, nll, _ in told], model.history_["train_nll"])
        validated = [epoch for epoch, _, nll in told if not np.isnan(nll)]
        assert validated == model.history_["validation_epoch"].tolist()
        np.testing.assert_array_equal(model.flow_[2].parameters, fitted(base="normal").flow_[2].parameters)

    def test_called_in_the_calling_thread(self):
        threads = set()
        fitted(n_jobs=3, callback=lambda *epoch: threads.add(threading.current_thread()))
        assert threads == {threading.current_thread()}

    @pytest.mark.parametrize("n_init", [1, 2])
    @pytest.mark.parametrize("at, n_members", [(1, 1), (20, 1), (21, 2), (47, 3)])
    def test_stop_iteration_ends_all(self, at, n_members, n_init):
        """What is trained so far is kept."""

        def stop(epoch, train_nll, validation_nll):
            if epoch == at:
                raise StopIteration

        model = fitted(base="normal", n_init=n_init, callback=stop)
        assert type(model.flow_) is nvpflow.FlowEnsemble and len(model.flow_) == len(model.best_iter_) >= n_members
        assert model.n_iter_ == len(model.history_["member"]) and np.isfinite(model.score(FRESH))
        if n_init == 1:
            assert len(model.flow_) == n_members and model.n_iter_ == at
            np.testing.assert_array_equal(
                model.history_["train_nll"], fitted(base="normal").history_["train_nll"][:at], strict=True
            )

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
    def test_exceptions_leave_a_fitted_model(self, error):
        def fail(epoch, train_nll, validation_nll):
            if epoch == 30:
                raise error

        model = make(n_models=3, base="normal")
        with pytest.raises(error):
            model.fit(X, callback=fail)
        assert len(model.flow_) == 2 and model.n_iter_ == 30 and np.isfinite(model.score(FRESH))

    def test_before_the_first_epoch(self):
        """An earlier fit stays."""
        model = fitted(n_models=2, base="normal")
        before = model.flow_
        with pytest.raises(ValueError, match="constant column"):
            model.fit(np.ones((10, 2)))
        assert model.flow_ is before

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_verbose(self, n_jobs, capsys):
        fitted(base="normal", verbose=1, n_jobs=n_jobs)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 10 and lines[-1].startswith("epoch 60/60: training NLL")


class TestErrorsInThreads:
    """With threads, exceptions and warnings are those of the call."""

    @pytest.mark.parametrize("n_jobs", [1, 3])
    def test_exception(self, n_jobs, monkeypatch):
        from nvpflow._training.start import Start

        def fail(self):
            raise MemoryError("no room")

        monkeypatch.setattr(Start, "judge_layers", fail)
        model, n_threads = make(n_models=3, n_jobs=n_jobs, max_iter=3), threading.active_count()
        with pytest.raises(MemoryError, match="no room"):
            model.fit(X)
        assert threading.active_count() == n_threads

    @pytest.mark.parametrize("n_jobs", [1, 3])
    def test_warnings(self, n_jobs):
        """Each once, at the line of the call."""
        x = X * [1, 1e-3] + [0, 1e5]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted(x=x, n_jobs=n_jobs, standardize=True)
        assert [str(warning.message)[:40] for warning in caught] == ["column(s) 1 of X vary by less than a tho"]
        assert caught[0].filename.endswith("ensembles.py")

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_divergence(self, n_jobs):
        options = dict(coupling="affine", scale_bound=None, base="normal", learning_rate=1e3, n_models=2, n_jobs=n_jobs)
        with pytest.warns(nvpflow.ConvergenceWarning, match="training diverged"):
            model = make(**options).fit(X)
        assert np.isfinite(model.score(X))


class TestWarmStart:
    def test_every_member_continues(self):
        model = fitted(base="normal", warm_start=True)
        before = [flow.parameters.copy() for flow in model.flow_]
        first = model.score(X)
        model.set_params(learning_rate=1e-4).fit(X)
        moved = [np.abs(flow.parameters - old).max() for flow, old in zip(model.flow_, before)]
        fresh = [np.abs(flow.parameters - old).max() for flow, old in zip(fitted(base="normal", random_state=9).flow_, before)]
        assert 0 < max(moved) < min(fresh) and model.score(X) > first - 0.01

    def test_members_are_added(self):
        model = fitted(base="normal", n_models=2, warm_start=True)
        before = [flow.parameters.copy() for flow in model.flow_]
        model.set_params(n_models=3, learning_rate=1e-5).fit(X)
        assert len(model.flow_) == 3
        for flow, old in zip(model.flow_, before):
            np.testing.assert_allclose(flow.parameters, old, atol=0.02)

    def test_from_one_flow(self):
        model = make(base="normal", warm_start=True, batch_size=256).fit(X)
        before = model.flow_.parameters.copy()
        model.set_params(n_models=2, learning_rate=1e-5).fit(X)
        np.testing.assert_allclose(model.flow_[0].parameters, before, atol=0.02)

    @pytest.mark.parametrize("n_models", [1, 2])
    def test_members_cannot_be_left_out(self, n_models):
        model = fitted(base="normal", warm_start=True)
        before = model.flow_
        with pytest.raises(ValueError, match=f"warm_start needs n_models .*, got n_models 3 -> {n_models}"):
            model.set_params(n_models=n_models).fit(X)
        assert model.flow_ is before

    def test_samples_that_moved(self):
        context = X[:, :1]
        model = fitted(x=X[:, 1:], context=context, warm_start=True, base="normal")
        moved = X[:, 1:] * 3 + 100
        model.fit(moved, context=context * 10 - 5)
        assert (
            model.score(moved, context=context * 10 - 5)
            > fitted(x=X[:, 1:], context=context).score(X[:, 1:], context=context) - 2
        )
