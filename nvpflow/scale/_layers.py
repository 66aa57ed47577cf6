"""Training of layers and base on all rows: steps of Adam, whose gradients are summed over the members, in cycles."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nvpflow._training.course import rates_to_try
from nvpflow._training.dataset import Data
from nvpflow._training.defaults import option
from nvpflow._training.noise import bandwidth
from nvpflow._typing import Floats, Ints
from nvpflow.flow import Flow
from nvpflow.mixture_base import MixtureBase
from nvpflow.optim import Adam
from nvpflow.scale._numbers import hashes, normals
from nvpflow.scale._progress import watched_rows

if TYPE_CHECKING:
    from nvpflow._training.settings import Settings
    from nvpflow.scale._group import Group
    from nvpflow.scale._held_out import Gain, HeldOut
    from nvpflow.scale._inside import Training

__all__ = ["Cycles"]

# Steps of the first cycle; each cycle is as long as all before it. Steps of all cycles grow with the square root of the number
# of rows, as those of a fit in memory do.
FIRST_CYCLE, MOST_STEPS, FEW_ROWS = 2000, 5000, 10_000
WARMUP = 100  # steps
OTHER_HASHES = 0x2545F4914F6CDD1D  # than those of rows to hold out
# A cycle has to gain this many standard errors, and this many nats, for another one to follow.
LEAST_ERRORS, LEAST_GAIN = 0.5, 5e-4
# New layers over a mixture must be ahead of it by this many standard errors, as in a fit in memory, and as many nats:
# marginals and conditionals of a mixture alone are in closed form. They learn at 3e-3: on 150,000 rows of a checkerboard, of
# which 20,000 were the sample, they gained 0.024 nats on the mixture, and 0.014 at 1e-3.
ERRORS_OF_NEW = 1.0


def _pays(gain: Gain, errors: float) -> bool:
    return gain.exceeds(errors) and not gain.mean <= LEAST_GAIN


class Cycles:
    """The training of a flow of standardised rows.

    Parameters
    ----------
    flow : Flow
        Updated: it ends with the parameters of the best cycle, or its own if none is better.
    training : Training
    n_own, n_rows : int
        Rows that train, of this member and of all.
    """

    def __init__(
        self, settings: Settings, flow: Flow, training: Training, n_own: int, n_rows: int, group: Group, seed: int
    ) -> None:
        self._settings, self._flow, self._training, self._group, self._seed = settings, flow, training, group, seed
        self._batch = settings.batch_of(n_rows)
        self._own_batch = max(1, round(self._batch * n_own / n_rows)) if n_own else 0
        self._n_rows, self.n_steps, self._end, self._is_late = n_rows, 0, math.inf, False
        self._most_steps = round(MOST_STEPS * math.sqrt(max(1.0, n_rows / FEW_ROWS)))
        if settings.max_iter is not None:
            self._most_steps = min(self._most_steps, settings.max_iter * -(-n_rows // self._batch))
        self._adam, self._mean = Adam(flow.parameters), flow.parameters.copy()
        self._rate = option(settings, "learning_rate", isinstance(flow.base, MixtureBase))

    def run(self, sample: Floats, held_out: HeldOut, end: float = math.inf, is_new: bool = False) -> bool:
        """Run cycles until one does not pay, or until a time. Return whether the flow has changed.

        Parameters
        ----------
        sample : ndarray, shape (n, D)
            Rows that set the units of the noise.
        held_out : HeldOut
        end : float
        is_new : bool
            Whether the layers have not been trained. They learn at a larger rate then, and are kept only if they are clearly
            better than none.
        """
        self._end, flow = end, self._flow
        base = flow.base if isinstance(flow.base, MixtureBase) else None
        noise = bandwidth(self._settings.noise, Data(sample), self._n_rows, base)
        start, first = flow.parameters.copy(), held_out.log_prob(flow)
        is_shared = not self._group.any(not self._training.source.in_memory)
        batches = self._shared_batches(noise) if is_shared else self._batches(noise)
        if is_new:  # at the larger rate of an ordinary fit, although the smaller one is as good after FIRST_CYCLE
            rates = rates_to_try(self._settings, self._n_rows)
            self._rate = max([rate for rate in rates if rate is not None], default=self._rate)
        best, before, length = start, first, min(FIRST_CYCLE, self._most_steps)
        while length > 0 and not self._is_late and self._cycle(batches, length):
            after = self._log_prob_of_mean(held_out)
            gain = held_out.gain(after, before)
            if gain.exceeds(0.0):
                best, before = self._mean.copy(), after
            if not _pays(gain, LEAST_ERRORS):
                break
            length = min(self.n_steps, self._most_steps - self.n_steps)
        gain = held_out.gain(before, first)
        has_changed = _pays(gain, ERRORS_OF_NEW) if is_new else gain.exceeds(0.0)
        flow.parameters[:] = best if has_changed else start
        return has_changed

    def _log_prob_of_mean(self, held_out: HeldOut) -> Floats:
        """Log-densities of held-out rows by the moving average of the parameters."""
        current = self._flow.parameters.copy()
        self._flow.parameters[:] = self._mean
        found = held_out.log_prob(self._flow)
        self._flow.parameters[:] = current
        return found

    def _cycle(self, batches: Iterator[Floats], length: int) -> bool:
        """Take steps while the learning rate falls to 0 along a cosine. False: a loss or gradient was not finite."""
        decay, size = self._settings.average, self._flow.n_parameters
        what = f"layers, steps {self.n_steps + 1:,} to {self.n_steps + length:,}"
        with watched_rows(what, length * self._batch, self._settings.verbose) as show:
            for step in range(length):
                sums = self._group.sum(self._sums(next(batches)))
                if not np.isfinite(sums).all():
                    return False
                grad, n, late = sums[:size], max(1.0, sums[-2]), sums[-1] > 0
                warm = min(1.0, (self.n_steps + 1) / WARMUP)
                self._adam.learning_rate = max(1e-12, self._rate * warm * 0.5 * (1 + math.cos(math.pi * step / length)))
                self._adam.step(grad / n)
                self._mean += (1 - decay) * (self._flow.parameters - self._mean)
                self.n_steps += 1
                show(self._batch)
                if late:
                    self._is_late = True
                    break
        return True

    def _sums(self, z: Floats) -> Floats:
        """The sums over the own rows of gradients and NLL, their number, and whether time is up."""
        late = float(time.monotonic() > self._end)
        if not len(z):
            return np.concatenate([np.zeros(self._flow.n_parameters), [0.0, 0.0, late]])
        nll, grad = self._flow.nll_and_grad(z)
        return np.concatenate([grad.astype(np.float64) * len(z), [nll * len(z), len(z), late]])

    def _batches(self, noise: Floats) -> Iterator[Floats]:
        """Minibatches of the own rows, without end: each pass is shuffled anew."""
        epoch, size, held = 0, self._own_batch, np.empty((0, self._flow.data_dim), self._flow.dtype)
        while size == 0:
            yield held
        while True:
            rng = np.random.default_rng([self._seed, epoch, self._group.rank])
            for numbers, z in self._training.batches(rng):
                held = np.concatenate([held, self._noisy(numbers, z, noise, epoch)])
                full = len(held) // size * size
                for start in range(0, full, size):
                    yield held[start : start + size]
                held = held[full:]
            epoch += 1

    def _shared_batches(self, noise: Floats) -> Iterator[Floats]:
        """The own rows of minibatches that hold the same rows for any number of members: a hash of its number says in which
        one a row is. Their sizes vary like those of random draws."""
        numbers, n_batches = self._training.numbers(), max(1, round(self._n_rows / self._batch))
        for epoch in itertools.count():
            drawn = hashes(numbers, self._seed ^ (OTHER_HASHES * (epoch + 1) % 2**62))
            place = (drawn >> np.uint64(32)) * np.uint64(n_batches) >> np.uint64(32)
            order = np.argsort(place, kind="stable")
            ends = np.searchsorted(place[order], np.arange(n_batches + 1, dtype=np.uint64))
            for first, last in itertools.pairwise(ends):
                own = numbers[order[first:last]]
                z = self._training.take(own) if len(own) else np.empty((0, self._flow.data_dim), self._flow.dtype)
                yield self._noisy(own, z, noise, epoch)

    def _noisy(self, numbers: Ints, z: Floats, noise: Floats, epoch: int) -> Floats:
        if not noise.any():
            return z
        drawn = normals(numbers, z.shape[1], self._seed + epoch)
        return (z + noise * drawn).astype(z.dtype)
