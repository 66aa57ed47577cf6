"""Fits in passes: a sample is fitted, and what it kept is refined on all rows, on one or more members."""

import threading

import numpy as np
import pytest

import nvpflow
from nvpflow._training.settings import Settings
from nvpflow.scale import Group, as_source, fit_from
from nvpflow.scale import _fit as fitting
from nvpflow.scale import _mixture as passes
from nvpflow.scale import _source as reading
from nvpflow.scale._first_pass import first_pass
from nvpflow.scale._group import Alone
from nvpflow.scale._inside import Inside, Training
from support.samples import moons

N, N_SAMPLE = 6000, 600


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(reading, "NUMBERS_PER_BATCH", 2 * 500)
    monkeypatch.setattr(reading, "NUMBERS_IN_RESERVOIR", 2 * 2000)


def quick(**parameters):
    return nvpflow.FlowDensity(**{"n_layers": 2, "hidden_dim": 8, "max_iter": 1, "random_state": 0} | parameters)


def blobs(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) * [0.3, 1.0] + rng.choice([-2.0, 0.0, 2.0], size=(n, 1))


def layered(**parameters):
    """A model whose layers are always kept."""
    return nvpflow.RealNVP(**{"n_layers": 2, "hidden_dim": 8, "max_iter": 20, "random_state": 0} | parameters)


class Members:
    """Threads that fit together."""

    def __init__(self, size):
        self.size, self.barrier, self.slots = size, threading.Barrier(size, timeout=300), [None] * size

    def run(self, function):
        found = [None] * self.size

        def call(rank):
            try:
                found[rank] = function(rank, Member(self, rank))
            except Exception as error:
                found[rank] = error

        threads = [threading.Thread(target=call, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


class Member(Group):
    def __init__(self, members, rank):
        self.members, self.rank, self.size = members, rank, members.size

    def _all(self, value):
        self.members.slots[self.rank] = value
        self.members.barrier.wait()
        found = list(self.members.slots)
        self.members.barrier.wait()
        return found

    def sum(self, array):
        return sum(self._all(array))

    def gather_rows(self, array):
        return np.concatenate(self._all(array))

    def broadcast(self, value):
        return self._all(value)[0]


def test_few_rows_are_fitted_as_in_memory():
    x = blobs(500)
    plain, found = quick().fit(x), quick().fit(lambda: iter(np.array_split(x, 7)))
    assert np.array_equal(plain.flow_.parameters, found.flow_.parameters)
    assert found.refinement_["kind"] == "none"
    assert found.n_samples_seen_ == 500
    assert np.array_equal(plain.sample(5), found.sample(5))


def test_up_to_300_000_rows_are_a_sample():
    x = np.random.default_rng(0).normal(size=(250_000, 1)).astype(np.float32)
    brief = {"n_layers": 1, "hidden_dim": 4}
    plain, found = quick(**brief).fit(x), quick(**brief).fit(lambda: iter(np.array_split(x, 5)))
    assert found.refinement_["n_sample"] == len(x)
    assert np.array_equal(plain.flow_.parameters, found.flow_.parameters)


def test_mixture_gains_by_all_rows():
    x, test = blobs(), blobs(4000, 1)
    model = fit_from(quick(), as_source(x), n_sample=N_SAMPLE)
    found = model.refinement_
    assert found["kind"] == "mixture"
    assert (found["n_rows"], found["n_sample"], found["n_held_out"]) == (N, N_SAMPLE, N_SAMPLE)
    assert found["gain"] > 0.01
    assert 1 <= found["n_passes"] <= passes.MOST_PASSES
    some = quick().fit(x[:N_SAMPLE])
    assert model.score(test) > some.score(test) + 0.01
    assert model.n_samples_seen_ == N


def test_first_rows_have_passes_of_their_own(monkeypatch):
    monkeypatch.setattr(passes, "FIRST_ROWS", 1000)
    seen = []
    total = passes.PassesOfGroup._total

    def counted(self, sums, share):
        found = total(self, sums, share)
        seen.append((share, found[1]))
        return found

    monkeypatch.setattr(passes.PassesOfGroup, "_total", counted)
    model = fit_from(quick(), as_source(blobs()), n_sample=N_SAMPLE)
    first = [n for share, n in seen if share is not None]
    assert len(first) > 1 and set(first) == {-(-1000 * N // (N - N_SAMPLE))}
    assert {n for share, n in seen if share is None} == {N - N_SAMPLE}
    assert model.refinement_["gain"] > 0.01


def test_layers_gain_by_all_rows():
    x, test = moons(N), moons(3000)
    model = fit_from(layered(), as_source(x), n_sample=N_SAMPLE)
    assert model.refinement_["kind"] == "layers"
    assert model.refinement_["n_steps"] > 100
    assert model.refinement_["gain"] > 0.01
    assert model.score(test) > layered().fit(x[:N_SAMPLE]).score(test) + 0.01


@pytest.mark.parametrize("make", [quick, layered])
def test_same_bits_for_a_seed_and_any_number_of_threads(make):
    x = moons(4000)
    found = [fit_from(make(n_jobs=n_jobs), as_source(x), n_sample=N_SAMPLE) for n_jobs in (1, 2)]
    assert np.array_equal(*(model.flow_.parameters for model in found))
    other = fit_from(make(random_state=1), as_source(x), n_sample=N_SAMPLE)
    assert not np.array_equal(other.flow_.parameters, found[0].flow_.parameters)


def test_held_out_rows_never_train():
    x = blobs()
    x[:, 0] = np.arange(N)  # tells the rows
    model, source = quick(), as_source(x)
    settings = Settings.of(model._check_parameters())
    drawn = first_pass(settings, source, Alone(), 7, N_SAMPLE, None)
    held_out, sample = set(drawn.held_out[:, 0]), set(drawn.sample[:, 0])
    assert len(held_out) == len(sample) == N_SAMPLE and not held_out & sample
    assert 0.4 < np.mean(np.array(sorted(sample)) < N / 2) < 0.6
    training = Training(source, Inside(model.fit(x), settings), drawn, 7)
    for rng in (None, np.random.default_rng(0)):
        numbers = np.concatenate([numbers for numbers, _ in training.batches(rng)])
        assert set(numbers) == set(range(N)) - held_out
    some = [np.concatenate([numbers for numbers, _ in training.some(0.1, 3)]) for _ in range(2)]
    assert len(some[0]) == N / 10 and np.array_equal(*some)


def test_not_kept_where_it_is_worse(monkeypatch):
    over_all = passes.Passes.over_all

    def worse(self):
        for mixture in over_all(self):
            mixture.means[:] += 1
            yield mixture

    x = blobs()
    monkeypatch.setattr(passes.Passes, "over_all", worse)
    model = fit_from(quick(), as_source(x), n_sample=N_SAMPLE)
    assert model.refinement_["gain"] == model.refinement_["error"] == 0
    monkeypatch.setattr(passes.Passes, "over_all", lambda self: iter([]))
    assert np.array_equal(model.flow_.parameters, fit_from(quick(), as_source(x), n_sample=N_SAMPLE).flow_.parameters)


@pytest.mark.parametrize("sizes", [(2500, 3500), (1, 5999), (2000, 2000, 2000)])
def test_members_together_are_as_one(sizes):
    x = blobs()
    parts = np.split(x, np.cumsum(sizes)[:-1])
    alone = fit_from(quick(), as_source(x), n_sample=N_SAMPLE)
    found = Members(len(sizes)).run(lambda rank, group: fit_from(quick(), as_source(parts[rank]), group, n_sample=N_SAMPLE))
    for model in found:
        assert np.array_equal(model.flow_.parameters, found[0].flow_.parameters)
        assert model.refinement_ == found[0].refinement_
    np.testing.assert_allclose(found[0].score_samples(x), alone.score_samples(x), atol=2e-3)


def test_members_train_layers_together():
    x = moons(N)
    found = Members(2).run(lambda rank, group: fit_from(layered(), as_source(x[rank::2]), group, n_sample=N_SAMPLE))
    assert np.array_equal(*(model.flow_.parameters for model in found))
    assert found[0].refinement_["gain"] > 0.01


def test_members_raise_the_error_of_the_first():
    def fail(*arguments):
        raise ZeroDivisionError

    x = blobs(2000)
    found = Members(2).run(lambda rank, group: fit_from(layered(), as_source(x), group, callback=fail, n_sample=N_SAMPLE))
    assert [type(error) for error in found] == [ZeroDivisionError] * 2


def test_interruption_leaves_the_fit_to_the_sample(monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "_refined", stop)
    model = quick()
    with pytest.raises(KeyboardInterrupt):
        fit_from(model, as_source(blobs()), n_sample=N_SAMPLE)
    assert np.isfinite(model.score(blobs(100)))


def test_time_limit():
    model = fit_from(layered(time_limit=1e-3, max_iter=2), as_source(moons(N)), n_sample=N_SAMPLE)
    assert model.refinement_["n_steps"] <= 1
    assert model.time_limit == 1e-3


def test_progress_says_the_time_left(capsys):
    fit_from(quick(verbose=1), as_source(blobs()), n_sample=N_SAMPLE)
    lines = capsys.readouterr().err.splitlines()
    assert "first pass: 100% of 6,000 rows, 0 s left" in lines
    assert any(line.startswith("mixture, all rows: ") and line.endswith(" s left") for line in lines)
