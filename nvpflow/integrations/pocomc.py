"""pocoMC: a flow that preconditions its sampler."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvpflow._validation.arguments import check_int
from nvpflow.density import FlowDensity
from nvpflow.integrations._missing import not_installed
from nvpflow.integrations._normal_flow import NormalFlow

try:
    import pocomc  # noqa: F401
    import torch
except ModuleNotFoundError as error:
    raise not_installed("pocomc", error) from None

from nvpflow.integrations._tensors import as_floats, check_place, draw_seed

__all__ = ["FlowPreconditioner"]


class FlowPreconditioner:
    """A flow for pocoMC: put it in the place of the sampler's own before `run`, ``sampler.flow = FlowPreconditioner(n_dim)``.

    Parameters
    ----------
    n_dim : int
        Number of dimensions, the sampler's `n_dim`.
    **parameters
        Of `FlowDensity`, other than `latent` and `n_models`. `warm_start` is True unless given.

    Attributes
    ----------
    model : FlowDensity
        Fitted after the first training of the sampler. Its samples are those of the sampler's unbounded space.
    n_dim : int

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.

    Notes
    -----
    The sampler trains the flow on its weighted particles several times, each time from where the last fit has ended. Held-out
    particles choose the density as in `FlowDensity.fit`; the options of pocoMC's `train_config` are those of its own flow, and
    have no effect here. Samples follow PyTorch's random state, as those of pocoMC's flow do.

    References
    ----------
    Karamanis, Beutler, Peacock, Nabergoj and Seljak (2022), "Accelerating astronomical and cosmological inference with
    preconditioned Monte Carlo".

    Examples
    --------
    >>> import torch
    >>> from nvpflow.integrations.pocomc import FlowPreconditioner
    >>> flow = FlowPreconditioner(2, max_iter=20, random_state=0)
    >>> history = flow.fit(torch.randn(200, 2, generator=torch.Generator().manual_seed(0)))
    >>> z, log_det = flow.forward(torch.zeros(3, 2))
    >>> z.shape, log_det.shape
    (torch.Size([3, 2]), torch.Size([3]))
    """

    def __init__(self, n_dim: int, **parameters: Any) -> None:
        self.n_dim = check_int("n_dim", n_dim, 1)
        self._flow = NormalFlow(self.n_dim, {"warm_start": True} | parameters)

    @property
    def model(self) -> FlowDensity:
        """FlowDensity: the density of the particles."""
        return self._flow.model

    def fit(self, x: torch.Tensor, weights: torch.Tensor | None = None, **train_config: Any) -> dict[str, list[float]]:
        """Fit the density to particles.

        Parameters
        ----------
        x : torch.Tensor, shape (n, D)
        weights : torch.Tensor, shape (n,), optional
        **train_config : object
            The options of pocoMC's own flow, which have no effect.

        Returns
        -------
        history : dict
            "loss" and "val_loss", lists of mean negative log-densities, in nats.

        Raises
        ------
        TypeError, ValueError
            If x has another number of dimensions, is not on the CPU, or cannot be fitted. The flow is unchanged then.
        """
        known = None if weights is None else as_floats("weights", check_place("weights", weights).reshape(-1, 1), 1)[:, 0]
        self._flow.fit(as_floats("x", x, self.n_dim), known)
        return self._flow.losses()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map particles to latent points.

        Parameters
        ----------
        x : torch.Tensor, shape (n, D)

        Returns
        -------
        u : torch.Tensor, shape (n, D)
            Distributed as N(0, I) if the particles have the fitted density.
        log_det : torch.Tensor, shape (n,)
            log|det du/dx|, in nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return _as_tensors(self._flow.to_latent(as_floats("x", x, self.n_dim)))

    def inverse(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map latent points to particles.

        Parameters
        ----------
        u : torch.Tensor, shape (n, D)

        Returns
        -------
        x : torch.Tensor, shape (n, D)
            NaN in rows that are not finite.
        log_det : torch.Tensor, shape (n,)
            log|det dx/du|, in nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return _as_tensors(self._flow.to_data(as_floats("u", u, self.n_dim)))

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Log-density of particles.

        Parameters
        ----------
        x : torch.Tensor, shape (n, D)

        Returns
        -------
        log_prob : torch.Tensor, shape (n,)
            In nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return torch.from_numpy(np.asarray(self._flow.log_prob(as_floats("x", x, self.n_dim))))

    def sample(self, size: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw from the density, by PyTorch's random state.

        Parameters
        ----------
        size : int, default 1

        Returns
        -------
        x : torch.Tensor, shape (size, D)
        log_prob : torch.Tensor, shape (size,)
            In nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
        """
        return _as_tensors(self._flow.sample_and_log_prob(size, draw_seed()))


def _as_tensors(arrays: tuple[Any, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = arrays
    return torch.from_numpy(np.asarray(first)), torch.from_numpy(np.asarray(second))
