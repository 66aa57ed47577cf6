"""The warm start: the fitted flow, in its own units or in those of the new samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from nvpflow._training.build import COUPLINGS, count_couplings, coupling_options
from nvpflow._training.conditional_stacking import fit_conditional_mixture
from nvpflow._training.context import ContextScaler, read_standardized
from nvpflow._training.dataset import Data
from nvpflow._training.heavy_tails import STUDENT_T, heavy_tailed_units
from nvpflow._training.mixture_search import COMPONENTS, fit_mixture
from nvpflow._training.standardize import Units
from nvpflow._training.statistics import effective_size
from nvpflow._typing import Floats
from nvpflow.bases import Base, FittedBase, fitted_base
from nvpflow.conditional_mixture_base import ConditionalMixtureBase
from nvpflow.flow import Flow
from nvpflow.layers import Layer
from nvpflow.layers._coupling import Coupling
from nvpflow.mixture_base import MixtureBase
from nvpflow.student_t_base import StudentTBase

if TYPE_CHECKING:
    from nvpflow._training.settings import Settings
    from nvpflow.density import FlowDensity

__all__ = ["are_identity", "find_warm_start"]

MOST_CHANGES = 3  # in a message
MOST_SEARCHES = 2  # for the mixture


@dataclass
class _Candidate:
    """A flow of standardised samples and context, and their units."""

    units: Units
    flow: Flow
    mixture: MixtureBase | None  # the base if the layers are the identity, else None
    n_new: int  # number of parameters that come from the new samples

    def log_likelihood(self, data: Data) -> float:
        """Mean log-density of the data, in nats. Minus infinity if it is not finite."""
        with np.errstate(all="ignore"):
            z = self.units.standardize(data.x, data.context)
            if not np.isfinite(z).all():
                return -np.inf
            value = -self.flow.nll(z, data.context, data.weight) - self.units.log_det
            value -= float(np.average(self.units.log_slopes(data.x), weights=data.weight))
        return value if np.isfinite(value) else -np.inf


def find_warm_start(
    model: FlowDensity,
    settings: Settings,
    training: Data,
    scaler: ContextScaler,
    seed: int,
    blocks: tuple[int, ...] = (),
) -> tuple[Units, Flow, MixtureBase | None]:
    """Take the flow of the last fit, without the layers of the units, and choose units: the old or new ones.

    With the old units the flow keeps its function. With the units of the new samples, which may have moved, it keeps its
    shape; if its layers are the identity, its mixture is fitted to these samples. The higher likelihood of the new samples
    decides, less the gain by chance of the parameters that come from them: Akaike (1974), "A new look at the statistical
    model identification".

    Parameters
    ----------
    model : FlowDensity
        Fitted, with one flow.
    settings : Settings
        Its present parameters.
    training : Data
        The new samples, with their context standardised by `scaler`.
    scaler : ContextScaler
    seed : int
    blocks : tuple of int
        The sizes of the blocks of indicators in the context.

    Returns
    -------
    units : Units
    flow : Flow
        Of standardised samples and context.
    mixture : MixtureBase or None
        The base of the flow if its layers are the identity, else None.
    """
    fitted, origin = _without_supports(model)
    n_layers = count_couplings(fitted)
    _check_unchanged(_fitted_shape(fitted, n_layers), _expected_shape(settings, training, fitted.base, n_layers))
    whole = fitted.copy()
    read_standardized(whole, scaler.mean - getattr(model, "context_origin_", 0.0), scaler.scale)
    conditional = training.context is not None
    units = Units.from_layers(whole.layers[n_layers:], settings.standardize, conditional, settings.dtype, origin)
    if units is None:
        raise ValueError("warm_start needs a flow as fit makes it, got another flow_")
    kept = _candidate(settings, units, whole.layers[:n_layers], fitted_base(whole.base), 0)
    if not settings.standardize:
        return kept.units, kept.flow, kept.mixture
    moved = _moved(model, settings, kept, training, seed, blocks)
    if kept.mixture and kept.mixture.n_components > COMPONENTS[-1] and training.context is None:
        return moved.units, moved.flow, moved.mixture  # an average of mixtures: too slow below layers, and fitted anew anyway
    gain = moved.log_likelihood(training) - kept.log_likelihood(training)  # NaN if neither is finite
    best = moved if gain > moved.n_new / effective_size(training) else kept
    return best.units, best.flow, best.mixture


def _candidate(settings: Settings, units: Units, layers: Sequence[Layer], base: FittedBase | None, n_new: int) -> _Candidate:
    flow = Flow([layer.copy() for layer in layers], base and base.copy())
    flow.n_jobs = settings.n_jobs
    mixture = flow.base if isinstance(flow.base, MixtureBase) and are_identity(layers) else None
    return _Candidate(units, flow, mixture, n_new)


def _moved(
    model: FlowDensity, settings: Settings, kept: _Candidate, training: Data, seed: int, blocks: tuple[int, ...]
) -> _Candidate:
    """The candidate in the units of the new samples."""
    margins = kept.units.margins
    if margins is not None:
        margins = margins.fit_again(training)
    whitens = kept.units.factor is not None and not isinstance(kept.flow.base, StudentTBase)
    peaks = model._known_categories() is not None and isinstance(kept.flow.base, MixtureBase)
    units = Units.of(training, True, whitens, kept.units.dtype, 0, margins, peaks)
    layers, base = kept.flow.layers, fitted_base(kept.flow.base)
    if isinstance(base, StudentTBase):
        heavy_tailed_units(units, training, rotate=kept.units.factor is not None)
    n_new = units.n_parameters + (0 if margins is None else margins.n_parameters)
    if hasattr(model, "_context_units"):  # models from old files have none
        mean, scale = model._context_units
        whole = cast(Flow, model.flow_).copy()
        read_standardized(whole, mean - model.context_origin_, scale)
        layers, base = whole.layers[: len(layers)], fitted_base(whole.base)
        n_new += 2 * len(mean)
    if kept.mixture:
        base = _fitted_again(kept.mixture, training._replace(x=units.standardize(training.x, training.context)), seed, blocks)
        n_new += base.n_parameters
    return _candidate(settings, units, layers, base, n_new)


def _fitted_again(mixture: MixtureBase, data: Data, seed: int, blocks: tuple[int, ...]) -> MixtureBase:
    """A mixture like this one, fitted to the data, standardised and with their context."""
    if isinstance(mixture, ConditionalMixtureBase):
        return fit_conditional_mixture(data, blocks, seed)
    return fit_mixture(data.x, data.weight, seed, MOST_SEARCHES)


def _without_supports(model: FlowDensity) -> tuple[Flow, Floats | float]:
    """The flow and the origin of a fitted model as training sees them: without the supports of columns."""
    flow, supports, origin = cast(Flow, model.flow_), model._known_supports(), getattr(model, "origin_", 0.0)
    return (flow, origin) if supports is None else (supports.inner(flow), supports.origin_within(origin))


def are_identity(layers: Sequence[Layer]) -> bool:
    return all(
        not last.weight.any() and not last.bias.any()
        for layer in layers
        if isinstance(layer, Coupling)
        for *_, last in layer._networks()
    )


def _check_unchanged(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Raise a ValueError that names the changes since the flow was fitted, if there are any."""
    changed = [f"{name} {before[name]!s:.40} -> {after[name]!s:.40}" for name in before if before[name] != after[name]]
    if changed:
        shown = ", ".join(changed[:MOST_CHANGES]) + ", ..." * (len(changed) > MOST_CHANGES)
        raise ValueError(f"warm_start needs what shapes the flow to be as in the fit before, got {shown}")


def _expected_shape(settings: Settings, data: Data, base: Base | None, n_layers: int) -> dict[str, Any]:
    """The shape that `fit` expects of a flow for the data over the base, under names of the estimator's parameters.

    A default number of layers depends on the number of samples, which may change: one of `n_layers` is then expected.
    """
    context_dim = 0 if data.context is None else data.context.shape[1]
    has_mixture = isinstance(base, MixtureBase)
    over_mixture = has_mixture and not context_dim
    options = coupling_options(settings, over_mixture)
    return {
        "features": data.x.shape[1],
        "columns of context": context_dim,
        "dtype": settings.dtype.name,
        "base": settings.base if settings.base != "auto" else "mixture" if has_mixture else "normal",
        "standardize": settings.standardize,
        "n_layers": settings.n_layers or n_layers,
        "hidden_dim": _widths(settings.hidden_dim),
        "activation": settings.activation,
        "coupling": settings.coupling,
        "scale_bound": options.get("scale_bound"),
        "n_bins": options.get("n_bins"),
        "tail_bound": options.get("tail_bound"),
    }


def _widths(hidden_dim: Sequence[int]) -> int | list[int]:
    return hidden_dim[0] if len(hidden_dim) == 1 else list(hidden_dim)


def _fitted_shape(flow: Flow, n_layers: int) -> dict[str, Any]:
    """The shape of a fitted flow, under the same names."""
    config = flow.layers[0].config()
    return {
        "features": flow.data_dim,
        "columns of context": flow.context_dim,
        "dtype": str(flow.dtype),
        "base": STUDENT_T if isinstance(flow.base, StudentTBase) else "mixture" if flow.base else "normal",
        "standardize": len(flow.layers) > n_layers,
        "n_layers": n_layers,
        "hidden_dim": _widths(config["hidden_dim"]),
        "activation": config["activation"],
        "coupling": next((name for name, kind in COUPLINGS.items() if isinstance(flow.layers[0], kind)), config["type"]),
        "scale_bound": config["scale_bound"] if config.get("scale") == "tanh" else None,
        "n_bins": config.get("n_bins"),
        "tail_bound": config.get("tail_bound"),
    }
