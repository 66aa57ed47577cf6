"""The grid of mixtures grows where its last prior, or its last number of components, wins."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits
from nvpflow._training.mixture_candidates import PRIORS, WEAKER_PRIORS, Candidates, components_of
from nvpflow._training.search import mixtures_of
from nvpflow._training.stacking import _wants_weaker, fit_growing, share_of_distinct

COMPONENTS = (1, 4, 8)


def smooth(n=1000):
    return np.random.default_rng(0).normal(size=(n, 2))


def ridges(n=2000, k=24):
    """Points on short lines, which a prior of any weight makes too wide."""
    rng = np.random.default_rng(0)
    start, direction = rng.normal(size=(k, 3)), rng.normal(size=(k, 3))
    line = rng.integers(k, size=n)
    return start[line] + 0.3 * rng.normal(size=(n, 1)) * direction[line] + 1e-3 * rng.normal(size=(n, 3))


def parts_of(x, among=None, n_parts=2):
    units = ColumnUnits(x, None)
    data = Data(units.standardize(x), None, None)
    parts = [Candidates(data, units, np.arange(len(x)) % n_parts == i, share_of_distinct(x), [i]) for i in range(n_parts)]
    for part in parts:
        part.components, part.more_components, part.among = COMPONENTS, (16, 24, 32), among
    return parts


def priors_of(x, among=None):
    parts = parts_of(x, among)
    names = fit_growing(parts, None)
    assert all(part.priors == parts[0].priors for part in parts)
    return parts[0].priors, names


def numbers_of(names):
    return {components_of(name) for name in names if name.startswith("mixture of")}


def test_smooth_samples_keep_the_grid():
    priors, names = priors_of(smooth())
    assert priors == PRIORS
    assert max(numbers_of(names)) <= COMPONENTS[-1]


def test_weaker_priors_and_more_components_where_the_last_win():
    priors, names = priors_of(ridges())
    assert priors[:5] == (*PRIORS, WEAKER_PRIORS[0])
    assert max(numbers_of(names)) >= 24


@pytest.mark.parametrize(
    "gain, is_repeated, wanted", [(0.01, False, False), (0.03, False, True), (0.001, True, False), (0.01, True, True)]
)
def test_gain_from_which_a_weaker_prior_competes(gain, is_repeated, wanted):
    part = parts_of(smooth(100))[0]
    part.samples.prior.any_repeated = is_repeated
    name = list(part.fit(4))[-1]
    assert part.has_weakest_prior(name)
    log_probs = {part.stronger(name): np.zeros(50), name: np.full(50, gain)}
    assert _wants_weaker(part, name, log_probs, None) == wanted
    noisy = {part.stronger(name): np.zeros(50), name: gain + np.resize([-1.0, 1.0], 50)}
    assert not _wants_weaker(part, name, noisy, None)


def test_repeated_values_begin_with_a_weaker_prior():
    x = smooth(400).round(1)
    priors, names = priors_of(x)
    assert WEAKER_PRIORS[0] in priors
    assert f"mixture of 4, prior {WEAKER_PRIORS[0]:g}" in names


def test_parts_have_the_same_priors():
    """Also if values repeat in one of them alone, as the first has no more than 3 rows of each."""
    parts = parts_of(smooth(400))
    parts[1].samples.prior.any_repeated = True
    fit_growing(parts, None)
    assert parts[0].priors == parts[1].priors == (*PRIORS, WEAKER_PRIORS[0])


def test_known_mixtures_compete_again():
    known = {"mixture of 24, prior 3e-05"}
    _, names = priors_of(ridges(), known)
    assert known <= set(names)
    assert {4, 8}.isdisjoint(numbers_of(names))


@pytest.mark.parametrize("name, n", [("mixture of 4, prior 0.003", 0), ("mixture of 4, prior 3e-05, values apart", 2)])
def test_count_of_weaker_priors(name, n):
    assert parts_of(smooth(100))[0].count_weaker(name) == n


def test_warm_start_keeps_what_was_chosen():
    x = ridges()
    model = nvpflow.FlowDensity(random_state=0, warm_start=True, max_iter=5).fit(x)
    known = mixtures_of(model.search_, 2)
    assert any("prior 3e-0" in name for name in known)
    assert mixtures_of(model.fit(x).search_, 2) <= known
