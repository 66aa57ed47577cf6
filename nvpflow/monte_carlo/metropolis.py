"""Independence Metropolis-Hastings with a fitted flow as the proposal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nvpflow._typing import ArrayLike, Bools, Floats, Ints, Seed
from nvpflow._validation.arguments import check_int, draw_seeds
from nvpflow._warnings import AccuracyWarning, warn_user
from nvpflow.monte_carlo._chains import Chains
from nvpflow.monte_carlo._convergence import ess_bulk, ess_tail, split_r_hat
from nvpflow.monte_carlo._proposal import Sampler, draw
from nvpflow.monte_carlo._target import LogProb, evaluate
from nvpflow.monte_carlo.importance import BLIND, REMEDY
from nvpflow.monte_carlo.psis import smooth

__all__ = ["MetropolisResult", "independence_metropolis"]

LARGEST_R_HAT, LEAST_ESS = 1.01, 400  # Vehtari et al. (2021), section 4


@dataclass(frozen=True, eq=False)
class MetropolisResult:
    """Chains of `independence_metropolis`, and whether they have converged. `print` shows it.

    Attributes
    ----------
    samples : ndarray of float64, shape (n_chains, n_steps, D)
        The states, without the warm-up.
    log_prob : ndarray of float64, shape (n_chains, n_steps)
        Log-densities of the target at the states, as they came, in nats.
    accepted : ndarray of bool, shape (n_chains, n_steps)
        Whether the step moved.
    r_hat : ndarray of float64, shape (D,)
        Rank-normalised split R-hat of each column: near 1 if the chains agree.
    ess_bulk, ess_tail : ndarray of float64, shape (D,)
        Effective sample sizes for the centre and for the quantiles of 5 and 95 % of each column.
    pareto_k : float
        The shape of the tail of the weights p(x) / q(x) of all proposals, see `psis`. A chain stays long at a point with a
        large weight.
    names : tuple of str
        Of the columns.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).normal(size=(1000, 2))
    >>> model = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(X)
    >>> target = lambda x: -0.5 * (x**2).sum(axis=1)
    >>> chains = nvpflow.monte_carlo.independence_metropolis(model, target, random_state=0)
    >>> chains.flat_samples.shape, chains.acceptance_rate.shape
    ((4000, 2), (4,))
    """

    samples: Floats
    log_prob: Floats
    accepted: Bools
    r_hat: Floats
    ess_bulk: Floats
    ess_tail: Floats
    pareto_k: float
    names: tuple[str, ...]

    @property
    def acceptance_rate(self) -> Floats:
        """ndarray of float64, shape (n_chains,): the share of accepted proposals."""
        rate: Floats = self.accepted.mean(axis=1)
        return rate

    @property
    def flat_samples(self) -> Floats:
        """ndarray of float64, shape (n_chains * n_steps, D): the states of all chains, one chain after the other."""
        return self.samples.reshape(-1, self.samples.shape[2])

    @property
    def has_converged(self) -> bool:
        """bool: whether R-hat is at most 1.01 and the effective sample sizes are at least 400, in all columns."""
        least = min(self.ess_bulk.min(), self.ess_tail.min())
        return bool(self.r_hat.max() <= LARGEST_R_HAT and least >= LEAST_ESS)

    def to_arviz(self) -> Any:
        """Convert to an InferenceData of ArviZ.

        Returns
        -------
        arviz.InferenceData, or xarray.DataTree with ArviZ 1 and newer
            See `nvpflow.integrations.arviz.to_arviz`.
        """
        from nvpflow.integrations.arviz import to_arviz

        return to_arviz(self)

    def _chains(self, random_state: Seed) -> Chains:
        columns = {name: self.samples[:, :, i] for i, name in enumerate(self.names)}
        return Chains(columns, {"lp": self.log_prob, "accepted": self.accepted}, {"pareto_k": self.pareto_k})

    def __str__(self) -> str:
        n_chains, n_steps, dim = self.samples.shape
        rates = self.acceptance_rate
        lines = [
            f"Independence Metropolis-Hastings: {n_chains} chains of {n_steps} steps in {dim} dimensions",
            f"  acceptance rate         {rates.mean():.3f}, from {rates.min():.3f} to {rates.max():.3f} in single chains",
            f"  longest stay            {self._longest_stay()} steps at one point",
            f"  Pareto k of weights     {self.pareto_k:.2f}",
            "  column, R-hat, bulk and tail effective sample size, worst first",
        ]
        order = np.argsort(-np.nan_to_num(self.r_hat, nan=np.inf), kind="stable")[:10]
        for column in order:
            figures = f"{self.r_hat[column]:.4f}  {self.ess_bulk[column]:.0f}  {self.ess_tail[column]:.0f}"
            lines.append(f"    {self.names[column]}  {figures}")
        return "\n".join([*lines, f"  {self._verdict()}"])

    __repr__ = __str__

    def _longest_stay(self) -> int:
        """The largest number of steps in a row with one state."""
        moves = np.concatenate((np.ones((len(self.accepted), 1), bool), self.accepted[:, 1:]), axis=1)
        starts = np.flatnonzero(moves.ravel())
        return int(np.diff(np.append(starts, moves.size)).max())

    def _verdict(self) -> str:
        if self.has_converged:
            return f"The chains agree. {BLIND}"
        least = min(self.ess_bulk.min(), self.ess_tail.min())
        return (
            f"Not converged: the largest R-hat is {self.r_hat.max():.4f}, where {LARGEST_R_HAT} is the limit, and the least "
            f"effective sample size {least:.0f}, where {LEAST_ESS} is. Take more steps, or {REMEDY}."
        )


def independence_metropolis(
    model: Sampler,
    log_prob: LogProb,
    n_steps: int = 1000,
    n_chains: int = 4,
    *,
    n_warmup: int = 100,
    context: ArrayLike | None = None,
    temperature: float = 1.0,
    batch_size: int | None = None,
    random_state: Seed = None,
) -> MetropolisResult:
    """Sample a target by Metropolis-Hastings whose proposals are draws of a fitted model, whatever the state of the chain.

    Parameters
    ----------
    model : FlowDensity, RealNVP, Flow or FlowEnsemble
        The proposal, fitted to rough samples of the target, such as those of a short MCMC run. Without categories.
    log_prob : callable
        The log-density of the target in nats, up to a constant, of a batch: (n, D) of float64 -> (n,). -inf where there is
        no density.
    n_steps : int, default 1000
        At least 4, for each chain.
    n_chains : int, default 4
    n_warmup : int, default 100
        Steps of each chain before those that are kept. A chain begins at a draw of the model.
    context : array_like, shape (C,) or (1, C), optional
        Of a conditional model, such as the observation of a posterior learned from simulations.
    temperature : float, default 1.0
        Of the model's draws, see `Flow.sample`. Above 1 they reach farther into the tails.
    batch_size : int, optional
        The largest number of points in a call of `log_prob`. Default: all proposals of all chains in one call.
    random_state : int, Generator, RandomState or None
        None: other chains in every call.

    Returns
    -------
    MetropolisResult

    Raises
    ------
    NotFittedError, TypeError, ValueError
        If an argument is invalid, or `log_prob` returns another shape, NaN, inf, or -inf at all draws, or at all of a
        chain's warm-up.

    Warns
    -----
    AccuracyWarning
        If R-hat is above 1.01, or an effective sample size below 400.

    See Also
    --------
    importance_sample : Uses all draws, and estimates the evidence.

    Notes
    -----
    A proposal x' is accepted with probability min(1, w(x') / w(x)), w = p / q (Tierney 1994, section 2.3.3). Proposals do not
    depend on states, so the target is evaluated at all of them at once. The chain converges geometrically if the weights are
    bounded; if not, it can stay at a point with a large weight for long. A part of the target where the model has practically
    no density is not visited, and no diagnostic of the chains shows it.

    References
    ----------
    Tierney (1994), "Markov chains for exploring posterior distributions"; Vehtari, Gelman, Simpson, Carpenter and Bürkner
    (2021), "Rank-normalization, folding, and localization: an improved R-hat for assessing convergence of MCMC".

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).normal(size=(1000, 2))
    >>> model = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(X)
    >>> target = lambda x: -0.5 * (x**2).sum(axis=1)
    >>> chains = nvpflow.monte_carlo.independence_metropolis(model, target, random_state=0)
    >>> chains.samples.shape, chains.has_converged
    ((4, 1000, 2), True)
    """
    n_steps, n_chains = check_int("n_steps", n_steps, 4), check_int("n_chains", n_chains, 1)
    n_states = check_int("n_warmup", n_warmup, 0) + n_steps + 1
    of_draws, of_steps = draw_seeds(random_state, 2)
    x, log_proposal, names = draw(model, n_states * n_chains, of_draws, context, temperature)
    of_target = evaluate(log_prob, x, batch_size)
    log_ratios = of_target - log_proposal
    chosen, accepted = _walk(log_ratios.reshape(n_states, n_chains), np.random.default_rng(of_steps))
    kept = chosen[-n_steps:].T
    if (of_target[kept] == -np.inf).any():
        raise ValueError("log_prob must be finite at some proposal of each chain's warm-up: n_warmup must be larger")
    samples = x[kept]
    columns = np.moveaxis(samples, 2, 0)
    result = MetropolisResult(
        samples=samples, log_prob=of_target[kept], accepted=accepted[-n_steps:].T,
        r_hat=np.array([split_r_hat(column) for column in columns]),
        ess_bulk=np.array([ess_bulk(column) for column in columns]),
        ess_tail=np.array([ess_tail(column) for column in columns]),
        pareto_k=smooth(log_ratios)[2], names=names,
    )  # fmt: skip
    if not result.has_converged:
        warn_user(f"independence_metropolis: {result._verdict()}", AccuracyWarning)
    return result


def _walk(log_ratios: Floats, rng: np.random.Generator) -> tuple[Ints, Bools]:
    """The chains, from log p - log q of their proposals (n_states, n_chains), the first of which is where they begin.

    Returns which proposal, counted over rows, each state is, and whether each step moved: (n_states - 1, n_chains).
    """
    n_states, n_chains = log_ratios.shape
    log_uniform = np.log1p(-rng.random((n_states - 1, n_chains)))
    chosen, accepted = np.empty((n_states - 1, n_chains), np.intp), np.empty((n_states - 1, n_chains), bool)
    state, at = np.arange(n_chains), log_ratios[0].copy()
    for step, (proposed, limit) in enumerate(zip(log_ratios[1:], log_uniform)):
        # Not by a difference: that of two -inf is not a number. A chain without density moves anywhere.
        moves = proposed >= at + limit
        at = np.where(moves, proposed, at)
        state = np.where(moves, np.arange(n_chains) + (step + 1) * n_chains, state)
        chosen[step], accepted[step] = state, moves
    return chosen, accepted
