"""Importance sampling from a fitted flow, with Pareto smoothed weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nvpflow._typing import ArrayLike, Floats, Seed
from nvpflow._validation.arguments import check_int, draw_seeds
from nvpflow._warnings import AccuracyWarning, warn_user
from nvpflow.monte_carlo._chains import Chains
from nvpflow.monte_carlo._proposal import Sampler, draw
from nvpflow.monte_carlo._target import LogProb, evaluate
from nvpflow.monte_carlo.psis import largest_k, samples_for, smooth

__all__ = ["BLIND", "REMEDY", "ImportanceResult", "importance_sample"]

BLIND = "What the model does not reach, a far mode or tail, would not be noticed."
FINITE_VARIANCE = 0.5  # weights have one if k is below it
REMEDY = "fit the model to more samples, raise the temperature, or take a base with heavy tails"


@dataclass(frozen=True, eq=False)
class ImportanceResult:
    """Weighted samples of a target, and how far they can be trusted: the result of `importance_sample`. `print` shows it.

    Attributes
    ----------
    samples : ndarray of float64, shape (n, D)
        Draws of the model. They follow the target only with the weights, or after `resample`.
    log_prob, log_proposal : ndarray of float64, shape (n,)
        Log-densities of the target, as they came, and of the model, in nats.
    log_weights : ndarray of float64, shape (n,)
        The logarithms of smoothed weights that sum to 1, see `psis`. -inf where the target has no density.
    pareto_k : float
        The shape of the tail of the weights, see `psis`.
    ess : float
        The effective sample size, 1 / sum(weights^2) (Kish).
    log_evidence, log_evidence_error : float
        The logarithm of the integral of the target, in nats, and its standard error.
    names : tuple of str
        Of the columns.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).normal(size=(1000, 2))
    >>> model = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(X)
    >>> target = lambda x: -0.5 * (x**2).sum(axis=1)
    >>> result = nvpflow.monte_carlo.importance_sample(model, target, 2000, random_state=0)
    >>> result.covariance().shape, result.resample(100, random_state=0).shape
    ((2, 2), (100, 2))
    """

    samples: Floats
    log_prob: Floats
    log_proposal: Floats
    log_weights: Floats
    pareto_k: float
    ess: float
    log_evidence: float
    log_evidence_error: float
    names: tuple[str, ...]

    @property
    def weights(self) -> Floats:
        """ndarray of float64, shape (n,): the smoothed weights, which sum to 1."""
        weights: Floats = np.exp(self.log_weights)
        return weights

    @property
    def is_reliable(self) -> bool:
        """bool: whether `pareto_k` is below min(1 - 1 / log10(n), 0.7), and so gives no reason for doubt."""
        return self.pareto_k < largest_k(len(self.samples))

    def expectation(self, function: Callable[[Floats], ArrayLike] | None = None) -> tuple[Floats, Floats]:
        """The mean of a function under the target, with its standard error.

        Parameters
        ----------
        function : callable, optional
            Of the samples (n, D), to values of shape (n, ...). Default: the samples themselves.

        Returns
        -------
        mean, error : ndarray of float64, shape (...), or (D,)

        Raises
        ------
        ValueError
            If the values have another shape.

        Notes
        -----
        The variance is sum(w_i^2 (f_i - mean)^2), with weights w that sum to 1 (Vehtari et al. 2024, section 2.2).
        """
        values: Floats = self.samples if function is None else np.asarray(function(self.samples.copy()), np.float64)
        if values.shape[:1] != (len(self.samples),):
            raise ValueError(f"function must return shape ({len(self.samples)}, ...), got {values.shape}")
        with_weight = self.log_weights > -np.inf
        weights, values = self.weights[with_weight], values[with_weight]
        mean = np.tensordot(weights, values, 1)
        return mean, np.sqrt(np.tensordot(weights**2, (values - mean) ** 2, 1))

    def covariance(self) -> Floats:
        """The covariance of the target.

        Returns
        -------
        covariance : ndarray of float64, shape (D, D)
        """
        centred = self.samples - self.weights @ self.samples
        found: Floats = (centred * self.weights[:, None]).T @ centred
        return found

    def resample(self, n_samples: int, random_state: Seed = None) -> Floats:
        """Draw from the weighted samples, so that all count the same.

        Parameters
        ----------
        n_samples : int
        random_state : int, Generator, RandomState or None

        Returns
        -------
        samples : ndarray of float64, shape (n_samples, D)
            In random order. The same sample comes several times where weights are large.

        Notes
        -----
        Systematic resampling (Kitagawa 1996): a sample with weight w comes n_samples w times, up or down to a whole number.
        """
        drawn: Floats = self.samples[self._resampled(n_samples, random_state)]
        return drawn

    def _resampled(self, n_samples: int, random_state: Seed) -> Any:
        n_samples, (seed,) = check_int("n_samples", n_samples, 0), draw_seeds(random_state, 1)
        rng = np.random.default_rng(seed)
        below = np.cumsum(self.weights)
        places = (rng.random() + np.arange(n_samples)) / max(n_samples, 1) * below[-1]
        found = np.searchsorted(below, places, side="right").clip(max=int(np.flatnonzero(self.log_weights > -np.inf)[-1]))
        return rng.permutation(found)

    def to_arviz(self, random_state: Seed = None) -> Any:
        """Convert to an InferenceData of ArviZ.

        Parameters
        ----------
        random_state : int, Generator, RandomState or None
            Of the resampling.

        Returns
        -------
        arviz.InferenceData, or xarray.DataTree with ArviZ 1 and newer
            With `ess` resampled samples: see `nvpflow.integrations.arviz.to_arviz`.
        """
        from nvpflow.integrations.arviz import to_arviz

        return to_arviz(self, random_state=random_state)

    def _chains(self, random_state: Seed) -> Chains:
        """One chain of as many samples as the weighted ones are worth, so that effective sample sizes of others are right."""
        rows = self._resampled(max(int(self.ess), 1), random_state)[None]
        columns = {name: self.samples[rows, i] for i, name in enumerate(self.names)}
        figures = "pareto_k", "ess", "log_evidence", "log_evidence_error"
        return Chains(columns, {"lp": self.log_prob[rows]}, {name: getattr(self, name) for name in figures})

    def __str__(self) -> str:
        n = len(self.samples)
        return "\n".join(
            (
                f"Importance sampling: {n} samples in {self.samples.shape[1]} dimensions",
                f"  log-evidence           {self.log_evidence:.4f} ± {self.log_evidence_error:.4f} nats",
                f"  effective sample size  {self.ess:.0f}, {100 * self.ess / n:.1f} %",
                f"  Pareto k               {self.pareto_k:.2f}, reliable below {largest_k(n):.2f}",
                f"  {self._verdict()}",
            )
        )

    __repr__ = __str__

    def _verdict(self) -> str:
        """What k means, in words."""
        k = self.pareto_k
        if self.is_reliable:
            return f"Pareto k gives no reason for doubt. {BLIND}"
        if math.isnan(k):
            return "Pareto k is unknown: too few samples have different weights. Draw more, at least 25."
        if k >= 1:
            return (
                "Not reliable: for k >= 1 the weights have no finite mean, so that estimates do not converge, however many "
                f"samples: {REMEDY}."
            )
        least = samples_for(k)
        needed = f"k = {k:.2f} needs at least {least:{',.0f' if least < 1e9 else '.0e'}} samples"
        if k < 0.7:
            return f"Not reliable yet: {needed}."
        return (
            f"Not reliable: for k > 0.7 a few samples carry the estimates, which converge too slowly, and the errors and the "
            f"effective sample size above look too good; {needed}. Rather {REMEDY}."
        )


def _log_mean(log_values: Floats) -> tuple[float, float]:
    """The logarithm of the mean of values (n,), and its standard error."""
    n, top = len(log_values), float(log_values.max())
    values = np.exp(log_values - top)
    mean = float(values.mean())
    return top + math.log(mean), math.sqrt(float(np.mean((values / mean - 1) ** 2)) / (n - 1))


def importance_sample(
    model: Sampler,
    log_prob: LogProb,
    n_samples: int = 5000,
    *,
    context: ArrayLike | None = None,
    temperature: float = 1.0,
    batch_size: int | None = None,
    random_state: Seed = None,
) -> ImportanceResult:
    """Sample a target by weighted draws of a fitted model, and estimate its normalising constant, the evidence.

    Parameters
    ----------
    model : FlowDensity, RealNVP, Flow or FlowEnsemble
        The proposal, fitted to rough samples of the target, such as those of a short MCMC run. Without categories.
    log_prob : callable
        The log-density of the target in nats, up to a constant, of a batch: (n, D) of float64 -> (n,). -inf where there is
        no density. For an evidence the sum of log-likelihood and normalised log-prior.
    n_samples : int, default 5000
    context : array_like, shape (C,) or (1, C), optional
        Of a conditional model, such as the observation of a posterior learned from simulations.
    temperature : float, default 1.0
        Of the model's draws, see `Flow.sample`. Above 1 they reach farther into the tails.
    batch_size : int, optional
        The largest number of points in a call of `log_prob`. Default: all in one call.
    random_state : int, Generator, RandomState or None
        None: other draws in every call.

    Returns
    -------
    ImportanceResult

    Raises
    ------
    NotFittedError, TypeError, ValueError
        If an argument is invalid, or `log_prob` returns another shape, NaN, inf, or -inf at all draws.

    Warns
    -----
    AccuracyWarning
        If `pareto_k` says that the estimates are not reliable.

    See Also
    --------
    independence_metropolis : Chains, which need no weights.

    Notes
    -----
    With weights w_i = p(x_i) / q(x_i), the largest smoothed (see `psis`), the evidence is their mean, and the standard error
    of its logarithm their standard deviation divided by sqrt(n) and by their mean. With a `pareto_k` below 0.5, their variance
    is finite, and the evidence is the mean of the weights as they are, which has no bias. What the weights cannot show is a
    part of the target where the model has practically no density, such as a mode that was not among the samples of its fit.

    Where the model has discrete columns (whole numbers), densities with respect to them are probabilities.

    References
    ----------
    Vehtari, Simpson, Gelman, Yao and Gabry (2024), "Pareto smoothed importance sampling".

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).normal(size=(1000, 2))
    >>> model = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(X)
    >>> target = lambda x: -0.5 * (x**2).sum(axis=1)
    >>> result = nvpflow.monte_carlo.importance_sample(model, target, 2000, random_state=0)
    >>> mean, error = result.expectation()
    >>> result.is_reliable, mean.shape
    (True, (2,))
    """
    n = check_int("n_samples", n_samples, 2)
    (seed,) = draw_seeds(random_state, 1)
    x, log_proposal, names = draw(model, n, seed, context, temperature)
    of_target = evaluate(log_prob, x, batch_size)
    log_ratios = of_target - log_proposal
    log_weights, log_total, k = smooth(log_ratios)
    ess = 1 / float(np.exp(2 * log_weights).sum())
    log_evidence, log_evidence_error = _log_mean(log_ratios if k < FINITE_VARIANCE else log_weights + log_total)
    result = ImportanceResult(
        samples=x, log_prob=of_target, log_proposal=log_proposal, log_weights=log_weights, pareto_k=k, ess=ess,
        log_evidence=log_evidence, log_evidence_error=log_evidence_error, names=names,
    )  # fmt: skip
    if not result.is_reliable:
        warn_user(f"importance_sample: {result._verdict()}", AccuracyWarning)
    return result
