"""ArviZ: samples as an InferenceData, or in ArviZ 1 a DataTree, with its names of groups and dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nvpflow._typing import ArrayLike, Seed
from nvpflow._validation.arguments import check_choice, check_int, draw_seeds, shown
from nvpflow.integrations._missing import not_installed
from nvpflow.monte_carlo._chains import Chains

try:
    import arviz
except ModuleNotFoundError as error:
    raise not_installed("arviz", error) from None

__all__ = ["to_arviz"]

GROUPS = "posterior", "prior"
Column = npt.NDArray[Any]


def to_arviz(
    source: Any,
    *,
    n_samples: int = 1000,
    n_chains: int = 4,
    context: ArrayLike | None = None,
    group: str = "posterior",
    random_state: Seed = None,
) -> Any:
    """Convert samples to an InferenceData.

    Parameters
    ----------
    source : MetropolisResult, ImportanceResult, FlowDensity, RealNVP, Flow or FlowEnsemble
        Chains become those of the InferenceData. Weighted samples are resampled to one chain of `ess` samples with equal
        weights. From a model, samples are drawn.
    n_samples, n_chains : int, default 1000 and 4
        Of a model: samples in each chain, and chains, which are independent draws.
    context : array_like, shape (C,) or (1, C), optional
        Of a conditional model.
    group : {"posterior", "prior"}
        What the samples are, and the name of their group.
    random_state : int, Generator, RandomState or None
        Of draws and resampling.

    Returns
    -------
    arviz.InferenceData, or xarray.DataTree with ArviZ 1 and newer
        Each column is a variable with the dimensions (chain, draw), under its name in the data, or else x0, x1, ... A second
        group, "sample_stats" or "sample_stats_prior", has "lp", log-densities in nats: of the target, or of the model; and
        of chains "accepted". The attributes of the first group have the figures of the result, such as "pareto_k".

    Raises
    ------
    NotFittedError, TypeError, ValueError
        If an argument is invalid.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> from nvpflow.integrations.arviz import to_arviz
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> model = nvpflow.FlowDensity(max_iter=20, random_state=0).fit(X)
    >>> data = to_arviz(model, n_samples=200, n_chains=2, random_state=0)
    >>> data["posterior"]["x1"].sizes["draw"]
    200
    """
    group = check_choice("group", group, GROUPS)
    if hasattr(source, "_chains"):  # a result of nvpflow.monte_carlo
        return _converted(group, source._chains(random_state))
    return _converted(group, _drawn(source, n_samples, n_chains, context, random_state))


def _drawn(model: Any, n_samples: int, n_chains: int, context: ArrayLike | None, random_state: Seed) -> Chains:
    """Draws of a model, and their log-densities."""
    if not callable(getattr(model, "sample_and_log_prob", None)):
        raise TypeError(f"source must be a result of nvpflow.monte_carlo or a fitted model, got {shown(model)}")
    shape = check_int("n_chains", n_chains, 1), check_int("n_samples", n_samples, 1)
    (seed,) = draw_seeds(random_state, 1)
    x, log_prob = model.sample_and_log_prob(shape[0] * shape[1], seed, context=context)
    table = np.asarray(x)
    names = map(str, getattr(model, "feature_names_in_", [f"x{i}" for i in range(table.shape[1])]))
    columns = {name: _plain(column).reshape(shape) for name, column in zip(names, table.T)}
    return Chains(columns, {"lp": np.asarray(log_prob).reshape(shape)}, {})


def _plain(column: Column) -> Column:
    """A column of numbers as it is. Objects of a table with categories become numbers or texts."""
    if column.dtype != object:
        return column
    try:
        return column.astype(np.float64)
    except (TypeError, ValueError):
        return column.astype(str)


def _converted(group: str, chains: Chains) -> Any:
    """What ArviZ makes of chains. Its version 1 takes groups as a dictionary, older ones as arguments."""
    groups = {group: chains.columns, "sample_stats" if group == "posterior" else "sample_stats_prior": chains.statistics}
    is_old = arviz.__version__.startswith("0.")
    data = arviz.from_dict(**groups) if is_old else arviz.from_dict(groups)
    data[group].attrs.update(chains.attributes, inference_library="nvpflow")
    return data
