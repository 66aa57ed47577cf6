"""nessai's importance nested sampler, whose meta-proposal is an average of `FlowDensity`s: one for each level."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
from nessai.flowsampler import FlowSampler
from nessai.proposal.base import Proposal
from nessai.proposal.importance import ImportanceFlowProposal

from nvpflow._typing import AnyPath, ArrayLike
from nvpflow._validation.arguments import check_int, shown
from nvpflow._validation.arrays import as_array
from nvpflow.density import FlowDensity
from nvpflow.integrations._density_file import read_density

__all__ = ["NessaiImportanceModel", "NessaiImportanceProposal", "NessaiImportanceSampler"]  # the last is public

Array = np.ndarray[Any, np.dtype[np.float64]]
OPTIONS = ("training_config", "reparameterisation", "weighted_kl", "reset_flow", "clip", "plot_training")


def check_config(flow_config: dict[str, Any] | None) -> dict[str, Any]:
    """The parameters of `FlowDensity` in a configuration of nessai's. An error if there are others."""
    if not isinstance(flow_config, dict | None):
        raise TypeError(f"flow_config must be a dict of parameters of FlowDensity, got {shown(flow_config)}")
    parameters = {name: value for name, value in (flow_config or {}).items() if name != "n_inputs"}
    FlowDensity(**parameters)
    return parameters


class Level:
    """The density of one level. nessai asks whether it is being trained."""

    training = False

    def __init__(self, density: FlowDensity) -> None:
        self.density = density


class NessaiImportanceModel:
    """What an importance proposal of nessai asks of its flows, from `FlowDensity`s.

    Parameters
    ----------
    flow_config : dict
        "n_inputs", the number of dimensions, which nessai sets, and parameters of `FlowDensity`.
    training_config : dict, optional
        The options of nessai's own flows, which have no effect.
    output : path-like, optional
        A folder for fitted models, "model.npz". None: the present one.
    rng : numpy.random.Generator, optional
        For samples and, without a `random_state`, for seeds of the fits.

    Attributes
    ----------
    densities : list of FlowDensity
        One for each level, oldest first.
    weights_files : list of str
        Their files.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.
    """

    def __init__(
        self,
        flow_config: dict[str, Any],
        training_config: dict[str, Any] | None = None,
        output: AnyPath | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._configure(flow_config)
        self.training_config = dict(training_config or {})
        self.output = os.fsdecode(output or os.getcwd())
        self.rng = np.random.default_rng() if rng is None else rng
        self.models: list[Level] = []
        self.weights_files: list[str] = []
        self._n_levels = 0  # of a pickled model

    def _configure(self, flow_config: dict[str, Any]) -> None:
        self._parameters = check_config(flow_config)
        self._dim = check_int("flow_config['n_inputs']", flow_config.get("n_inputs"), 1)
        self.flow_config = dict(flow_config)

    @property
    def densities(self) -> list[FlowDensity]:
        """The density of each level."""
        return [level.density for level in self.models]

    @property
    def n_models(self) -> int:
        """Number of levels."""
        return len(self.models)

    def initialise(self) -> None:
        """nessai calls it before the first level. There is nothing to do."""

    def add_new_flow(self, reset: bool = False) -> None:
        """Add a level: a new density, or without `reset` one whose fit starts from that of the last level."""
        if reset or not self.models:
            density = FlowDensity(**self._parameters)
        else:
            density = copy.deepcopy(self.densities[-1]).set_params(warm_start=True)
        self.models.append(Level(density))

    def train(self, samples: ArrayLike, weights: ArrayLike | None = None, **options: Any) -> None:
        """Fit the density of the last level, and save it.

        Parameters
        ----------
        samples : array_like, shape (n, D)
        weights : array_like, shape (n,), optional
        **options
            "output", a folder. Others are those of nessai's own flows, and have no effect.

        Raises
        ------
        TypeError, ValueError
            If samples cannot be fitted.
        """
        density, rows = self.densities[-1], as_array("samples", samples)
        if rows.ndim != 2 or rows.shape[1] != self._dim:
            raise ValueError(f"samples must have shape (n, {self._dim}), got {rows.shape}")
        if self._parameters.get("random_state") is None:
            density.set_params(random_state=int(self.rng.integers(2**31)))
        density.fit(rows, sample_weight=weights)
        self.save_weights(os.path.join(options.get("output") or self.output, "model.npz"))

    def log_prob_ith(self, x: ArrayLike, i: int) -> Array:
        """Log-densities (n,) of level i, in nats."""
        return np.asarray(self.densities[i].score_samples(x), np.float64)

    def log_prob_all(self, x: ArrayLike) -> Array:
        """Log-densities (n, n_models), in nats."""
        return np.stack([self.log_prob_ith(x, i) for i in range(self.n_models)], axis=1)

    def sample_ith(self, i: int, N: int = 1) -> Array:
        """Samples (N, D) of level i."""
        return np.asarray(self.densities[i].sample(int(N), random_state=int(self.rng.integers(2**31))), np.float64)

    def sample_and_log_prob(self, N: int = 1) -> tuple[Array, Array]:
        """Samples (N, D) of the last level, and their log-densities (N,), in nats."""
        x = self.sample_ith(-1, N)
        return x, self.log_prob_ith(x, -1)

    def save_weights(self, weights_file: str) -> None:
        """Write the density of the last level to a file."""
        os.makedirs(os.path.dirname(weights_file) or ".", exist_ok=True)
        self.densities[-1].save(weights_file)
        self.weights_files.append(weights_file)

    def resume(self, flow_config: dict[str, Any], weights_path: AnyPath | None = None) -> None:
        """Read the density of each level from its file, in the folders of `weights_path` or of `output`."""
        self._configure(flow_config)
        folder = Path(self.output if weights_path is None else os.fsdecode(weights_path))
        files = [str(folder / f"level_{i}" / "model.npz") for i in range(self._n_levels)]
        self.models = [Level(read_density(file, self._dim)) for file in files]
        self.weights_files = files

    def __getstate__(self) -> dict[str, Any]:
        """Without the densities, which are in files."""
        return {**self.__dict__, "models": [], "_n_levels": self.n_models}


class NessaiImportanceProposal(ImportanceFlowProposal):
    """An `ImportanceFlowProposal` of nessai with `FlowDensity`s. `NessaiImportanceSampler` puts it into the sampler.

    Its parameters are those of nessai's class, where `flow_config` has parameters of `FlowDensity`.
    """

    @property
    def flow_config(self) -> dict[str, Any]:
        """Parameters of `FlowDensity`, and "n_inputs", the number of dimensions."""
        return self._flow_config

    @flow_config.setter
    def flow_config(self, config: dict[str, Any] | None) -> None:
        self._flow_config = {**(config or {}), "n_inputs": self.model.dims}

    def initialise(self) -> None:
        """Check the maps between the unit cube and the space of the flows, and begin without a level."""
        self._check_fields()
        if not self.initialised:
            self.verify_rescaling()
            self.flow = NessaiImportanceModel(self.flow_config, self.training_config, self.output, self.rng)
            Proposal.initialise(self)


class NessaiImportanceSampler(FlowSampler):
    """A `FlowSampler` of nessai for importance nested sampling, with a `FlowDensity` for each level.

    Parameters
    ----------
    model : nessai.model.Model
    **options
        Of nessai's `FlowSampler` and `ImportanceNestedSampler`. `flow_config` has parameters of `FlowDensity`;
        `training_config` has no effect. With ``reset_flow=False`` each level starts from the last one.

    Raises
    ------
    TypeError, ValueError
        If an option is invalid.

    Notes
    -----
    nessai's sampler names the class of its proposal in its code, so this class replaces the proposal before the run. Files to
    resume from are those of nessai, with the densities beside them.

    References
    ----------
    Williams, Veitch and Messenger (2023), "Importance nested sampling with normalising flows".

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from nessai.model import Model
    >>> from nvpflow.integrations.nessai import NessaiImportanceSampler
    >>> class Normal(Model):
    ...     names, bounds = ["a", "b"], {"a": [-10, 10], "b": [-10, 10]}
    ...     def log_prior(self, x):
    ...         return np.log(self.in_bounds(x), dtype=float) - 2 * np.log(20)
    ...     def log_likelihood(self, x):
    ...         return -0.5 * (x["a"] ** 2 + x["b"] ** 2)
    ...     def from_unit_hypercube(self, x):
    ...         found = x.copy()
    ...         found["a"], found["b"] = 20 * x["a"] - 10, 20 * x["b"] - 10
    ...         return found
    >>> sampler = NessaiImportanceSampler(
    ...     Normal(), output=tempfile.mkdtemp(), flow_config={"max_iter": 10}, nlive=600, seed=0, plot=False, resume=False
    ... )
    >>> sampler.run(plot=False, save=False)
    >>> bool(abs(sampler.ns.log_evidence - np.log(2 * np.pi / 400)) < 0.1)
    True
    """

    def __init__(self, model: Any, **options: Any) -> None:
        if not options.setdefault("importance_nested_sampler", True):
            raise ValueError("importance_nested_sampler must be True: for nested sampling, use nessai's FlowSampler")
        check_config(options.get("flow_config"))
        super().__init__(model, **options)
        own = self.ns.proposal
        if not isinstance(own, NessaiImportanceProposal):  # as it is in a resumed sampler
            chosen = {name: getattr(own, name) for name in OPTIONS}
            self.ns.proposal = NessaiImportanceProposal(
                own.model, own.output, self.ns.rng, options.get("flow_config"), **chosen
            )
