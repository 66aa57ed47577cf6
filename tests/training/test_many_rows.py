"""Many rows: the order, moments and units are found with little memory, and a part of the rows tells enough."""

import tracemalloc
import warnings

import numpy as np
import pytest

import nvpflow
from nvpflow._training.dataset import Data, _order, warn_of_dependent_columns
from nvpflow._training.em import ColumnUnits
from nvpflow._training.mixture_candidates import MOST_ROWS, Candidates
from nvpflow._training.standardize import Units
from nvpflow._training.statistics import BLOCK, MANY_FOR_MOMENTS, moments

FLOAT32 = np.dtype(np.float32)


class TestOrder:
    @pytest.mark.parametrize("n_values", [1, 3, 50, 10**9])
    @pytest.mark.parametrize("dim", [1, 2, 4])
    def test_as_lexsort(self, n_values, dim):
        rng = np.random.default_rng(0)
        for n in (1, 2, 40):
            x = rng.integers(-n_values, n_values, (n, dim)).astype(float)
            x[rng.random(x.shape) < 0.1] = np.nan
            x[rng.random(x.shape) < 0.1] = -0.0
            np.testing.assert_array_equal(_order(list(x.T)), np.lexsort(x.T[::-1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_moments(dtype, weighted):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(MANY_FOR_MOMENTS + 1000, 2)) * [1, 1e3] + [5, 0]).astype(dtype)
    weight = rng.uniform(size=len(x)) if weighted else None
    mean = np.average(x.astype(np.float64), axis=0, weights=weight)
    variance = np.average((x - mean) ** 2, axis=0, weights=weight)
    found = moments(x, weight)
    np.testing.assert_allclose(found[0], mean, rtol=1e-10)
    np.testing.assert_allclose(found[1], np.sqrt(variance), rtol=1e-10)


class TestUnits:
    def samples(self):
        return np.random.default_rng(0).normal(size=(BLOCK + 10, 2)) * [1, 50] + [0, 7]

    def test_of_columns(self):
        x = self.samples().astype(np.float32)
        units = ColumnUnits(x, None)
        z = units.standardize(x)
        assert z.dtype == np.float32
        np.testing.assert_array_equal(z, ((x - units.mean) / units.deviation).astype(np.float32))

    def test_of_columns_too_large_for_float32(self):
        x = self.samples().astype(np.float32)
        units = ColumnUnits(x, None)
        x[-1, 0] = 1e8
        z = units.standardize(x)
        assert z.dtype == np.float64
        np.testing.assert_array_equal(z, (x - units.mean) / units.deviation)

    def test_of_training(self):
        x = self.samples()
        units = Units.of(Data(x), True, False, FLOAT32)
        np.testing.assert_array_equal(units.standardize(x), ((x - units.mean) / units.deviation).astype(np.float32))


class TestDependentColumns:
    def samples(self):
        return np.random.default_rng(0).normal(size=(50_000, 3))

    def warns(self, x):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_of_dependent_columns(Data(x), FLOAT32)
        return ["linear combinations" in str(warning.message) for warning in caught]

    def test_none(self):
        assert self.warns(self.samples()) == []

    def test_sum(self):
        x = self.samples()
        x[:, 2] = x[:, 0] - 2 * x[:, 1]
        assert self.warns(x) == [True]

    def test_nearly(self):
        x = self.samples()
        x[:, 2] = x[:, 0] - 2 * x[:, 1] + 1e-4 * x[:, 2]  # of interest in a part, but not dependent
        assert self.warns(x) == []

    def test_constant_in_the_part(self):
        x = self.samples()
        x[:, 1:] = 0
        x[[1, 3], 1:] = 1  # odd rows, of which the part has none
        assert self.warns(x) == [True]


def test_candidates_are_judged_on_a_part():
    x = np.random.default_rng(0).normal(size=(MOST_ROWS + 5000, 1)).astype(np.float32)
    held_out = np.arange(len(x)) >= 1000
    part = Candidates(Data(x), ColumnUnits(x, None), held_out, 1.0, [0])
    names = part.fit_simple()
    assert part.judged[0] == 1000
    assert {len(part.log_probs[name]) for name in names} == {len(part.judged)} == {MOST_ROWS}


def test_all_rows_keep_their_weights():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(MOST_ROWS + 6000, 2)).astype(np.float32)
    weight, held_out = np.exp(x[:, 0].astype(np.float64)), np.arange(len(x)) >= MOST_ROWS + 5000
    before, expected = x.copy(), np.average(x[~held_out], axis=0, weights=weight[~held_out])
    part = Candidates(Data(x, None, weight), ColumnUnits(np.eye(2, dtype=np.float32), None), held_out, 1.0, [0])
    (name,) = part.fit(1)
    part.fit_to_all([name])
    np.testing.assert_allclose(part._mixtures[name].means[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(x, before)  # one distribution takes no steps that an order would make shorter
    part.fit_to_all(list(part.fit(2)))
    assert not (x[~held_out] == before[~held_out]).all()  # in place, as there may be no memory for another array
    np.testing.assert_array_equal(x[held_out], before[held_out])


def test_rows_are_reordered_in_place():
    rng = np.random.default_rng(0)
    data, order = Data(rng.normal(size=(5, 2)), rng.normal(size=(5, 3)), rng.uniform(size=5), np.arange(5)), rng.permutation(5)
    expected = data.rows(order)
    data.reorder(order)
    for found, array in zip(data, expected):
        np.testing.assert_array_equal(found, array)


def test_memory_of_a_fit():
    x = np.random.default_rng(0).normal(size=(200_000, 6))
    tracemalloc.start()
    try:
        model = nvpflow.FlowDensity(max_iter=1, random_state=0).fit(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert model.n_iter_ == 1
    assert peak < 4.5 * x.nbytes  # 6.9 times when intermediate results had all rows


def test_samples_may_be_overwritten():
    x = np.random.default_rng(0).normal(3, 2, size=(40_000, 3)).astype(np.float32)
    units = ColumnUnits(x, None)
    before, expected = x.copy(), units.standardize(x)
    np.testing.assert_array_equal(x, before)
    assert units.standardize(x, in_place=True) is x
    np.testing.assert_array_equal(x, expected)
    before[-1] = 1e9  # too far for float32
    kept = before.copy()
    assert units.standardize(before, in_place=True).dtype == np.float64
    np.testing.assert_array_equal(before, kept)
