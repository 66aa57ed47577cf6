"""Columns that sum up to another one, beside a category: samples stay in the plane, whichever columns have frequent values."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.standardize import _without_those_of

pandas = pytest.importorskip("pandas")


def table(n, seed, broken=0):
    rng = np.random.default_rng(seed)
    kind = rng.integers(3, size=n)
    part, other = rng.poisson(3 + kind), rng.poisson(200 + 20 * kind)
    frame = pandas.DataFrame({"total": part + other, "part": part, "other": other}).astype(float)
    frame.loc[: broken - 1, "total"] += 15
    return frame.assign(kind=np.array(list("xyz"))[kind])


@pytest.mark.filterwarnings("ignore:column")  # of values that repeat, and of the sum
@pytest.mark.parametrize("broken", [0, 1])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_samples_stay_in_the_plane(seed, broken):
    model = nvpflow.FlowDensity(random_state=seed).fit(table(1000, seed, broken))
    samples = model.sample(2000, random_state=0)
    assert np.mean(np.abs(samples.total - samples.part - samples.other) < 0.5) > 0.9
    assert model.score(table(1000, seed + 10)) > -0.4  # one of three was at -0.8, others with all columns as they are at -0.7


def test_others_shift_as_far_as_a_tie_asks_for():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4))
    x[:, 0] = x[:, 1] + x[:, 2]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    slopes = rng.normal(size=(2, 4))
    slopes[:, 0] = (slopes[:, 1:3] * x.std(axis=0)[1:3]).sum(axis=1) / x.std(axis=0)[0]
    found = _without_those_of(np.array([False, True, False, False]), slopes, z, None)
    raw = found * x.std(axis=0)
    assert (found[:, 1] == 0).all() and (found[:, 3] == slopes[:, 3]).all()
    np.testing.assert_allclose(raw[:, 0], raw[:, 1] + raw[:, 2], atol=1e-9)
    free = np.array([False, False, False, True])
    np.testing.assert_array_equal(_without_those_of(free, slopes, z, None), np.where(free, 0, slopes))
