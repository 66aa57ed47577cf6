"""Lazy scores and samples of Dask are those of NumPy, by threads and by processes."""

import numpy as np
import pytest

import nvpflow

da = pytest.importorskip("dask.array", reason="needs Dask")
cloudpickle = pytest.importorskip("cloudpickle", reason="needs Dask")
X = np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return nvpflow.FlowDensity(max_iter=3, n_models=2, random_state=0).fit(X)


@pytest.fixture(scope="module")
def detector():
    pd = pytest.importorskip("pandas")
    return nvpflow.FlowOutlierDetector(base="mixture", max_iter=3, random_state=0).fit(pd.DataFrame(X, columns=list("abc")))


@pytest.fixture(scope="module")
def conditional():
    return nvpflow.FlowDensity(max_iter=3, random_state=0).fit(X[:, 2:], context=X[:, :2])


@pytest.fixture
def frames():
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame(X, columns=list("abc"))
    return frame, dd.from_pandas(frame, npartitions=4)


def same_when_computed(lazy, expected):
    found = lazy.compute()
    assert lazy.dtype == found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


class TestArrays:
    @pytest.mark.parametrize("chunks", [(100, 3), (250, 2), (600, 1)])
    def test_scores_are_lazy_in_the_chunks_of_x(self, model, chunks):
        x = da.from_array(X, chunks=chunks)
        lazy = model.score_samples(x)
        assert isinstance(lazy, da.Array) and lazy.chunks == x.chunks[:1]
        same_when_computed(lazy, model.score_samples(X))

    def test_standard_deviations_and_temperature(self, model):
        x = da.from_array(X, chunks=(250, 3))
        lazy, expected = (model.score_samples(rows, return_std=True, temperature=0.5) for rows in (x, X))
        for one, values in zip(lazy, expected, strict=True):
            same_when_computed(one, values)

    def test_unknown_and_empty_chunks(self, model):
        x = da.from_array(X, chunks=(100, 3))
        few = x[x[:, 0] > 2.2]
        assert np.isnan(few.shape[0])
        same_when_computed(model.score_samples(few), model.score_samples(X[X[:, 0] > 2.2]))

    def test_score_is_one_lazy_number(self, model):
        x, weight = da.from_array(X, chunks=(100, 3)), np.arange(600.0)
        lazy = model.score(x)
        assert isinstance(lazy, da.Array) and lazy.shape == ()
        assert float(lazy) == pytest.approx(model.score(X), rel=1e-12)
        for of_weight in (weight, da.from_array(weight, chunks=100)):
            assert float(model.score(x, sample_weight=of_weight)) == pytest.approx(
                model.score(X, sample_weight=weight), rel=1e-12
            )

    @pytest.mark.parametrize("weight", [np.zeros(600), np.full(600, -1.0), np.full(600, np.nan)])
    def test_bad_weights_are_an_error(self, model, weight):
        with pytest.raises(ValueError, match="sample_weight must"):
            model.score(da.from_array(X, chunks=(100, 3)), sample_weight=weight).compute()

    def test_weights_in_other_chunks(self, model, detector, frames):
        weight = np.arange(600.0)
        expected = model.score(X, sample_weight=weight)
        x, in_two = da.from_array(X, chunks=(100, 3)), da.from_array(weight, chunks=300)
        assert float(model.score(x, sample_weight=in_two)) == pytest.approx(expected, rel=1e-12)
        with pytest.raises(ValueError, match=r"sample_weight must have one weight for each sample, got \(500,\) for \(600,\)"):
            model.score(x, sample_weight=da.ones(500, chunks=100))
        with pytest.raises(ValueError, match="sample_weight must have the 4 partitions of X, got 2"):
            detector.estimator_.score(frames[1], sample_weight=in_two)

    def test_p_values(self, model):
        np.testing.assert_array_equal(model.p_values(da.from_array(X, chunks=(100, 3))), model.p_values(X))

    @pytest.mark.parametrize("lazily", [np.asarray, lambda rows: da.from_array(rows, chunks=(100, 1))])
    def test_context_of_every_row(self, conditional, lazily):
        x, context = da.from_array(X[:, 2:], chunks=(300, 1)), lazily(X[:, :2])
        expected = conditional.score_samples(X[:, 2:], context=X[:, :2])
        same_when_computed(conditional.score_samples(x, context=context), expected)

    def test_one_context_for_all_rows(self, conditional):
        x = da.from_array(X[:, 2:], chunks=(300, 1))
        same_when_computed(
            conditional.score_samples(x, context=X[0, :2]), conditional.score_samples(X[:, 2:], context=X[0, :2])
        )

    def test_bad_arguments_are_errors_before_anything_is_computed(self, model, conditional):
        x = da.from_array(X, chunks=(100, 3))
        for bad, words in ((x[:, :2], "2 features"), (x[:, 0], "shape")):
            with pytest.raises(ValueError, match=words):
                model.score_samples(bad)
        with pytest.raises(ValueError, match="one row for each of 600 samples"):
            conditional.score_samples(x[:, 2:], context=X[:5, :2])
        with pytest.raises(nvpflow.NotFittedError):
            nvpflow.FlowDensity().score_samples(x)

    def test_a_later_fit_does_not_change_what_is_lazy(self):
        model = nvpflow.FlowDensity(base="normal", max_iter=1, random_state=0).fit(X)
        lazy, before = model.score_samples(da.from_array(X, chunks=(100, 3))), model.score_samples(X)
        model.fit(X * 10)
        same_when_computed(lazy, before)

    def test_the_graph_holds_the_model_once(self, model):
        lazy = model.score_samples(da.zeros((600_000, 3), chunks=(1000, 3)))
        size = len(cloudpickle.dumps(dict(lazy.__dask_graph__())))
        assert size < len(cloudpickle.dumps(model)) + 1000 * lazy.npartitions


class TestFrames:
    def test_detector_gives_series_with_index_and_divisions(self, detector, frames):
        frame, lazy_frame = frames
        for method in ("score_samples", "decision_function", "predict"):
            lazy = getattr(detector, method)(lazy_frame)
            assert lazy.divisions == lazy_frame.divisions
            same_when_computed(lazy, getattr(detector, method)(frame))
            assert lazy.compute().index.equals(frame.index)

    def test_empty_partitions(self, detector, frames):
        frame, lazy_frame = frames
        assert detector.predict(lazy_frame[lazy_frame.a > 99]).compute().shape == (0,)
        same_when_computed(detector.predict(lazy_frame[lazy_frame.a > 2.2]), detector.predict(frame[frame.a > 2.2]))

    def test_score(self, detector, frames):
        density = detector.estimator_
        assert float(density.score(frames[1])) == pytest.approx(density.score(frames[0]), rel=1e-12)

    def test_names_of_columns_are_checked_at_once(self, detector, frames):
        with pytest.raises(ValueError, match="feature names"):
            detector.predict(frames[1][["a", "b"]])

    def test_context_as_a_frame(self, conditional, frames):
        _, lazy_frame = frames
        pd = pytest.importorskip("pandas")
        named = nvpflow.FlowDensity(base="normal", max_iter=1, random_state=0)
        frame = pd.DataFrame(X, columns=list("abc"))
        named.fit(frame[["c"]], context=frame[["a", "b"]])
        expected = named.score_samples(frame[["c"]], context=frame[["a", "b"]])
        for context in (lazy_frame[["a", "b"]], lazy_frame[["a", "b"]].repartition(npartitions=2)):
            same_when_computed(named.score_samples(lazy_frame[["c"]], context=context), expected)
        with pytest.raises(TypeError, match="both frames"):
            named.score_samples(lazy_frame[["c"]], context=da.from_array(X[:, :2]))


class TestSamples:
    def test_samples_do_not_depend_on_the_scheduler(self, model):
        from nvpflow.scale.dask import sample

        x = sample(model, 1000, 0, chunks=300)
        assert x.chunks == ((300, 300, 300, 100), (3,)) and x.dtype == np.float32
        found = x.compute(scheduler="threads")
        np.testing.assert_array_equal(found, x.compute(scheduler="sync"))
        assert len(np.unique(found[:, 0])) > 990  # chunks have seeds of their own
        assert abs(found.mean(axis=0) - X.mean(axis=0)).max() < 0.2
        np.testing.assert_array_equal(sample(model, 1000, chunks=300), found)  # the random state of the model

    def test_frames_where_the_model_draws_frames(self, frames):
        from nvpflow.scale.dask import sample

        pd = pytest.importorskip("pandas")
        frame = frames[0].assign(k=pd.Categorical(np.where(X[:, 0] > 0, "u", "v")))
        model = nvpflow.FlowDensity(base="normal", max_iter=1, random_state=0).fit(frame)
        lazy = sample(model, 1000, chunks=300)
        found = lazy.compute()
        assert lazy.divisions == (0, 300, 600, 900, 999) and list(found.index) == list(range(1000))
        assert (found.dtypes == lazy.dtypes).all() and (found.dtypes == frame.dtypes).all()

    def test_samples_given_a_lazy_context(self, conditional):
        context = da.from_array(np.repeat(X[:, :2], 2, axis=0), chunks=(500, 1))
        x = conditional.sample(1200, 0, context=context)
        assert x.chunks == ((500, 500, 200), (1,))
        np.testing.assert_array_equal(x, x.compute(scheduler="sync"))
        assert conditional.sample(5, 0, context=context, per_context=True).compute().shape == (1200, 5, 1)
        with pytest.raises(ValueError, match="one row for each sample"):
            conditional.sample(7, 0, context=context)


def test_processes_of_a_cluster_score(model, detector, frames, cluster):
    x = da.from_array(X, chunks=(100, 3))
    with cluster.get_client():
        same_when_computed(model.score_samples(x), model.score_samples(X))
        same_when_computed(detector.predict(frames[1]), detector.predict(frames[0]))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_samples_of_a_model_of_a_plain_frame(library):
    """Dask has frames of pandas; those of polars become arrays."""
    x = np.random.default_rng(0).normal(size=(100, 2))
    frame = pytest.importorskip(library).DataFrame({"a": x[:, 0], "b": x[:, 1]})
    model = nvpflow.FlowDensity(2, 8, max_iter=2, random_state=0).fit(frame)
    drawn = nvpflow.scale.dask.sample(model, 10, chunks=5).compute()
    assert drawn.shape == (10, 2) and (library == "polars") == isinstance(drawn, np.ndarray)
    given = nvpflow.FlowDensity(2, 8, max_iter=2, random_state=0).fit(frame, context=x[:, :1])
    rows = da.from_array(x[:10, :1], chunks=(5, 1))
    np.testing.assert_array_equal(np.shape(given.sample(10, context=rows).compute()), (10, 2))
