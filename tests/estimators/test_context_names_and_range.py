"""Contexts as frames, rows and lists; their column names; and contexts outside of the range of training."""

import copy
import re

import numpy as np
import pytest

import nvpflow

pd = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")

rng = np.random.default_rng(0)
CONTEXT = np.column_stack([rng.uniform(20, 60, 300), rng.uniform(0, 1, 300)])
X = rng.normal(size=(300, 2)) + CONTEXT[:, 1:] * 5
FRAME = pd.DataFrame(CONTEXT, columns=["age", "dose"])
SWAPPED = FRAME[["dose", "age"]]


def make(**parameters):
    return nvpflow.FlowDensity(**dict(n_layers=2, hidden_dim=8, max_iter=5, random_state=0) | parameters)


@pytest.fixture(scope="module")
def model():
    return make().fit(X, context=FRAME)


def uses(model):
    """Every method that takes a context for the 300 rows of X."""
    return (
        lambda context: model.score_samples(X, context=context),
        lambda context: model.score(X, context=context),
        lambda context: model.sample(300, context=context),
        lambda context: model.transform(X, context=context),
        lambda context: model.inverse_transform(X, context=context),
        lambda context: copy.deepcopy(model).partial_fit(X, context=context),
    )


class TestNames:
    def test_attributes(self, model):
        assert model.context_feature_names_in_.dtype == object
        assert model.context_feature_names_in_.tolist() == ["age", "dose"]
        assert not hasattr(model, "feature_names_in_")
        assert copy.deepcopy(model).partial_fit(X, context=FRAME).context_feature_names_in_.tolist() == ["age", "dose"]
        assert make().partial_fit(X, context=FRAME).context_feature_names_in_.tolist() == ["age", "dose"]
        again = copy.deepcopy(model).fit(X, context=CONTEXT)
        assert not hasattr(again, "context_feature_names_in_")

    @pytest.mark.parametrize("frame, message", [
        (SWAPPED, "Feature names must be in the same order as they were in fit."),
        (FRAME.rename(columns={"dose": "Dose"}), "unseen at fit time:\n- Dose\nFeature names seen at fit time, yet now missing:\n- dose"),
        (FRAME[["age"]], "seen at fit time, yet now missing:\n- dose"),
        (FRAME.assign(extra=1.0), "unseen at fit time:\n- extra"),
        (polars.DataFrame(CONTEXT, schema=["dose", "age"], orient="row"), "must be in the same order"),
    ], ids=["order", "other", "missing", "more", "polars"])  # fmt: skip
    def test_other_names(self, model, frame, message):
        for use in uses(model):
            with pytest.raises(ValueError, match=re.escape("The feature names of context should match")) as caught:
                use(frame)
            assert message in str(caught.value)

    def test_missing_names_warn(self, model):
        for use in uses(model):
            with pytest.warns(
                UserWarning, match="context does not have valid feature names, but FlowDensity was fitted with"
            ) as caught:
                use(CONTEXT)
            assert caught[0].filename == __file__
        for use in uses(make().fit(X, context=CONTEXT)):
            with pytest.warns(
                UserWarning, match="context has feature names, but FlowDensity was fitted without feature names of context"
            ):
                use(FRAME)

    def test_names_of_X(self):
        frame = pd.DataFrame(X, columns=["a", "b"])
        model = make().fit(frame, context=FRAME)
        assert model.feature_names_in_.tolist() == ["a", "b"]
        assert np.isfinite(model.score(frame, context=FRAME))
        with pytest.raises(ValueError, match="^The feature names should match"):
            model.score(frame[["b", "a"]], context=FRAME)

    def test_nonstring_names(self):
        model = make().fit(X, context=pd.DataFrame(CONTEXT))
        assert not hasattr(model, "context_feature_names_in_") and np.isfinite(model.score(X, context=CONTEXT))
        with pytest.raises(TypeError, match="Feature names are only supported if all input features have string names"):
            make().fit(X, context=FRAME.rename(columns={"dose": 1}))

    def test_figures(self, model):
        from nvpflow.plot._model import check_model

        assert check_model(model, FRAME[:1]).context.shape == (1, 2)
        with pytest.raises(ValueError, match="must be in the same order"):
            check_model(model, SWAPPED[:1])


class TestForms:
    def test_one_row(self, model):
        expected = model.score_samples(X, context=FRAME.iloc[np.zeros(300, int)])
        for row in (FRAME.iloc[:1], FRAME.iloc[0]):
            np.testing.assert_array_equal(model.score_samples(X, context=row), expected)
        np.testing.assert_array_equal(model.sample(3, context=FRAME[:1]), model.sample(3, context=FRAME.iloc[0]))
        with pytest.raises(ValueError, match="must be in the same order"):
            model.score_samples(X, context=SWAPPED.iloc[0])

    @pytest.mark.parametrize("column", [
        np.arange(300) % 7, np.arange(300) % 2 == 0, (np.arange(300) % 7).astype(np.float16), (np.arange(300) % 7).astype(np.uint8),
    ], ids=["int", "bool", "float16", "uint8"])  # fmt: skip
    def test_dtypes(self, column):
        """Numbers of every dtype give the same result."""
        context = column[:, np.newaxis]
        model, expected = make().fit(X, context=context), make().fit(X, context=context.astype(np.float64))
        density = expected.score_samples(X, context=context.astype(np.float64))
        np.testing.assert_array_equal(model.score_samples(X, context=context), density)
        np.testing.assert_array_equal(model.score_samples(X, context=context.tolist()), density)
        np.testing.assert_array_equal(make().fit(X, context=context.tolist()).score_samples(X, context=context), density)
        assert model.sample(2, context=[1]).shape == (2, 2)

    def test_series(self):
        for fit in (make().fit, make().partial_fit):
            with pytest.raises(ValueError, match=r"context must have shape \(n, D\), got \(300,\)"):
                fit(X, context=FRAME["age"])
        model = make().fit(X, context=FRAME[["age"]])
        with (
            pytest.raises(ValueError, match=r"context must have shape"),
            pytest.warns(UserWarning, match="valid feature names"),
        ):
            model.score(X, context=FRAME["age"])

    def test_unexpected_context_is_not_printed(self):
        model = make().fit(X)
        with pytest.raises(ValueError, match="context must be None, as FlowDensity was fitted without") as caught:
            model.score_samples(X, context=np.zeros((300, 1000)))
        assert str(caught.value).endswith("got a ndarray")


@pytest.fixture(scope="module")
def sine():
    y, c = TestRange.draw(4000, 0)
    return nvpflow.FlowDensity(random_state=0).fit(y, context=c)


class TestRange:
    """y = sin(c) + 0.42 N(0, 1) for c in [0, 5]."""

    @staticmethod
    def draw(n, seed):
        generator = np.random.default_rng(seed)
        c = generator.uniform(0, 5, size=(n, 1))
        return np.sin(c) + 0.42 * generator.normal(size=(n, 1)), c

    @pytest.mark.parametrize("at", [5.4, 6, 10, 100, -1, -1e6])
    @pytest.mark.filterwarnings("ignore:.*leave the range of training")
    def test_clipping(self, sine, at):
        drawn = sine.sample(4000, context=[at])
        assert 0.3 < drawn.std() < 0.75  # of averages of mixtures, it grows where there are no samples
        assert -1.5 < drawn.mean() < 0.6
        assert sine.score(drawn, context=[at]) == pytest.approx(-0.5 * np.log(2 * np.pi * np.e * 0.42**2), abs=0.5)

    def test_warning_has_names(self):
        y, c = self.draw(300, 0)
        model = make().fit(y, context=pd.DataFrame({"hour": c[:, 0]}))
        low, high = model.context_range_[:, 0]
        assert low == pytest.approx(c.min() - 0.1 * np.ptp(c)) and high == pytest.approx(c.max() + 0.1 * np.ptp(c))
        with pytest.warns(
            UserWarning, match="column.s. 'hour' of context leave the range of training in 2 of 3 rows"
        ) as caught:
            model.sample(3, context=pd.DataFrame({"hour": [6.0, 1.0, -7.0]}))
        assert caught[0].filename == __file__ and len(caught) == 1
        assert f"[{low:.6g}, {high:.6g}]" in str(caught[0].message)
        model.sample(3, context=pd.DataFrame({"hour": [low, high, 2.0]}))

    def test_every_method(self):
        y, c = self.draw(300, 0)
        model = make().fit(y, context=c)
        inside = np.clip(c * 3 - 5, *model.context_range_)
        for use in (model.score_samples, model.transform, model.inverse_transform):
            with pytest.warns(UserWarning, match="leave the range"):
                outside = use(y, context=c * 3 - 5)
            np.testing.assert_array_equal(outside, use(y, context=inside))

    def test_partial_fit(self):
        y, c = self.draw(300, 0)
        model = make().partial_fit(y, context=c)
        before = model.context_range_.copy()
        model.partial_fit(y, context=c + 3)
        np.testing.assert_allclose(model.context_range_, [before[0], before[1] + 3])
        fitted = make().fit(y, context=c)
        fitted.partial_fit(y[:1], context=[20.0])
        assert fitted.context_range_[1, 0] == 20
        with pytest.raises(ValueError, match="X has 2 features"):
            fitted.partial_fit(X, context=[30.0])
        assert fitted.context_range_[1, 0] == 20

    def test_held_out_rows(self):
        y, c = self.draw(50, 1)
        for seed in range(5):
            assert np.isfinite(make(random_state=seed, max_iter=1).fit(y, context=c).score(y, context=c))

    def test_model_without_range(self):
        """Models from old files have none."""
        y, c = self.draw(300, 0)
        model = make().fit(y, context=c)
        for name in ("context_range_", "context_origin_", "origin_"):
            delattr(model, name)
        np.testing.assert_array_equal(model.score_samples(y, context=c + 3), model.flow_.log_prob(y, c + 3))
        model.partial_fit(y, context=c)
        assert model.context_range_[1, 0] == pytest.approx(c.max() + 0.1 * np.ptp(c))
