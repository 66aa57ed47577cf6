"""Random states as JSON: the generator of a loaded model continues from where that of the saved model was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nvpflow._typing import Seed
from nvpflow._validation.arguments import check_choice, check_int, check_real, shown

__all__ = ["plain_random_state", "restore_random_state"]

BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
# Maxima of the numbers in a state: with a larger position, NumPy reads beyond its buffers.
MOST = {"state": 2**128 - 1, "inc": 2**128 - 1, "uinteger": 2**32 - 1, "pos": 624, "buffer_pos": 4}
MOST |= {"has_uint32": 1, "has_gauss": 1}


def plain_random_state(value: Seed) -> object:
    """Convert a Generator, RandomState or SeedSequence to a dict of plain Python values. An int or None is unchanged."""
    if isinstance(value, np.random.SeedSequence):
        return {"type": "SeedSequence", "state": _plain(value.state)}
    if isinstance(value, np.random.Generator):
        kind, state = "Generator", value.bit_generator.state
    elif isinstance(value, np.random.RandomState):
        kind, state = "RandomState", value.get_state(legacy=False)
    else:
        return value
    if state["bit_generator"] not in BIT_GENERATORS:
        raise ValueError(
            f"random_state cannot be stored: its bit generator must be one of {', '.join(BIT_GENERATORS)}, "
            f"got {state['bit_generator']}"
        )
    return {"type": kind, "state": _plain(state)}


def restore_random_state(value: Any) -> Any:
    """Undo `plain_random_state`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the value is a dict that `plain_random_state` cannot have returned.
    """
    if not isinstance(value, dict):
        return value
    kind = check_choice("type of random_state", value["type"], ("SeedSequence", "Generator", "RandomState"))
    state = value["state"]
    if kind == "SeedSequence":
        return _restore_seeds(**state)
    name = check_choice("bit_generator", state["bit_generator"], BIT_GENERATORS)
    generator = getattr(np.random, kind)(getattr(np.random, name)(0))
    if kind == "Generator":
        generator.bit_generator.state = _like(generator.bit_generator.state, "state of random_state", state)
    else:
        generator.set_state(_like(generator.get_state(legacy=False), "state of random_state", state))
    return generator


def _restore_seeds(
    entropy: object, spawn_key: Sequence[object], pool_size: object, n_children_spawned: object
) -> np.random.SeedSequence:
    check_int("pool_size", pool_size, 4, 4)
    words = [check_int("entropy", word, 0, np.inf) for word in (entropy if isinstance(entropy, list) else [entropy])]
    key = [check_int("spawn_key", word, 0, np.inf) for word in spawn_key]
    n_children = check_int("n_children_spawned", n_children_spawned, 0, 2**32 - 1)
    return np.random.SeedSequence(
        words if isinstance(entropy, list) else words[0], spawn_key=key, n_children_spawned=n_children
    )


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _like(pattern: object, name: str, value: Any) -> Any:
    """The value with lists as arrays. It must have the structure of `pattern`, a state of the same kind of generator."""
    if isinstance(pattern, dict):
        if not isinstance(value, dict) or value.keys() != pattern.keys():
            raise ValueError(f"{name} must have the entries {', '.join(pattern)}, got {shown(value)}")
        return {key: _like(pattern[key], key, value[key]) for key in pattern}
    if isinstance(pattern, np.ndarray):
        if not isinstance(value, list) or len(value) != len(pattern):
            raise ValueError(f"{name} must be a list of {len(pattern)} integers, got {shown(value)}")
        most = int(np.iinfo(pattern.dtype).max)
        return np.array([check_int(name, entry, 0, most) for entry in value], pattern.dtype)
    if isinstance(pattern, str):
        return check_choice(name, value, (pattern,))
    if isinstance(pattern, float):
        return check_real(name, value)
    return check_int(name, value, 0, MOST[name])
