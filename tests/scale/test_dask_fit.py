"""Fits to arrays and frames of Dask, by threads, and by processes of which one dies."""

import os
import signal

import numpy as np
import pytest

import nvpflow

dask = pytest.importorskip("dask", reason="needs Dask")
da = pytest.importorskip("dask.array", reason="needs Dask")
RNG = np.random.default_rng(0)
X = (RNG.normal(size=(3000, 2)) + RNG.integers(2, size=(3000, 1)) * 3) * [1.0, 10.0] + 5
SMALL = {"n_layers": 2, "hidden_dim": 8, "random_state": 0, "base": "mixture"}


@pytest.fixture
def few_rows(monkeypatch):
    """Let 600 rows be too many for an ordinary fit, and rounds be short."""
    from nvpflow.scale import _dask_fit

    for name, value in {"SAMPLE_ROWS": 600, "HELD_OUT_ROWS": 500, "STEPS_PER_ROUND": 10, "_count_threads": lambda: 2}.items():
        monkeypatch.setattr(_dask_fit, name, value)
    return _dask_fit


def lazy(x=X, rows=500):
    return da.from_array(x, chunks=(rows, 1))


def test_a_fit_to_few_rows_is_the_ordinary_one():
    plain = nvpflow.FlowDensity(max_iter=3, **SMALL).fit(X)
    model = nvpflow.FlowDensity(max_iter=3, **SMALL).fit(lazy())
    np.testing.assert_array_equal(model.flow_.parameters, plain.flow_.parameters)


def test_frames_give_the_names_of_their_columns():
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = nvpflow.FlowDensity(max_iter=1, **SMALL).fit(dd.from_pandas(frame, npartitions=3))
    assert list(model.feature_names_in_) == ["a", "b"]


def test_rounds_gain_on_an_ordinary_fit_to_some_rows(few_rows):
    fresh = (RNG.normal(size=(5000, 2)) + RNG.integers(2, size=(5000, 1)) * 3) * [1.0, 10.0] + 5
    model = nvpflow.FlowDensity(**SMALL).fit(lazy())
    nll = model.history_["validation_nll"]
    assert model.n_samples_seen_ == 3000 and model.n_iter_ == len(nll) == len(model.history_["train_nll"])
    assert model.history_["validation_epoch"][-1] == model.n_iter_
    if model.best_iter_:
        assert nll[model.best_iter_ - 1] == nll.min()
    plain = nvpflow.FlowDensity(**SMALL).fit(X)
    assert model.score(fresh) > plain.score(fresh) - 0.03
    assert np.mean(np.isfinite(model.score_samples(fresh))) == 1


def test_a_mixture_gains_by_the_rows_of_all_workers(few_rows, monkeypatch):
    options = SMALL | {"max_iter": 1, "learning_rate": 1e-9}  # so that rounds change nothing
    model = nvpflow.FlowDensity(**options).fit(lazy())
    monkeypatch.setattr(few_rows, "run_passes", lambda *_: None)
    without = nvpflow.FlowDensity(**options).fit(lazy())
    assert model.score(X) > without.score(X) + 0.005


def test_the_first_passes_are_over_some_rows(few_rows, monkeypatch):
    from nvpflow.scale import _mixture

    monkeypatch.setattr(_mixture, "FIRST_ROWS", 1000)
    counts, take = [], few_rows.LazyPasses._total

    def counted(self, sums, share):
        found = take(self, sums, share)
        counts.append((share is None, found[1]))
        return found

    monkeypatch.setattr(few_rows.LazyPasses, "_total", counted)
    nvpflow.FlowDensity(max_iter=1, **SMALL).fit(lazy())
    (some,), (every,) = ({n for is_all, n in counts if is_all == wanted} for wanted in (False, True))
    assert some == pytest.approx(1000, rel=0.1) and every == pytest.approx(2700, rel=0.1)


def test_training_improves_a_model_that_was_fitted_too_briefly(few_rows):
    from nvpflow.scale._dask_fit import fit_lazy

    seen = []
    model = nvpflow.FlowDensity(n_layers=4, hidden_dim=8, base="normal", max_iter=8, learning_rate=5e-3, random_state=0)
    fit_lazy(model, lazy(), lambda *nlls: seen.append(nlls))
    assert [epoch for epoch, *_ in seen] == list(range(1, model.n_iter_ + 1)) and model.best_iter_ > 0
    assert seen[-1][2] < seen[0][2]
    # NLLs are in the units of the data.
    assert min(nll for *_, nll in seen) == pytest.approx(-model.score(X), abs=0.1)


def test_the_result_does_not_depend_on_the_scheduler(few_rows):
    models = []
    for scheduler in ("sync", "threads"):
        with dask.config.set(scheduler=scheduler):
            models.append(nvpflow.FlowDensity(max_iter=4, **SMALL).fit(lazy()))
    np.testing.assert_array_equal(*(model.flow_.parameters for model in models))


def test_stop_iteration_ends_the_rounds(few_rows):
    def stop(epoch, *_):
        if epoch == 2:
            raise StopIteration

    assert nvpflow.FlowDensity(**SMALL).fit(lazy(), callback=stop).n_iter_ == 2


@pytest.mark.parametrize("place", [0, 2999])
def test_a_value_that_is_not_finite_is_an_error(few_rows, place):
    bad = X.copy()
    bad[place, 1] = np.nan
    model = nvpflow.FlowDensity(max_iter=40, **SMALL)
    with pytest.raises(ValueError, match=rf"X must be finite.* in column 1, row {place}\. "):
        model.fit(lazy(bad))
    assert not hasattr(model, "flow_")


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"n_models": 2}, "n_models"),
        ({"validation_fraction": None}, "validation_fraction"),
        ({"missing": "marginalize"}, "missing"),
    ],
)
def test_what_needs_all_rows_at_once_is_an_error(few_rows, parameters, words):
    with pytest.raises(ValueError, match=f"{words} must .* more than 600 rows"):
        nvpflow.FlowDensity(**SMALL, **parameters).fit(lazy())


def test_categories_are_an_error_where_rows_are_many(few_rows):
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    frame = dd.from_pandas(pd.DataFrame({"a": X[:, 0], "k": ["u", "v"] * 1500}), npartitions=3)
    with pytest.raises(ValueError, match="no column may be a category"):
        nvpflow.FlowDensity(**SMALL).fit(frame)


def test_rows_need_two_dimensions():
    with pytest.raises(ValueError, match=r"X must have shape \(n, D\), got \(3000,\)"):
        nvpflow.FlowDensity(**SMALL).fit(lazy()[:, 0])


def test_other_arguments_are_errors():
    for name in ("context", "sample_weight"):
        with pytest.raises(ValueError, match=f"{name} must be None for an X of Dask"):
            nvpflow.FlowDensity(**SMALL).fit(lazy(), **{name: np.ones(3000)})


@pytest.mark.parametrize("contamination", ["auto", 0.1])
def test_outlier_detector(few_rows, contamination):
    detector = nvpflow.FlowOutlierDetector(max_iter=2, contamination=contamination, **SMALL).fit(lazy())
    share = (detector.predict(lazy()) == -1).mean().compute()
    assert share == pytest.approx(0.05 if contamination == "auto" else 0.1, abs=0.03)


def test_a_worker_that_is_killed_does_not_lose_the_fit(few_rows, cluster):
    pids = [worker.pid for worker in cluster.workers.values()]
    killed = []

    def kill(epoch, *_):
        if epoch == 2:
            os.kill(pids[0], signal.SIGKILL)
            killed.append(pids[0])

    with dask.config.set(scheduler="sync"):
        expected = nvpflow.FlowDensity(max_iter=4, **SMALL).fit(lazy())
    with cluster.get_client():
        model = nvpflow.FlowDensity(max_iter=4, **SMALL).fit(lazy().persist(), callback=kill)
    assert killed
    np.testing.assert_array_equal(model.flow_.parameters, expected.flow_.parameters)
    assert model.n_iter_ == expected.n_iter_ > 2
