"""Tables that are hard to read: messages name the column and what to do, and samples are frames like the table."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

import nvpflow

N = 60
RNG = np.random.default_rng(0)
X = RNG.normal(size=N)
COUNTS = RNG.poisson(1, N)
DAYS = pd.date_range("2020-01-01", periods=N)


def model(support=None, **options):
    return nvpflow.FlowDensity(support=support, max_iter=2, random_state=0, **options)


class TestTimes:
    @pytest.mark.parametrize(
        "frame",
        [
            pd.DataFrame({"x": X, "when": DAYS}),
            pd.DataFrame({"x": X, "when": DAYS.tz_localize("UTC")}),
            pd.DataFrame({"x": X, "when": DAYS - DAYS[0]}),
            pd.DataFrame({"x": X, "when": DAYS.to_period("D")}),
            pd.DataFrame({"x": X, "when": [day.date() for day in DAYS]}),
            pl.DataFrame({"x": X, "when": DAYS.to_pydatetime().tolist()}),
            pl.DataFrame({"x": X, "when": [day.date() for day in DAYS]}),
            pl.DataFrame({"x": X, "when": [datetime.timedelta(hours=i) for i in range(N)]}),
        ],
        ids=["datetime", "time zone", "timedelta", "period", "dates", "polars", "polars dates", "polars durations"],
    )
    def test_columns_are_named(self, frame):
        with pytest.raises(TypeError, match="in column 'when'.*Convert times to numbers.*Angle.*leave the column out"):
            model().fit(frame)

    def test_tables_of_arrow(self):
        arrow = pytest.importorskip("pyarrow")
        for table in (arrow.table({"x": X, "when": DAYS}), arrow.table({"x": X, "when": [day.date() for day in DAYS]})):
            with pytest.raises(TypeError, match="in column 'when'.*Convert times to numbers"):
                model().fit(table)

    def test_lazy_frames(self):
        pytest.importorskip("pyarrow")
        frame = pl.DataFrame({"x": X, "when": DAYS.to_pydatetime().tolist()}).lazy()
        with pytest.raises(
            TypeError, match="column 'when' of X must hold real numbers, got timestamp.*Convert times to numbers"
        ):
            model().fit(frame)

    def test_arrays(self):
        with pytest.raises(TypeError, match="got dtype datetime64.*Convert times to numbers"):
            model().fit(DAYS.to_numpy().reshape(-1, 1))


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_texts_that_are_declared_as_numbers(library):
    frame = library.DataFrame({"x": X, "size": ["1"] * 2 + ["big"] * (N - 2)})
    with pytest.raises(ValueError, match="got 'big' in column 'size', row 2. Declare the column as 'category' in support"):
        model({"size": (0, 9)}).fit(frame)


def test_texts_of_a_context():
    with pytest.raises(ValueError, match="got 'a' in column 1, row 0. Declare .* in context_support"):
        model().fit(X.reshape(-1, 1), context=np.array([[1.0, "a"]] * N, dtype=object))


@pytest.mark.parametrize("number", [2**53, -(2**60)])
def test_whole_numbers_beyond_the_resolution(number):
    table = np.column_stack([X, COUNTS])
    table[7, 1] = number
    with pytest.raises(ValueError, match=f"column 1 of X .* got {number} in row 7: subtract an offset first"):
        model([None, "integer"]).fit(table)


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_unsigned_columns_stay_unsigned(library):
    frame = library.DataFrame(
        {"a": ["u", "v"] * (N // 2), "n": COUNTS.astype(np.uint8), "x": X, "k": COUNTS[::-1].astype(np.uint8)}
    )
    fitted = model({"n": "integer", "k": nvpflow.Integer(None, 99)}).fit(frame)
    samples = fitted.sample(2000, random_state=0)
    assert list(samples.dtypes) == list(frame.dtypes)
    assert fitted._supports.kinds[::2] == (nvpflow.Integer(0), nvpflow.Integer(0, 99))


def test_other_columns_may_be_negative():
    """Types are those of the frame with its categories, which are no columns of the supports."""
    frame = pd.DataFrame({"n": COUNTS.astype(np.uint8), "c": ["u", "v"] * (N // 2), "k": COUNTS - 3})
    fitted = model({"n": "category", "k": "integer"}).fit(frame)
    assert fitted._supports.kinds == (nvpflow.Integer(),)
    assert fitted.sample(500, random_state=0)["k"].min() < 0


def test_names_that_repeat():
    frame = pd.concat([pd.DataFrame({"a": X, "b": ["p", "q"] * (N // 2)}), pd.DataFrame({"a": X**2})], axis=1)
    fitted = model().fit(frame)
    samples = fitted.sample(20)
    assert list(samples.columns) == ["a", "b", "a"]
    assert np.isfinite(fitted.score_samples(samples)).all()
    np.testing.assert_array_equal(samples.iloc[:, 2] != samples.iloc[:, 0], True)


def test_categories_beyond_the_resolution_keep_their_values():
    table = np.column_stack([np.arange(N) % 3 + 2**60, COUNTS])
    fitted = model(["category", "integer"]).fit(table)
    samples = fitted.sample(200, random_state=0)
    assert set(samples[:, 0]) == {2**60, 2**60 + 1, 2**60 + 2}
    assert np.isfinite(fitted.score_samples(samples)).all()


def test_constant_whole_numbers():
    """They leave little to their neighbours."""
    for support in (nvpflow.Integer(), nvpflow.Integer(0), nvpflow.Integer(3, 9)):
        fitted = model([support, None]).fit(np.column_stack([np.full(N, 3), X]))
        assert (fitted.sample(2000, random_state=0)[:, 0] == 3).mean() > 0.85
