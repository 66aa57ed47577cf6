"""What training sees of whole numbers and of half-lines."""

import numpy as np
import pytest
from scipy import stats

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow._training.smooth_places import smooth_places
from nvpflow.supports._fitted import supports_for
from nvpflow.supports._kinds import check_kind
from nvpflow.supports._parameter import Declared

EVEN = (np.arange(1000) + 0.5) / 1000
F64 = np.dtype(np.float64)


def same(x):
    return x


def spread(kind, x, weight=None):
    declared = Declared.of((kind,), None)
    supports, data = supports_for(declared, Data(x.reshape(-1, 1).astype(float), None, weight), F64, 0)
    return supports, data.x[:, 0]


@pytest.mark.parametrize(
    ("kind", "draw"),
    [
        (nvpflow.Integer(0), lambda rng: rng.poisson(3, 20_000)),
        (nvpflow.Integer(0, 10), lambda rng: rng.binomial(10, 0.3, 20_000)),
        (nvpflow.Integer(None, 0), lambda rng: -rng.poisson(5, 20_000)),
        (nvpflow.Integer(), lambda rng: rng.poisson(4, 20_000)),
    ],
)
def test_the_density_has_no_steps(kind, draw):
    """On both sides of the end of a cell, as many samples are near it. Even places have jumps by half and more."""
    x = draw(np.random.default_rng(0))
    _, found = spread(kind, x)
    np.testing.assert_array_equal(np.floor(found), x)
    for edge in np.unique(x)[2:-3]:
        if (x == edge).sum() > 1000 and (x == edge - 1).sum() > 1000:
            below, above = ((found > edge - 0.1) & (found < edge)).sum(), ((found >= edge) & (found < edge + 0.1)).sum()
            assert abs(below - above) < 0.25 * (below + above) / 2


def test_counts_of_a_normal_column_get_its_places():
    """Where the numbers are a normal column rounded down, they get about its values back."""
    normal = stats.norm(50, 1.5).ppf((np.arange(20_000) + 0.5) / 20_000)
    _, found = spread(nvpflow.Integer(), np.floor(normal))
    assert np.abs(np.sort(found) - normal)[100:-100].max() < 0.05
    assert np.abs(np.sort(np.floor(normal) + np.tile(EVEN, 20)) - normal)[100:-100].max() > 0.05


@pytest.mark.parametrize("kind", [nvpflow.Integer(), nvpflow.Integer(0), nvpflow.Integer(0, 1), nvpflow.Integer(3, 3)])
@pytest.mark.parametrize("numbers", [[3, 3, 3, 3], [0, 1], [0, 0, 0, 1], [0, 2**40], [2**53 - 2, 5]])
def test_every_place_is_in_its_cell(kind, numbers):
    x = np.repeat(np.array(numbers, float), 5)
    if not kind._holds(x).all():
        return
    supports, found = spread(kind, x)
    assert np.isfinite(found).all() and ((found >= x) & (found <= x + 1)).all()
    assert np.isfinite(supports.to_reals(Data(found[:, np.newaxis])).x).all()
    if x.max() < 2**50:
        np.testing.assert_array_equal(np.floor(found), x)


def test_weights_are_shares():
    """A row of weight 3 moves the others like three rows."""
    values = np.array([0.0] * 30 + [1.0] * 10 + [2.0] * 10)
    weight = np.array([1.0] * 30 + [3.0] * 10 + [1.0] * 10)
    places = np.concatenate([(np.arange(n) + 0.5) / n for n in (30, 10, 10)])
    found = smooth_places(values, places, weight, same, same)
    counted = np.repeat(values, weight.astype(int))
    expected = smooth_places(counted, np.repeat(places, weight.astype(int)), None, same, same)
    np.testing.assert_allclose(found, expected[np.cumsum(weight.astype(int)) - 1], rtol=1e-12)


def test_cells_beyond_the_resolution_keep_even_places():
    values = np.full(1000, 5.0)
    np.testing.assert_array_equal(smooth_places(values, EVEN, None, np.zeros_like, same), EVEN)


def exponential(x):
    return np.median(x) / np.log(2)


@pytest.mark.parametrize(
    ("law", "multiple"),
    [
        (stats.expon(), 1),
        (stats.lognorm(1), 0),
        (stats.weibull_min(0.7), 8),
        (stats.halfnorm(), 1 / 8),
    ],
    ids=["exponential", "log-normal", "heavier", "lighter"],
)
def test_the_scale_of_a_half_line(law, multiple):
    """As likely as can be: within a step of the grid of the best one for many samples."""
    x = law.ppf((np.arange(2000) + 0.5) / 2000)
    for kind, points in (((0, None), x), ((None, 0), -x)):
        supports, _ = spread(check_kind("", kind), points)
        if multiple in (0, 1):
            assert supports.scales[0] == pytest.approx(multiple * exponential(x))
        else:
            assert multiple / 2 <= supports.scales[0] / exponential(x) <= 2 * multiple
