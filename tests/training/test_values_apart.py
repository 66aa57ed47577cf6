"""Mixtures of tables whose values repeat: one component for each frequent value, from the start on, and steps enough."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.covariances import CovariancePrior
from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits, Mixture
from nvpflow._training.kmeans import Marks
from nvpflow._training.mixture_candidates import APART, FURTHER, LATER_STEPS, Candidates
from nvpflow._training.search import mixtures_of
from nvpflow._training.statistics import values_stand_out


def graded(n, seed=0):
    """Eight grades, of which each has a line of its own in two further columns."""
    rng = np.random.default_rng(seed)
    grade = rng.integers(8, size=n)
    place = rng.normal(size=n)
    return np.column_stack([grade, place + np.sin(3 * grade), 0.1 * rng.normal(size=n) + place * np.cos(grade)])


def heaped(n, rng):
    """Weights in hundredths, half of them at one of eleven round values: none has a twentieth of all."""
    heaps = rng.choice(np.linspace(0.3, 2.3, 11), size=n)
    return np.round(np.where(rng.random(n) < 0.5, heaps, rng.gamma(4, 0.3, size=n)), 2)


def part_of(x):
    units = ColumnUnits(x, None)
    held_out = np.arange(len(x)) % 5 == 0
    return Candidates(Data(units.standardize(x), None, None), units, held_out, 1.0, [0])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("k", [16, 24])
def test_values_stay_apart_where_they_are_close(seed, k):
    """A strong prior is as wide as several values. A weak one that goes on from it would keep components of several values."""
    rng, gap = np.random.default_rng(seed), 0.05
    grade, place = rng.integers(8, size=1500), rng.normal(size=1500)
    x = np.column_stack([gap * grade, place, place * np.cos(2.4 * grade) + 0.1 * rng.normal(size=1500)])
    x[:150, 0] = rng.normal(0, 3, size=150)
    part = part_of(rng.permutation(x))
    weakest = [name for name in part.fit(k) if name.endswith(APART[Marks.EACH])][-1]
    mixture, _ = part._continued(weakest, part.samples)
    deviations = np.sqrt(mixture.covariances[:, 0, 0]) * x[:, 0].std()
    assert mixture.weights[deviations < gap / 3].sum() > 0.8  # 0.05 to 0.2 with each prior going on from the one before


def test_each_prior_begins_with_the_clusters(monkeypatch):
    starts = []
    start_from = Mixture.start_from

    def count(self, *moments):
        starts.append(self.prior_samples)
        start_from(self, *moments)

    monkeypatch.setattr(Mixture, "start_from", count)
    part = part_of(graded(500))
    list(part.fit(4))
    apart = len(part.clusters) - 1
    assert apart >= 1
    for prior in part.priors:
        assert starts.count(prior) >= apart


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e4])
def test_values_that_stand_out(scale):
    rng = np.random.default_rng(0)
    assert values_stand_out(scale * heaped(3000, rng), 0.01 * scale)
    smooth = np.round(rng.gamma(4, 0.3, size=3000), 2)
    assert not values_stand_out(scale * smooth, 0.01 * scale)
    assert not values_stand_out(scale * np.round(rng.normal(40, 12, size=3000)), scale)  # ages in years


def test_few_rows_do_not_tell_what_stands_out():
    rng = np.random.default_rng(0)
    assert not any(values_stand_out(np.round(rng.normal(size=60), 1), 0.1) for _ in range(20))
    assert not values_stand_out(np.array([0.0, 1.0, 1e9] * 20), 1.0)  # too many places


def test_floor_of_frequent_values_is_no_wider_than_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    frequent = np.append(np.repeat(12.0, 1500), np.round(rng.normal(12, 2, size=1500)))
    frequent[:40] = np.arange(40.0)  # rare values far out make the range of the values wide
    x = np.column_stack([frequent, rng.normal(size=3000)])
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    floor = np.sqrt(CovariancePrior(x, None, 3000.0).floor)
    assert 1e-4 < floor[0] <= 1.001e-3


@pytest.mark.filterwarnings("ignore:column.s. 0, 2 of X repeat few values")
def test_more_steps_compete():
    x = np.random.default_rng(1).permutation(graded(1200, 1))
    x[:, 1:] = np.round(x[:, 1:], 1)
    model = nvpflow.FlowDensity(random_state=0).fit(x)
    names = [str(name) for name in model.search_["candidate"]]
    longer = [name for name in names if FURTHER in name]
    assert longer
    assert all(name.split(FURTHER)[0] in names for name in longer)
    assert {int(name.split(FURTHER)[1].split()[0]) for name in longer} <= set(LATER_STEPS)


def test_steps_add_up():
    part = part_of(graded(600))
    name = list(part.fit(4))[-1]
    first = part.fit_longer(name, LATER_STEPS[0])
    second = part.fit_longer(first, LATER_STEPS[1])
    assert (first, second) == (f"{name}, after {LATER_STEPS[0]} steps", f"{name}, after {LATER_STEPS[1]} steps")


def test_smooth_and_few_rows_take_no_more_steps():
    assert not part_of(np.random.default_rng(0).normal(size=(1000, 2))).wants_more_steps
    assert not part_of(graded(300)).wants_more_steps
    assert part_of(graded(1000)).wants_more_steps


def test_a_refit_knows_mixtures_by_their_first_steps():
    search = {
        "candidate": np.array(["mixture of 8, prior 0.3, values apart, after 48 steps", "mixture of 4, prior 0.3"]),
        "weight": np.array([0.6, 0.4]),
    }
    assert mixtures_of(search, 2) == {"mixture of 8, prior 0.3, values apart", "mixture of 4, prior 0.3"}


def test_way_of_the_best():
    part = part_of(graded(1000))
    name = list(part.fit(8))[-1]
    part.keep_way_of(f"{name}, after 24 steps")
    assert [APART[marks] for marks in part.clusters] == [", each value apart"]
    part.components, part.priors = (1, 8), (np.inf, 0.3, 0.03, 0.003)
    assert list(part.fit(12)) == [f"mixture of 12, prior {prior}, each value apart" for prior in (0.03, 0.003)]
    part = part_of(graded(1000))
    part.keep_way_of("mixture of 8, prior 0.3")
    assert list(part.clusters) == [Marks.NONE]
