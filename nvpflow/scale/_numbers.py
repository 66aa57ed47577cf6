"""Random numbers that depend on the number of a row alone, so that neither order nor place of the rows matters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nvpflow._typing import Floats, Ints

__all__ = ["Hashes", "hashes", "normals"]

Hashes = npt.NDArray[np.uint64]
GOLDEN = 0x9E3779B97F4A7C15
TO_UNIT = 2.0**-53


def hashes(numbers: Ints, seed: int) -> Hashes:
    """Evenly distributed numbers of 64 bits for row numbers: the generator SplitMix64, where it is after so many steps.

    Source: Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators".
    """
    start = np.uint64(seed * 0xD1342543DE82EF95 % 2**64)
    with np.errstate(over="ignore"):
        z = start + (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        found: Hashes = z ^ (z >> np.uint64(31))
    return found


def normals(numbers: Ints, n_columns: int, seed: int) -> Floats:
    """Standard normal numbers (m, D) for row numbers (m,): Box and Muller (1958), "A note on the generation of random normal
    deviates"."""
    pairs = (n_columns + 1) // 2
    places = numbers[:, np.newaxis] * (2 * pairs) + np.arange(2 * pairs)
    uniform = ((hashes(places, seed) >> np.uint64(11)).astype(np.float64) + 0.5) * TO_UNIT
    radius, angle = np.sqrt(-2 * np.log(uniform[:, :pairs])), 2 * np.pi * uniform[:, pairs:]
    found: Floats = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :n_columns]
    return found
