"""Merged components; and samples that were held out, which the mixtures get in the end."""

import numpy as np
import pytest

import nvpflow
from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits
from nvpflow._training.merge import with_pair_merged
from nvpflow._training.mixture_candidates import MERGED, ROWS_TO_MERGE, Candidates, origin_of
from nvpflow._training.search import mixtures_of
from nvpflow._training.stacking import stack_mixtures
from support.marks import both_precisions


def clusters_of(n, seed, k=5, dim=10):
    """Normal distributions with means and covariances of their own, (n, dim), and the log-density of points."""
    rng = np.random.default_rng(seed)
    means, factors = 2 * rng.normal(size=(k, dim)), rng.normal(size=(k, dim, dim)) / 2 + np.eye(dim)
    label = rng.integers(k, size=n)
    x = means[label] + np.einsum("nij,nj->ni", factors[label], rng.normal(size=(n, dim)))
    covariances = factors @ factors.transpose(0, 2, 1)
    return x, nvpflow.MixtureBase(np.full(k, 1 / k), means, covariances, dtype="float64").log_prob


def moments(weights, means, covariances):
    mean = weights @ means
    offsets = means - mean
    return mean, np.einsum("k,kij->ij", weights, covariances + offsets[:, :, None] * offsets[:, None, :])


def part_of(x):
    units = ColumnUnits(x, None)
    return Candidates(Data(units.standardize(x), None, None), units, np.arange(len(x)) % 5 == 0, 1.0, [0])


@pytest.mark.parametrize("dim", [1, 3])
def test_a_merge_keeps_mean_and_covariance(dim):
    rng = np.random.default_rng(dim)
    factors = rng.normal(size=(6, dim, dim)) + 2 * np.eye(dim)
    mixture = rng.dirichlet(np.ones(6)), rng.normal(size=(6, dim)), factors @ factors.transpose(0, 2, 1)
    copies = [array.copy() for array in mixture]
    fewer = with_pair_merged(*mixture)
    assert [array.shape for array in fewer] == [(5,), (5, dim), (5, dim, dim)]
    for one, same in zip(moments(*mixture), moments(*fewer)):
        np.testing.assert_allclose(one, same, rtol=1e-12, atol=1e-12)
    for array, copy in zip(mixture, copies):
        np.testing.assert_array_equal(array, copy)


def test_the_pair_is_the_one_whose_merge_changes_least():
    means = np.array([[0.0, 0.0], [9.0, 0.0], [9.2, 0.1], [0.0, 0.5]])
    covariances = np.array([0.01, 1.0, 1.1, 0.01])[:, None, None] * np.eye(2)  # the first and last are close, and far apart
    _, merged, _ = with_pair_merged(np.full(4, 0.25), means, covariances)
    np.testing.assert_allclose(merged, [[0, 0], [9.1, 0.05], [0, 0.5]])


def test_default_fit_finds_clusters_that_k_means_has_split(monkeypatch):
    gains = []
    for seed in (1, 3):
        x, log_prob = clusters_of(3000, seed)
        held_out = x[1500:]
        model = nvpflow.FlowDensity(random_state=0).fit(x[:1500])
        with monkeypatch.context() as patch:
            patch.setattr(Candidates, "rows_to_merge", np.inf)
            other = nvpflow.FlowDensity(random_state=0).fit(x[:1500])
        gains.append(model.score(held_out) - other.score(held_out))
        assert not any(MERGED in name for name in other.search_["candidate"])
        assert np.mean(log_prob(held_out)) - model.score(held_out) < 0.3
    assert max(gains) > 0.01
    assert min(gains) > -0.005


def test_merges_end_when_nothing_is_gained():
    x, _ = clusters_of(1500, 1)
    search = nvpflow.FlowDensity(random_state=0).fit(x).search_
    merged = [name for name in search["candidate"] if MERGED in name]
    assert merged
    scores = dict(zip(search["candidate"], search["score"]))
    last = [scores[name] for name in (origin_of(merged[0]), *merged)]
    assert np.all(np.diff(last[:-1]) > 0)
    assert last[-1] <= max(last[:-1])


def test_what_is_not_merged():
    rng = np.random.default_rng(0)
    for x in (rng.normal(size=(ROWS_TO_MERGE, 2)), np.round(rng.normal(size=(2000, 2)), 1)):
        part = part_of(x)
        assert not any(part.can_merge(name) for name in [*part.fit_simple(), *part.fit(4)])
    part = part_of(rng.normal(size=(2000, 2)))
    part.fit_simple()
    names = [*part.fit(2), *part.fit(4), *part.fit_nested()]
    assert [name for name in names if part.can_merge(name)] == [f"mixture of 4, prior {prior}" for prior in (0.3, 0.03, 0.003)]


def test_a_refit_knows_mixtures_by_what_they_were_merged_from():
    search = {
        "candidate": np.array(["mixture of 4, prior 0.03, merged from 6", "broad normals"]),
        "weight": np.array([0.9, 0.1]),
    }
    assert mixtures_of(search, 2) == {"mixture of 6, prior 0.03"}
    x, log_prob = clusters_of(3000, 1)
    model = nvpflow.FlowDensity(random_state=0, warm_start=True).fit(x[:1500])
    model.fit(x[:1500])
    assert np.mean(log_prob(x[1500:])) - model.score(x[1500:]) < 0.3


# -- samples that were held out --


def mean_of(base):
    return np.exp(base.logits - np.logaddexp.reduce(base.logits)) @ base.means


@both_precisions
def test_mixtures_get_all_samples_where_few_parts_are_held_out(dtype):
    x = clusters_of(8000, 0, 3, 2)[0].astype(dtype)
    data = Data(x, None, None)
    stack = stack_mixtures(data.rows(slice(6400)), data.rows(slice(6400, None)), 0, np.zeros(8000))
    np.testing.assert_allclose(mean_of(stack.base), x.mean(axis=0), atol=1e-4)  # as after each step with all of them
    assert np.abs(mean_of(stack.lean) - x.mean(axis=0)).max() > 1e-3
    np.testing.assert_allclose(mean_of(stack.lean), x[:6400].mean(axis=0), atol=1e-4)


def test_held_out_densities_are_of_mixtures_that_have_not_seen_the_samples(monkeypatch):
    x = clusters_of(8000, 0, 3, 2)[0]
    data = Data(x, None, None)
    halves = data.rows(slice(6400)), data.rows(slice(6400, None))
    stack = stack_mixtures(*halves, 0, np.zeros(8000))
    parameters = stack.base.parameters
    monkeypatch.setattr(Candidates, "fit_to_every", lambda part, names: None)
    before = stack_mixtures(*halves, 0, np.zeros(8000))
    assert not np.array_equal(parameters, before.base.parameters)
    assert stack.gain == before.gain
    for one, same in [(stack.held_out, before.held_out), (stack.in_turn, before.in_turn)]:
        np.testing.assert_array_equal(one, same)
    for key, values in stack.search.items():
        np.testing.assert_array_equal(values, before.search[key])


def test_last_steps_are_taken_only_for_a_base_that_is_asked_for(monkeypatch):
    x = clusters_of(8000, 0, 3, 2)[0]
    data, seen = Data(x, None, None), []
    monkeypatch.setattr(Candidates, "fit_to_every", lambda part, names: seen.append(part))
    stack = stack_mixtures(data.rows(slice(6400)), data.rows(slice(6400, None)), 0, np.zeros(8000))
    assert not seen
    assert stack.base is stack.base
    assert len(seen) == 2  # the parts
