"""nessai: a proposal of its nested sampler, found as ``FlowSampler(..., flow_proposal_class="nvpflow")``, and its importance
nested sampler."""

from __future__ import annotations

import os
import shutil
from typing import Any, cast

import numpy as np

from nvpflow._typing import AnyPath, ArrayLike
from nvpflow._validation.arguments import check_int
from nvpflow.density import FlowDensity
from nvpflow.integrations._density_file import read_density
from nvpflow.integrations._missing import not_installed
from nvpflow.integrations._normal_flow import NormalFlow

try:
    import torch
    from nessai.proposal import FlowProposal
except ModuleNotFoundError as error:
    raise not_installed("nessai", error) from None

from nvpflow.integrations._nessai_importance import NessaiImportanceSampler

__all__ = ["NessaiImportanceSampler", "NessaiProposal"]

Array = np.ndarray[Any, np.dtype[np.float64]]


class NessaiFlowModel:
    """What a proposal of nessai asks of a flow, from a `FlowDensity` with normal latent points.

    Parameters
    ----------
    flow_config : dict
        "n_inputs", the number of dimensions, which nessai sets, and parameters of `FlowDensity`, other than `latent` and
        `n_models`.
    training_config : dict, optional
        The options of nessai's own flows, which have no effect.
    output : path-like, optional
        A folder for the fitted model, "model.npz". None: the present one.
    rng : numpy.random.Generator, optional
        For latent points and, without a `random_state`, for seeds of the fits.

    Attributes
    ----------
    density : FlowDensity
    weights_file : str or None
        The last file.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.
    """

    device = "cpu"

    def __init__(
        self,
        flow_config: dict[str, Any],
        training_config: dict[str, Any] | None = None,
        output: AnyPath | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._parameters = dict(flow_config)
        self._dim = check_int("flow_config['n_inputs']", self._parameters.pop("n_inputs", None), 1)
        self.flow_config, self.training_config = dict(flow_config), dict(training_config or {})
        self.output, self.weights_file = os.fsdecode(output or os.getcwd()), cast("str | None", None)
        self.rng = np.random.default_rng() if rng is None else rng
        self.initialise()

    def initialise(self) -> None:
        """Forget what was fitted."""
        self._flow = NormalFlow(self._dim, self._parameters)

    @property
    def density(self) -> FlowDensity:
        """FlowDensity: the density of rescaled live points."""
        return self._flow.model

    @property
    def model(self) -> NessaiFlowModel:
        """NessaiFlowModel: itself. nessai's plots ask the model within for `base_distribution_log_prob`."""
        return self

    def train(self, samples: ArrayLike, weights: ArrayLike | None = None, **options: Any) -> dict[str, list[float]]:
        """Fit the density, and save it in the folder.

        Parameters
        ----------
        samples : array_like, shape (n, D)
        weights : array_like, shape (n,), optional
        **options
            "output", a folder. Others are those of nessai's own flows, and have no effect.

        Returns
        -------
        history : dict
            "loss" and "val_loss", lists of mean negative log-densities, in nats.

        Raises
        ------
        TypeError, ValueError
            If samples cannot be fitted. An earlier fit is unchanged then.
        """
        if self._parameters.get("random_state") is None:
            self.density.set_params(random_state=int(self.rng.integers(2**31)))
        self._flow.fit(samples, weights)
        self.save_weights(os.path.join(options.get("output") or self.output, "model.npz"))
        return self._flow.losses()

    def reset_model(self, weights: bool = True, permutations: bool = False) -> None:
        """Forget what was fitted, if `weights`, so that the next fit is a new one with `warm_start` too."""
        if weights:
            self.initialise()

    def save_weights(self, weights_file: str) -> None:
        """Write the fitted model to a file. An older file of the name gets the suffix ".old"."""
        if os.path.exists(weights_file):
            shutil.move(weights_file, weights_file + ".old")
        os.makedirs(os.path.dirname(weights_file) or ".", exist_ok=True)
        self.density.save(weights_file)
        self.weights_file = weights_file

    def load_weights(self, weights_file: str) -> None:
        """Read a fitted model from a file that `save_weights` wrote."""
        self._flow.model, self.weights_file = read_density(weights_file, self._dim), weights_file

    def reload_weights(self, weights_file: str | None = None) -> None:
        """`load_weights`; None: of the last file."""
        name = self.weights_file if weights_file is None else weights_file
        if name is None:
            raise ValueError("weights_file must be the name of a file, as none was saved yet, got None")
        self.load_weights(name)

    def forward_and_log_prob(self, x: ArrayLike) -> tuple[Array, Array]:
        """Latent points (n, D) of samples, and the log-densities (n,) of the samples, in nats."""
        z, log_det = self._flow.to_latent(x)
        return _double(z), _log_normal(_double(z)) + log_det

    def inverse(self, z: ArrayLike) -> tuple[Array, Array]:
        """Samples (n, D) of latent points, and log|det dx/dz| (n,)."""
        x, log_det = self._flow.to_data(z)
        return _double(x), _double(log_det)

    def log_prob(self, x: ArrayLike) -> Array:
        """Log-densities (n,), in nats."""
        return _double(self._flow.log_prob(x))

    def sample(self, n: int = 1) -> Array:
        """Samples (n, D)."""
        return self.sample_and_log_prob(n)[0]

    def sample_latent_distribution(self, n: int = 1) -> Array:
        """Latent points (n, D) of N(0, I)."""
        return self.rng.standard_normal((n, self._dim))

    def sample_and_log_prob(self, N: int = 1, z: ArrayLike | None = None, alt_dist: Any = None) -> tuple[Array, Array]:
        """Samples (n, D) and their log-densities (n,), in nats.

        Parameters
        ----------
        N : int, default 1
            Number of samples.
        z : array_like, shape (n, D), optional
            Their latent points instead.
        alt_dist : torch.distributions.Distribution, optional
            What the latent points were drawn from, if not from N(0, I).
        """
        points = self.sample_latent_distribution(N) if z is None else _double(self._flow.check("z", z))
        of_latent = _log_normal(points)
        if z is not None and alt_dist is not None:
            of_latent = _double(alt_dist.log_prob(torch.from_numpy(points).type(torch.get_default_dtype())))
        x, log_det = self.inverse(points)
        return x, of_latent - log_det

    def base_distribution_log_prob(self, z: torch.Tensor) -> torch.Tensor:
        """Log-densities (n,) of latent points (n, D), in nats."""
        return torch.from_numpy(_log_normal(_double(self._flow.check("z", z))))


class NessaiProposal(FlowProposal):
    """A `FlowProposal` of nessai with a `FlowDensity`: ``FlowSampler(..., flow_proposal_class="nvpflow", flow_config={...})``.

    Its parameters are those of nessai's class, where `flow_config` has parameters of `FlowDensity`.

    Notes
    -----
    nessai fits the flow to its live points again and again. Each time, held-out points choose the density as in
    `FlowDensity.fit`. With ``flow_config={"warm_start": True}`` a fit starts from the last one, unless nessai resets the flow.

    For importance nested sampling, see `NessaiImportanceSampler`.

    References
    ----------
    Williams, Veitch and Messenger (2021), "Nested sampling with normalizing flows for gravitational-wave inference".

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from nessai.flowsampler import FlowSampler
    >>> from nessai.model import Model
    >>> from nvpflow.integrations.nessai import NessaiProposal
    >>> class Normal(Model):
    ...     names, bounds = ["a", "b"], {"a": [-10, 10], "b": [-10, 10]}
    ...     def log_prior(self, x):
    ...         return np.log(self.in_bounds(x), dtype=float) - 2 * np.log(20)
    ...     def log_likelihood(self, x):
    ...         return -0.5 * (x["a"] ** 2 + x["b"] ** 2)
    >>> sampler = FlowSampler(
    ...     Normal(), output=tempfile.mkdtemp(), flow_proposal_class=NessaiProposal, flow_config={"max_iter": 10}, nlive=50,
    ...     seed=0, plot=False, proposal_plots=False, resume=False,
    ... )  # fmt: skip
    >>> sampler.run(plot=False, save=False)
    >>> bool(abs(sampler.ns.log_evidence - np.log(2 * np.pi / 400)) < 1)
    True
    """

    _FlowModelClass = NessaiFlowModel


def _double(values: Any) -> Array:
    return np.asarray(values, np.float64)


def _log_normal(z: Array) -> Array:
    """log N(z; 0, I), (n,)."""
    total: Array = -0.5 * (z**2 + np.log(2 * np.pi)).sum(axis=1)
    return total
