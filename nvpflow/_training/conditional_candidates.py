"""Mixtures of context and samples together that compete for held-out samples, given their context."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt

from nvpflow._base import bare_flow
from nvpflow._training.covariances import PRIOR_SAMPLES
from nvpflow._training.dataset import Data
from nvpflow._training.em import ColumnUnits, Mixture, Samples
from nvpflow._training.kmeans import moments_of_labels
from nvpflow._training.mixed_mixture import Indicators, MixedMixture, MixedSamples
from nvpflow._training.mixture_candidates import Candidates
from nvpflow._typing import Floats
from nvpflow.conditional_mixture_base import ConditionalMixtureBase
from nvpflow.mixture_base import MixtureBase, pack_factors

__all__ = ["ConditionalCandidates"]

# Categories of a block by which a mixture starts, at most, and rows of each at least. Where each category had a shape of its
# own, gaps fell from 1.2 to 0.8 nats (150 rows of six in six columns) and from 0.5 to 0.09 (of three that differ in size);
# tables of R packages gained up to 0.9 nats, and lost 0.02 at most.
MOST_CATEGORIES, ROWS_OF_CATEGORY = 12, 5

# Fewer than for samples without a context: the mixtures have more columns, and take longer. On curves and branches the
# averages were as good as with all numbers and priors, within 0.01 nats, in two thirds of the time.
MOST_ROWS, COMPONENTS, PRIORS = 3000, (1, 2, 3, 4, 6, 8, 12, 20, 32, 48), (np.inf, 0.3, 0.01)
# Beside categories alone the mixtures have the columns of samples, as without a context, and as many candidates. On tables of
# categories and up to four other columns, gaps of 10,000 rows fell by a sixth in the mean, by a third at most, and of 1000
# rows by a twentieth, in 1.4 and 1.1 times the time (six densities, means of three and four states).


class ConditionalCandidates(Candidates):
    """Mixtures fitted to the columns of context and samples, of all rows but those that are held out.

    Parameters
    ----------
    data : Data
        Standardised columns, those of the context before those of the samples, without the indicators; these are the context.
    units, held_out, distinct, seed
        As of `Candidates`.
    n_real : int
        The number of columns of the context.
    blocks : tuple of int
        The sizes of the blocks of indicators.

    Attributes
    ----------
    log_probs : dict of str to ndarray
        Log-densities of the samples that were held out given their context, in nats, in standardised units, by candidate.
    log_contexts : dict of str to ndarray
        Of their context.
    """

    most_rows: int = MOST_ROWS
    components: tuple[int, ...] = COMPONENTS
    priors: tuple[float, ...] = PRIORS
    more_components: tuple[int, ...] = ()
    weaker_priors: tuple[float, ...] = ()
    most_kernels: int = 0
    rows_to_merge: float = np.inf
    guards_tails: bool = False  # they would be likeliest for a context between those of the samples

    def __init__(
        self,
        data: Data,
        units: ColumnUnits,
        held_out: npt.NDArray[np.bool_],
        distinct: float,
        seed: list[int],
        n_real: int,
        blocks: tuple[int, ...],
    ) -> None:
        self.n_real, self.blocks = n_real, blocks
        if not n_real:
            self.most_rows, self.components = Candidates.most_rows, Candidates.components
            self.priors, self.more_components = Candidates.priors, Candidates.more_components
        self.log_contexts: dict[str, Floats] = {}
        super().__init__(data, units, held_out, distinct, seed)

    def _new_samples(self, data: Data) -> Samples:
        if not self.blocks:
            return Samples(data.x, data.weight)
        assert data.context is not None
        return MixedSamples(data.x, data.weight, Indicators(data.context, self.blocks, data.weight))

    def _new_mixture(self, samples: Samples, k: int, prior_samples: float = PRIOR_SAMPLES) -> Mixture:
        if not self.blocks:
            return Mixture(samples, k, prior_samples)
        return MixedMixture(cast(MixedSamples, samples), k, prior_samples)

    def fit_by_categories(self, among: Collection[str] | None = None) -> list[str]:
        """Fit mixtures that start with a component for each category of a block. Return their names.

        K-means finds no clusters that differ in their shape alone, and of few rows it finds others.
        """
        samples, names = self.samples, list[str]()
        for i, size in enumerate(self.blocks):
            assert isinstance(samples, MixedSamples)
            indicators = samples.indicators.block(i)
            if size > MOST_CATEGORIES or indicators.sum(axis=0).min() < ROWS_OF_CATEGORY:
                continue
            moments = moments_of_labels(samples.x, samples.weight, indicators.argmax(axis=1), size)
            mixture = cast(MixedMixture, self._new_mixture(samples, size))
            start = partial(mixture.start_by_category, i, *moments)
            priors = [prior for prior in self.priors if prior < np.inf]
            names += self._fit_anew(mixture, start, priors, f", by category {i}", among)
        return names

    def _log_prob(self, name: str, mixture: Mixture) -> Floats:
        x, indicators = self.held_out.x, self.held_out.context
        factors = np.linalg.inv(np.linalg.cholesky(mixture.covariances))
        log_context = np.zeros(len(x)) if indicators is None else _log_categories(mixture, indicators)
        known = x[:, : self.n_real]
        if self.n_real:
            log_context += _log_prob_of(mixture, factors, known, np.empty((len(x), 0)), indicators)
        self.log_contexts[name] = log_context
        return _log_prob_of(mixture, factors, x[:, self.n_real :], known, indicators)

    def average(self, shares: dict[str, float]) -> MixtureBase:
        joint = super().average(shares)
        base = ConditionalMixtureBase.__new__(ConditionalMixtureBase)
        n_indicators = sum(self.blocks)
        dim = joint.data_dim - self.n_real
        base._allocate(joint.n_components, dim, self.n_real + n_indicators, joint.dtype, n_indicators)
        for name in ("logits", "means", "factors"):
            getattr(base, name)[:] = getattr(joint, name)
        if n_indicators:
            tables = [cast(Floats, self._mixtures[name].tables) for name in shares]
            base.indicator_logits[:] = np.log(np.concatenate(tables))
        return base


def _log_prob_of(mixture: Mixture, factors: Floats, x: Floats, context: Floats, indicators: Floats | None) -> Floats:
    """Log-density of the columns x that come after those of the context, given these and the indicators."""
    n, n_real = context.shape[1] + x.shape[1], context.shape[1]
    parts = [np.log(mixture.weights), mixture.means[:, :n], pack_factors(factors[:, :n, :n])]
    fields = {"type": MixtureBase._kind, "n_components": mixture.k}
    if n_real or indicators is not None:
        n_indicators = 0 if indicators is None else indicators.shape[1]
        fields = {"type": ConditionalMixtureBase._kind, "n_components": mixture.k, "n_indicators": n_indicators}
        context = context if indicators is None else np.hstack([context, indicators])
        parts += [] if mixture.tables is None else [np.log(mixture.tables)]
    dtype = mixture.samples.x.dtype
    flow = bare_flow(x.shape[1], dtype, fields, context_dim=context.shape[1])
    flow.parameters[:] = np.concatenate([part.ravel() for part in parts])
    with np.errstate(invalid="ignore", over="ignore"):
        arguments = [x.astype(dtype, copy=False)] + ([context.astype(dtype, copy=False)] if context.shape[1] else [])
        log_prob = flow.log_prob(*arguments).astype(np.float64)
    return np.where(np.isfinite(log_prob), log_prob, -np.inf)


def _log_categories(mixture: Mixture, indicators: Floats) -> Floats:
    """Log-probabilities of the categories alone."""
    log_terms = np.log(mixture.weights) + indicators.astype(np.float64) @ np.log(cast(Floats, mixture.tables)).T
    largest = log_terms.max(axis=1, keepdims=True)
    log_sum: Floats = (largest + np.log(np.exp(log_terms - largest).sum(axis=1, keepdims=True)))[:, 0]
    return log_sum
