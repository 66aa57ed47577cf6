"""Samples as frames, and several for each context."""

import numpy as np
import pytest

import nvpflow

X = np.random.default_rng(0).normal(size=(300, 2)) + [3, 5000]
C = np.random.default_rng(1).normal(size=(300, 3))


@pytest.fixture(scope="module")
def conditional():
    return nvpflow.FlowDensity(n_layers=2, hidden_dim=8, max_iter=3, random_state=0).fit(X + C[:, :1], context=C)


@pytest.fixture
def frame_model():
    pandas = pytest.importorskip("pandas")
    return nvpflow.FlowDensity(n_layers=2, hidden_dim=8, max_iter=3, random_state=0).fit(
        pandas.DataFrame(X, columns=["height", "weight"])
    )


class TestFrames:
    def test_a_frame_after_a_frame(self, frame_model):
        samples = frame_model.sample(4)
        assert samples.columns.tolist() == ["height", "weight"] and samples.dtypes.tolist() == [X.dtype] * 2

    @pytest.mark.parametrize("kind", ["pandas", "polars"])
    def test_frame_by_set_output(self, frame_model, kind):
        library = pytest.importorskip(kind)
        expected, log_density = frame_model.sample_and_log_prob(4)
        frame, same = frame_model.set_output(transform=kind).sample_and_log_prob(4)
        assert isinstance(frame, library.DataFrame) and list(frame.columns) == ["height", "weight"]
        np.testing.assert_array_equal(frame.to_numpy(), expected)
        np.testing.assert_array_equal(same, log_density)
        np.testing.assert_allclose(frame_model.score_samples(frame), log_density, rtol=1e-4, atol=1e-3)  # names agree
        assert len(frame_model.sample(0)) == 0

    def test_names_without_those_of_fit(self):
        pandas = pytest.importorskip("pandas")
        model = nvpflow.FlowDensity(n_layers=2, hidden_dim=8, max_iter=2, random_state=0).fit(X)
        samples = model.set_output(transform="pandas").sample(3)
        assert isinstance(samples, pandas.DataFrame) and list(samples.columns) == ["x0", "x1"]

    def test_frame_by_configuration(self, frame_model):
        sklearn = pytest.importorskip("sklearn")
        with sklearn.config_context(transform_output="pandas"):
            assert list(frame_model.sample(2).columns) == ["height", "weight"]


class TestPerContext:
    def test_samples_of_repeated_contexts(self, conditional):
        x, log_density = conditional.sample_and_log_prob(5, 7, context=C[:4], per_context=True)
        expected = conditional.sample_and_log_prob(20, 7, context=np.repeat(C[:4], 5, axis=0))
        assert x.shape == (4, 5, 2) and log_density.shape == (4, 5)
        np.testing.assert_array_equal(x.reshape(20, 2), expected[0])
        np.testing.assert_array_equal(log_density.ravel(), expected[1])
        np.testing.assert_array_equal(conditional.sample(5, 7, context=C[:4], per_context=True), x)

    def test_flow_draws_the_same(self, conditional):
        flow = conditional.flow_
        x = flow.sample(5, 7, C[:4], per_context=True)
        np.testing.assert_array_equal(x.reshape(20, 2), flow.sample(20, 7, np.repeat(C[:4], 5, axis=0)))

    def test_one_context(self, conditional):
        assert conditional.sample(5, context=C[0], per_context=True).shape == (1, 5, 2)

    def test_frame_of_contexts(self, conditional):
        pandas = pytest.importorskip("pandas")
        with pytest.warns(UserWarning, match="fitted without feature names"):
            x = conditional.sample(5, 7, context=pandas.DataFrame(C[:4], columns=list("abc")), per_context=True)
        np.testing.assert_array_equal(x, conditional.sample(5, 7, context=C[:4], per_context=True))

    @pytest.mark.parametrize("n, m", [(0, 3), (3, 0), (0, 0)])
    def test_none(self, conditional, n, m):
        assert conditional.sample(n, context=C[:m], per_context=True).shape == (m, n, 2)
        assert conditional.flow_.sample(n, None, C[:m], per_context=True).shape == (m, n, 2)

    def test_errors(self, conditional, frame_model):
        with pytest.raises(ValueError, match="context must be given"):
            conditional.sample(3, per_context=True)
        with pytest.raises(ValueError, match=r"context must have shape \(m, 3\) with per_context=True, got None"):
            conditional.flow_.sample(3, per_context=True)
        with pytest.raises(ValueError, match=r"context must have shape \(m, 3\) with per_context=True, got shape \(3,\)"):
            conditional.flow_.sample(3, 0, C[0], per_context=True)
        with pytest.raises(ValueError, match="the flow has no context"):
            frame_model.sample(3, per_context=True)
        with pytest.raises(TypeError, match="per_context must be True or False, got 'yes'"):
            conditional.sample(3, context=C, per_context="yes")
        with pytest.raises(ValueError, match=r"context must have shape"):
            conditional.sample(3, context=C[:, :2], per_context=True)
