"""An ensemble of flows: the average of their densities."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, SupportsIndex, overload

import numpy as np
import numpy.typing as npt

from nvpflow._draws import arrange_draws
from nvpflow._typing import AnyPath, ArrayLike, BinaryWriter, FloatDType, Floats, Seed
from nvpflow._validation.arguments import draw_seeds, shown
from nvpflow._validation.arrays import as_array
from nvpflow._validation.weights import check_weights
from nvpflow.flow import Flow

__all__ = ["FlowEnsemble", "log_prob_and_std", "log_sum_exp", "spread_of"]

# What a `Flow` has and an average of densities cannot have: it has no layers, and no latent space of its own.
OF_ONE_FLOW = frozenset({
    "base", "base_density", "config", "fit", "forward", "forward_vjp", "initialize_act_norms", "inverse", "inverse_vjp",
    "layers", "load_state_dict", "nll_and_grad", "parameters", "state_dict", "trace",
})  # fmt: skip
ROUNDING = 1e-6  # by which the sum of the weights may differ from 1


class FlowEnsemble:
    """The average of the densities of several flows::

        p(x) = w_1 p_1(x) + ... + w_K p_K(x)

    It has what has a meaning for an average: densities, their gradients, samples, files. An average has no layers and no
    latent space; its members have: ``ensemble[k]`` is flow k, ``len(ensemble)`` their number.

    Parameters
    ----------
    flows : sequence of Flow
        At least one. They agree in `data_dim`, `context_dim` and `dtype`. The ensemble refers to them and copies nothing.
    weights : array_like of real numbers, shape (K,), optional
        w >= 0, with the sum 1. Default: 1 / K for each flow.

    Attributes
    ----------
    flows : tuple of Flow
    weights : ndarray of float64, shape (K,)

    Raises
    ------
    TypeError
        If `flows` is not a sequence of flows, or `weights` does not hold real numbers.
    ValueError
        If there is no flow, if the flows do not agree, or if the weights are not K shares of 1.

    References
    ----------
    Lakshminarayanan, Pritzel and Blundell (2017), "Simple and scalable predictive uncertainty estimation using deep
    ensembles".

    Examples
    --------
    >>> import nvpflow
    >>> flows = [nvpflow.Flow([nvpflow.AffineCoupling(2, 16, [1, 0], random_state=i)]) for i in range(3)]
    >>> ensemble = nvpflow.FlowEnsemble(flows)
    >>> x = ensemble.sample(5, random_state=0)
    >>> ensemble.log_prob(x).shape
    (5,)
    >>> ensemble.member_log_prob(x).shape
    (3, 5)
    """

    _file_kind = "FlowEnsemble"

    def __init__(self, flows: Sequence[Flow], weights: ArrayLike | None = None) -> None:
        self._flows = _check_flows(flows)
        self._weights = _check_shares(weights, len(self._flows))

    # Only called for names that the class does not have.
    def __getattr__(self, name: str) -> Any:
        if name in OF_ONE_FLOW:
            raise AttributeError(
                f"a FlowEnsemble has no {name}, because an average of densities has no layers and no latent space: its "
                f"members have, such as ensemble[0].{name}; an estimator fits one Flow with n_models=1"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def flows(self) -> tuple[Flow, ...]:
        """tuple of Flow: the members."""
        return self._flows

    @property
    def weights(self) -> Floats:
        """ndarray of float64, shape (K,): a copy of the weights of the members."""
        return self._weights.copy()

    def __len__(self) -> int:
        return len(self._flows)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Flow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Flow, ...]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Flow | tuple[Flow, ...]:
        return self._flows[index]

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows)

    @property
    def data_dim(self) -> int:
        """int: number of columns of a sample."""
        return self._flows[0].data_dim

    @property
    def context_dim(self) -> int:
        """int: number of columns of the context, 0 without one."""
        return self._flows[0].context_dim

    @property
    def dtype(self) -> FloatDType:
        """numpy.dtype: that of the members."""
        return self._flows[0].dtype

    @property
    def n_parameters(self) -> int:
        """int: the number of parameters of all members."""
        return sum(flow.n_parameters for flow in self._flows)

    @property
    def n_jobs(self) -> int:
        """int: number of threads that a call may use, as in `Flow`. Setting it sets that of all members."""
        return self._flows[0].n_jobs

    @n_jobs.setter
    def n_jobs(self, value: int | None) -> None:
        for flow in self._flows:
            flow.n_jobs = value

    def _at(self, temperature: object) -> FlowEnsemble:
        """The ensemble at a temperature: itself at 1, else an average of copies over other bases."""
        members = [flow._at(temperature) for flow in self._flows]
        return self if members[0] is self._flows[0] else FlowEnsemble(members, self._weights)

    def log_prob(self, x: ArrayLike, context: ArrayLike | None = None, *, temperature: float = 1.0) -> Floats:
        """Log-density of each sample, the logarithm of the average of the members' densities.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, D)
        context : array_like of real numbers, shape (n, C)
            Required if the flows are conditional.
        temperature : float, default 1.0
            T > 0: that of every member, see `Flow.sample`.

        Returns
        -------
        log_prob : ndarray, shape (n,)
            In nats, in the dtype of the flows. -inf where no member has a density.

        Raises
        ------
        TypeError, ValueError
        """
        return log_sum_exp(self._at(temperature)._weighted(x, context))

    def member_log_prob(self, x: ArrayLike, context: ArrayLike | None = None) -> Floats:
        """Log-densities of each sample by the members, without their weights.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, D)
        context : array_like of real numbers, shape (n, C)
            Required if the flows are conditional.

        Returns
        -------
        log_prob : ndarray, shape (K, n)
            In nats, in the dtype of the flows.

        Raises
        ------
        TypeError, ValueError
        """
        x, context = as_array("x", x), None if context is None else as_array("context", context)
        return np.stack([flow.log_prob(x, context) for flow in self._flows])

    def _weighted(self, x: ArrayLike, context: ArrayLike | None) -> Floats:
        """log w_k + log p_k(x), shape (K, n)."""
        return self._weigh(self.member_log_prob(x, context))

    def _weigh(self, of_members: Floats) -> Floats:
        """Add the logarithms of the weights, in place."""
        with np.errstate(divide="ignore"):
            of_members += np.log(self._weights)[:, np.newaxis]
        return of_members

    def nll(self, x: ArrayLike, context: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float:
        """Mean negative log-likelihood of the samples.

        Parameters
        ----------
        x : array_like of real numbers, shape (n, D), n >= 1
        context : array_like of real numbers, shape (n, C)
            Required if the flows are conditional.
        sample_weight : array_like of real numbers, shape (n,), optional
            w >= 0, finite, not all zero. The mean is sum(w nll) / sum(w). Default: all 1.

        Returns
        -------
        float
            In nats; inf if a sample has no density.

        Raises
        ------
        TypeError, ValueError
        """
        log_prob = self.log_prob(x, context).astype(np.float64)
        if len(log_prob) == 0:
            raise ValueError("x must have at least one sample, got none")
        if sample_weight is None:
            return -float(log_prob.mean())
        weight = check_weights("sample_weight", sample_weight, len(log_prob))
        counts = weight > 0
        return -float(weight[counts] @ log_prob[counts] / weight.sum())

    def grad_log_prob(self, x: ArrayLike, context: ArrayLike | None = None) -> Floats:
        """Gradient of log p(x) with respect to x: the mean of the members' gradients, weighted by w_k p_k(x) / p(x).

        Parameters
        ----------
        x : array_like, shape (n, D)
        context : array_like, shape (n, C)
            Required if the flows are conditional.

        Returns
        -------
        grad : ndarray, shape (n, D)
            In nats per unit of x. NaN in rows without a density.

        Raises
        ------
        TypeError, ValueError
        """
        x, context = as_array("x", x), None if context is None else as_array("context", context)
        weighted = self._weighted(x, context)
        total = log_sum_exp(weighted.copy())
        with np.errstate(invalid="ignore"):
            shares = np.exp(weighted - total)  # NaN where no member has a density
        grad = np.zeros((len(total), self.data_dim), self.dtype)
        for flow, share in zip(self._flows, shares[:, :, np.newaxis]):
            with np.errstate(invalid="ignore"):
                # A member without a density there has a share of 0 and no gradient.
                grad += np.where(share == 0, 0, share * flow.grad_log_prob(x, context))
        return grad

    def sample(
        self,
        n_samples: int,
        random_state: Seed = None,
        context: ArrayLike | None = None,
        *,
        per_context: bool = False,
        temperature: float = 1.0,
    ) -> Floats:
        """Draw samples: for each one first a member, by the weights, and then a sample of it.

        Parameters
        ----------
        n_samples : int
        random_state : int, Generator, RandomState or None
            An int, >= 0: the same samples in every call; a larger `n_samples` only appends samples. A Generator,
            RandomState or None: different samples in each call.
        context : array_like, shape (n_samples, C), or (C,) or (1, C) for one context for all samples
            Required if the flows are conditional.
        per_context : bool, default False
            True: draw `n_samples` for each row of a context of shape (m, C).
        temperature : float, default 1.0
            T > 0: that of every member, see `Flow.sample`.

        Returns
        -------
        x : ndarray, shape (n_samples, D), or (m, n_samples, D) with `per_context`

        Raises
        ------
        TypeError, ValueError
        """
        shape, context = arrange_draws(n_samples, self.context_dim, context, per_context)
        x = self._at(temperature)._draw(int(np.prod(shape)), random_state, context)
        return x.reshape(*shape, self.data_dim)

    def sample_and_log_prob(
        self,
        n_samples: int,
        random_state: Seed = None,
        context: ArrayLike | None = None,
        *,
        per_context: bool = False,
        temperature: float = 1.0,
    ) -> tuple[Floats, Floats]:
        """Draw samples together with their log-densities.

        Parameters
        ----------
        n_samples : int
        random_state : int, Generator, RandomState or None
        context : array_like, shape (n_samples, C), (C,) or (1, C)
        per_context : bool, default False
        temperature : float, default 1.0
            As in `sample`. Log-densities are those at this temperature.

        Returns
        -------
        x : ndarray, shape (n_samples, D), or (m, n_samples, D) with `per_context`
            The samples that `sample` draws.
        log_prob : ndarray, shape (n_samples,) or (m, n_samples)
            In nats, as `log_prob` computes them.

        Raises
        ------
        TypeError, ValueError
        """
        shape, context = arrange_draws(n_samples, self.context_dim, context, per_context)
        at = self._at(temperature)
        x = at._draw(int(np.prod(shape)), random_state, context)
        return x.reshape(*shape, self.data_dim), at.log_prob(x, context).reshape(shape)

    def _draw(self, n: int, random_state: Seed, context: ArrayLike | None) -> Floats:
        """Draw n samples. Sample i depends on the seeds, its context, and the members of the samples before it."""
        seed, *seeds = draw_seeds(random_state, 1 + len(self))
        places = np.random.default_rng(seed).random(n)
        member = np.searchsorted(np.cumsum(self._weights)[:-1], places, side="right")
        x = np.empty((n, self.data_dim), self.dtype)
        rows = _check_rows(context, n, self.context_dim)
        for k, (flow, member_seed) in enumerate(zip(self._flows, seeds)):
            index = np.flatnonzero(member == k)
            x[index] = flow._sample(len(index), member_seed, None if rows is None else rows[index], False)[0]
        return x

    def copy(self) -> Self:
        """Copy the ensemble with its flows.

        Returns
        -------
        FlowEnsemble
            Independent of this one.
        """
        return copy.copy(self)

    def __copy__(self) -> Self:
        twin = type(self).__new__(type(self))
        vars(twin).update(vars(self), _flows=tuple(flow.copy() for flow in self._flows))
        return twin

    def save(self, path: AnyPath | BinaryWriter) -> None:
        """Write the ensemble to a file that `nvpflow.load` reads; see `nvpflow.save`.

        Parameters
        ----------
        path : str, bytes, path-like or binary file object

        Raises
        ------
        ValueError
            If the parameters are not finite.
        OSError
            If the file cannot be written.
        """
        from nvpflow._io.save import save

        save(self, path)

    def summary(self) -> str:
        """Describe the members in a text table.

        Returns
        -------
        summary : str
            For each flow its weight, the number of its layers, its base and the number of its parameters. Then totals and
            dtype.
        """
        from nvpflow._display import ensemble_summary

        return ensemble_summary(self)

    def __repr__(self) -> str:
        context = f", context_dim={self.context_dim}" * (self.context_dim > 0)
        return f"<{type(self).__name__} of {len(self)} flows, data_dim={self.data_dim}{context}, dtype='{self.dtype}'>"

    def _repr_html_(self) -> str:
        from nvpflow._display import ensemble_html

        return ensemble_html(self)


def log_prob_and_std(flow: Flow | FlowEnsemble, of_one: Callable[[Flow], Floats]) -> tuple[Floats, Floats]:
    """Log-densities (n,), and the standard deviation over the members of theirs, (n,): zeros for a single flow.

    `of_one` gives the log-densities (n,) of one flow. What it adds up must be linear in the density.
    """
    if isinstance(flow, Flow):
        log_prob = of_one(flow)
        return log_prob, np.zeros_like(log_prob)
    of_members = np.stack([of_one(member) for member in flow])
    spread = spread_of(of_members)
    return log_sum_exp(flow._weigh(of_members)), spread


def log_sum_exp(terms: Floats) -> Floats:
    """log of the sum over k of exp(terms), (K, n) -> (n,). The terms are overwritten."""
    shift = terms.max(axis=0)
    shift[~np.isfinite(shift)] = 0
    terms -= shift
    with np.errstate(divide="ignore", over="ignore"):
        np.exp(terms, out=terms)
        total: Floats = np.log(terms.sum(axis=0))
    total += shift
    return total


def spread_of(log_prob: Floats) -> Floats:
    """Standard deviations of log-densities (K, n) over the members, (n,)."""
    none = log_prob == -np.inf
    with np.errstate(invalid="ignore"):
        deviation = log_prob.std(axis=0, dtype=np.float64)
    spread = np.where(none.all(axis=0), 0, np.where(none.any(axis=0), np.inf, deviation))
    return spread.astype(log_prob.dtype)


def _check_flows(flows: Sequence[Flow]) -> tuple[Flow, ...]:
    if isinstance(flows, Flow) or not np.iterable(flows):
        raise TypeError(f"flows must be a sequence of flows, got {shown(flows)}")
    checked = tuple(flows)
    if not checked:
        raise ValueError("flows must have at least one flow, got none")
    for k, flow in enumerate(checked):
        if not isinstance(flow, Flow):
            raise TypeError(f"flows[{k}] must be a Flow, got {shown(flow)}")
        for name in ("data_dim", "context_dim", "dtype"):
            first, value = getattr(checked[0], name), getattr(flow, name)
            if first != value:
                raise ValueError(f"flows must agree in {name}: flows[0] has {first}, flows[{k}] has {value}")
    return checked


def _check_shares(weights: ArrayLike | None, n: int) -> Floats:
    """The weights of n flows, as float64."""
    if weights is None:
        return np.full(n, 1 / n)
    shares = check_weights("weights", weights, n)
    total = shares.sum()
    if not abs(total - 1) <= ROUNDING:
        raise ValueError(f"weights must have the sum 1, got {total}")
    return shares


def _check_rows(context: ArrayLike | None, n: int, n_columns: int) -> npt.NDArray[Any] | None:
    """The context of n samples as an array (n, C), to select rows of it. The members check the rest."""
    if n_columns == 0:
        if context is not None:
            raise ValueError(f"context must be None where context_dim is 0, got {type(context).__name__}")
        return None
    rows = None if context is None else as_array("context", context)
    if rows is None or rows.shape != (n, n_columns):
        raise ValueError(f"context must have shape ({n}, {n_columns}), got {None if rows is None else rows.shape}")
    return rows
