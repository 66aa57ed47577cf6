"""Random states in files: generators continue where they were, and bad states are errors."""

import pickle

import numpy as np
import pytest

import nvpflow
from support.saved_files import POINTS, load_in_bounds, save_to, spoiled_headers


def generators():
    for name in ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"):
        for kind in (np.random.Generator, np.random.RandomState):
            generator = kind(getattr(np.random, name)(5))
            generator.standard_normal(7)
            if kind is np.random.Generator:
                generator.integers(10, size=3, dtype=np.uint32)  # leaves half a word
            yield pytest.param(generator, id=f"{kind.__name__}-{name}")


@pytest.mark.parametrize("generator", list(generators()))
def test_generators(generator, detector, tmp_path):
    generator = pickle.loads(pickle.dumps(generator))
    model = nvpflow.FlowDensity(1, 2, max_iter=2, random_state=generator).fit(POINTS)
    path = save_to(tmp_path, model, "npz")
    twin = nvpflow.load(path)
    assert type(twin.random_state) is type(generator)
    np.testing.assert_array_equal(twin.sample(4), model.sample(4))
    np.testing.assert_array_equal(twin.random_state.standard_normal(3), generator.standard_normal(3))
    np.testing.assert_array_equal(twin.fit(POINTS).flow_.parameters, model.fit(POINTS).flow_.parameters)


def test_seed_sequences(tmp_path):
    for sequence in (
        np.random.SeedSequence(7),
        np.random.SeedSequence([1, 2**40], spawn_key=(3, 4)),
        np.random.SeedSequence(),
    ):
        sequence.spawn(2)
        model = nvpflow.FlowDensity(1, 2, max_iter=2, random_state=sequence).fit(POINTS)
        twin = nvpflow.load(save_to(tmp_path, model, "npz")).random_state
        assert twin.state == sequence.state | {"spawn_key": tuple(sequence.spawn_key)}
        np.testing.assert_array_equal(twin.generate_state(4), sequence.generate_state(4))


def test_shared_generator_of_detector(tmp_path):
    model = nvpflow.FlowOutlierDetector(1, 2, max_iter=2, random_state=np.random.default_rng(1)).fit(POINTS)
    assert model.random_state is model.estimator_.random_state
    twin = nvpflow.load(save_to(tmp_path, model, "npz"))
    assert twin.random_state is twin.estimator_.random_state
    assert twin.random_state.random() == model.random_state.random()


def test_unsupported_generator(tmp_path):
    class Own(np.random.PCG64):
        """A bit generator of a class of its own."""

        @property
        def state(self):
            return super().state | {"bit_generator": "Own"}

    model = nvpflow.FlowDensity(1, 2, max_iter=2, random_state=np.random.Generator(Own(1))).fit(POINTS)
    with pytest.raises(ValueError, match="random_state cannot be stored: its bit generator must be one of PCG64, .*, got Own"):
        model.save(tmp_path / "model.npz")
    assert list(tmp_path.iterdir()) == []


def spoiled_states():
    """States that NumPy accepts although they are wrong, some of which make it read beyond its buffers."""

    def state(kind, name, change):
        value = nvpflow._io.random_state.plain_random_state(kind(getattr(np.random, name)(0)))
        change(value)
        return value

    def set_in(*way):
        *way, last, new = way

        def change(value):
            for key in way:
                value = value[key]
            value[last] = new

        return change

    Generator, RandomState = np.random.Generator, np.random.RandomState
    for kind, name, *way in (
        (Generator, "MT19937", "state", "state", "pos", 10**9), (Generator, "MT19937", "state", "state", "pos", -1),
        (Generator, "MT19937", "state", "state", "key", [1] * 623), (Generator, "MT19937", "state", "state", "key", [2**32] * 624),
        (RandomState, "MT19937", "state", "state", "pos", 625), (RandomState, "MT19937", "state", "gauss", "0"),
        (RandomState, "MT19937", "state", "has_gauss", 2), (Generator, "Philox", "state", "buffer_pos", -10**6),
        (Generator, "Philox", "state", "buffer_pos", 5), (Generator, "Philox", "state", "buffer", [0.5] * 4),
        (Generator, "PCG64", "state", "state", "inc", 2**128), (Generator, "PCG64", "state", "state", "state", "1"),
        (Generator, "PCG64", "state", "state", 3), (Generator, "PCG64", "state", "uinteger", 2**32),
        (Generator, "PCG64", "state", "bit_generator", "default_rng"), (Generator, "PCG64", "state", "bit_generator", "MT19937"),
        (Generator, "PCG64", "state", []), (Generator, "PCG64", "type", "BitGenerator"), (Generator, "PCG64", "type", []),
        (Generator, "SFC64", "state", "state", "state", [1, 2, 3]), (Generator, "SFC64", "state", "more", 1),
    ):  # fmt: skip
        yield pytest.param(state(kind, name, set_in(*way)), id=f"{kind.__name__}-{name}-{way[-2]}-{str(way[-1])[:12]}")
    seeds = {"entropy": 1, "spawn_key": [], "pool_size": 4, "n_children_spawned": 0}
    for change in ({"pool_size": 10**12}, {"entropy": -1}, {"entropy": [0.5]}, {"spawn_key": 3}, {"spawn_key": [-1]}, {"more": 1},
                   {"n_children_spawned": 2**70}, {"entropy": "1"}):  # fmt: skip
        yield pytest.param({"type": "SeedSequence", "state": seeds | change}, id=f"SeedSequence-{change}")


@pytest.mark.parametrize("state", list(spoiled_states()))
def test_bad_states(state, estimator, tmp_path):
    path = save_to(tmp_path, estimator, "npz")
    spoiled_headers(path, (("estimator", "random_state"), state))
    found = load_in_bounds(path, seconds=5)
    assert found.startswith(f"ValueError: {path} is damaged: "), found
