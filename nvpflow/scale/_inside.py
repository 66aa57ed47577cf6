"""The fitted flow without what leads to the units of the data, and the rows as it reads them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import numpy as np

from nvpflow._training.build import count_couplings
from nvpflow._training.dataset import Data
from nvpflow._training.margins import Margins
from nvpflow._typing import Floats, Ints
from nvpflow.flow import Flow
from nvpflow.scale._numbers import hashes
from nvpflow.scale._source import rows_per_batch

if TYPE_CHECKING:
    from nvpflow._training.settings import Settings
    from nvpflow.density import FlowDensity
    from nvpflow.scale._first_pass import Drawn
    from nvpflow.scale._source import RowSource

__all__ = ["Inside", "Training"]

OF_SHARES = 0x1B873593CC9E2D51  # another sequence of hashes than that of held-out rows


class Inside:
    """The part of a fitted model that the refinement trains.

    Attributes
    ----------
    flow : Flow
        The coupling layers and the base, of standardised samples z. A copy.
    """

    def __init__(self, model: FlowDensity, settings: Settings) -> None:
        self._whole, self._supports = cast(Flow, model.flow_), model._known_supports()
        whole = self._whole if self._supports is None else self._supports.inner(self._whole)
        origin: Floats = np.zeros(whole.data_dim) + model.origin_
        self._origin = origin if self._supports is None else origin - self._supports.origin
        layers, n = [layer.copy() for layer in whole.layers], count_couplings(whole)
        self.flow, self._units = Flow(layers[:n], whole.base and whole.base.copy()), Flow(layers[n:]) if layers[n:] else None
        self._margins = Margins.from_layers(layers[n:], 0.0, whole.dtype)
        self.flow.n_jobs = self._n_jobs = settings.n_jobs

    def standardize(self, rows: Floats, seed: int) -> Floats:
        """Rows (m, D) in the units of the data as z (m, D). The seed is for whole numbers and lattices, which are
        spread, and angles."""
        if self._supports is not None:
            spread = self._supports.spread(Data(rows), np.random.default_rng(seed))
            rows = self._supports.to_reals(spread).x
        x = (rows - self._origin if self._origin.any() else rows).astype(self.flow.dtype, copy=False)
        if self._units is None:
            return x
        if self._margins is not None:
            x = self._margins.spread(x, np.random.default_rng([seed, 1])).astype(self.flow.dtype, copy=False)
        self._units.n_jobs = self._n_jobs
        return self._units.inverse(x)[0]

    def whole(self) -> Flow:
        """The whole flow with the parameters that `flow` has now."""
        whole, n = self._whole.copy(), self.flow._base_offset
        whole.parameters[:n] = self.flow.parameters[:n]
        whole.parameters[whole._base_offset :] = self.flow.parameters[n:]
        whole.n_jobs = self._n_jobs
        return whole


class Training:
    """The rows of a member that are not held out, as z."""

    def __init__(self, source: RowSource, inside: Inside, drawn: Drawn, seed: int) -> None:
        self.source, self._inside, self._seed = source, inside, seed
        self._first, self._last_held_out = drawn.first, drawn.last_held_out

    def batches(self, rng: np.random.Generator | None = None) -> Iterator[tuple[Ints, Floats]]:
        """The rows once, with their numbers among those of all members: in their order, or shuffled."""
        for numbers, rows in self.source.numbered(rng):
            numbers = numbers + self._first
            if self._last_held_out >= 0:
                trains = hashes(numbers, self._seed) > np.uint64(self._last_held_out)
                numbers, rows = numbers[trains], rows[trains]
            if len(rows):
                yield numbers, self._inside.standardize(rows, int(numbers[0]) ^ self._seed)

    def numbers(self) -> Ints:
        """The numbers of the rows among those of all members."""
        numbers = self._first + np.arange(self.source.n_rows or 0)
        return numbers if self._last_held_out < 0 else numbers[hashes(numbers, self._seed) > np.uint64(self._last_held_out)]

    def take(self, numbers: Ints) -> Floats:
        """The rows with these numbers, of a source in memory."""
        return self._inside.standardize(self.source.take(numbers - self._first), int(numbers[0]) ^ self._seed)

    def some(self, share: float, seed: int) -> Iterator[tuple[Ints, Floats]]:
        """A share of the rows at random, the same in every call, without reading all of them."""
        if self.source.in_memory:
            yield from self._some_of_all(share, seed)
            return
        left = math.ceil(share * (self.source.n_rows or 0))
        for numbers, rows in self.batches(np.random.default_rng([seed, 1])):
            yield numbers[:left], rows[:left]
            left -= len(rows[:left])
            if left <= 0:
                break

    def _some_of_all(self, share: float, seed: int) -> Iterator[tuple[Ints, Floats]]:
        """The same for rows in memory: those of all members do not depend on the number of members."""
        numbers = self.numbers()
        chosen = numbers[hashes(numbers, seed ^ OF_SHARES) <= np.uint64(min(share * 2.0**64, 2.0**64 - 2048))]
        for start in range(0, len(chosen), size := rows_per_batch(self.source.n_features)):
            yield chosen[start : start + size], self.take(chosen[start : start + size])
