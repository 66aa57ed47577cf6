"""Build the flow that an estimator trains, and the one that it keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._training.defaults import layers_of, option
from nvpflow._validation.arguments import alternating_mask
from nvpflow.bases import FittedBase
from nvpflow.flow import Flow
from nvpflow.layers import ActNorm, AdditiveCoupling, AffineCoupling, Layer, SplineCoupling
from nvpflow.layers._coupling import Coupling
from nvpflow.mixture_base import MixtureBase

if TYPE_CHECKING:
    from nvpflow._training.context import ContextScaler
    from nvpflow._training.dataset import Data
    from nvpflow._training.settings import Settings
    from nvpflow._training.standardize import Units
    from nvpflow.supports._fitted import Supports

__all__ = ["COUPLINGS", "count_couplings", "coupling_options", "new_flow", "reads", "whole_flow"]

COUPLINGS: dict[str, type[Coupling]] = {"spline": SplineCoupling, "affine": AffineCoupling, "additive": AdditiveCoupling}
# On standardised samples, affine layers without a bound start as near the identity as the others. With the published last
# maps, 12 layers in ten dimensions had an initial NLL of NaN or infinity for 7 of 10 seeds, and 16 layers for all.
LAST_MAP = 0.3


def coupling_options(settings: Settings, over_mixture: bool) -> dict[str, Any]:
    """The options that only coupling layers of this kind have. `over_mixture`: as for `option`."""
    if settings.coupling == "additive":
        return {}
    if settings.coupling == "spline":
        return {name: option(settings, name, over_mixture) for name in ("n_bins", "tail_bound")}
    if settings.scale_bound is None:
        return {"scale": "exp"}
    return {"scale": "tanh", "scale_bound": settings.scale_bound}


def new_flow(settings: Settings, data: Data, seed: int, base: FittedBase | None = None, n_samples: float = np.inf) -> Flow:
    """Create a flow with initial parameters for these samples and their context, both standardised.

    `n_samples`: how many it is trained on, which may be more than these.
    """
    dim, context_dim = data.x.shape[1], 0 if data.context is None else data.context.shape[1]
    over_mixture = isinstance(base, MixtureBase) and not context_dim
    kind: Callable[..., Coupling] = COUPLINGS[settings.coupling]
    options = coupling_options(settings, over_mixture) | {
        "activation": settings.activation,
        "context_dim": context_dim,
        "dtype": settings.dtype,
    }
    layers: list[Coupling] = []
    for i in range(layers_of(settings, over_mixture, n_samples, dim)):
        # In one dimension there is no identity part: every layer transforms the only column.
        mask = [0] if dim == 1 else alternating_mask(dim, i)
        start: Any = np.random.SeedSequence([seed, i])
        layers.append(kind(dim, settings.hidden_dim, mask, random_state=start, **options))
    _scale_last_maps(layers, settings, base)
    flow = Flow(layers, base)
    flow.n_jobs = settings.n_jobs
    return flow


def count_couplings(flow: Flow) -> int:
    """Count the coupling layers of a fitted flow: those before the layers of the units."""
    types = [isinstance(layer, tuple(COUPLINGS.values())) for layer in flow.layers]
    n = types.index(False) if False in types else len(types)
    # The regression on the context, before the scale, is also an additive coupling.
    has_scale = n < len(types) and isinstance(flow.layers[n], ActNorm)
    return n - 1 if flow.context_dim and has_scale and isinstance(flow.layers[n - 1], AdditiveCoupling) else n


def _scale_last_maps(layers: Sequence[Coupling], settings: Settings, base: FittedBase | None) -> None:
    """Scale the last maps. Over a fitted base, which is a good model already, the layers start at the identity."""
    unbounded = settings.coupling == "affine" and settings.scale_bound is None
    factor = 0 if base is not None else LAST_MAP if unbounded and settings.standardize else 1
    for layer in layers:
        for *_, last in layer._networks():
            for part in last:
                part *= factor


def whole_flow(
    settings: Settings,
    layers: Sequence[Layer],
    base: FittedBase | None,
    units: Units,
    scaler: ContextScaler,
    supports: Supports | None = None,
) -> Flow:
    """Create the flow for samples and context in their own units, less their origins, from layers for standardised data."""
    bounded = [] if supports is None else [supports.layer(settings.dtype)]
    whole = Flow([*(layer.copy() for layer in layers), *units.layers(), *bounded], base and base.copy())
    scaler.to_own_units(whole)
    whole.n_jobs = settings.n_jobs
    return whole


def reads(fitted: dict[str, Any], data: Data, marks: bool = True) -> Data:
    """Convert Data to the inputs of the flow among the fitted attributes. `marks`: unless supports have spread the samples."""
    flow, context = fitted["flow_"], data.context
    if context is not None:
        context = (np.clip(context, *fitted["context_range_"]) - fitted["context_origin_"]).astype(flow.dtype)
    supports: Supports | None = fitted.get("_supports")
    x = supports.marked(data.x) if marks and supports is not None else data.x
    return data._replace(x=(x - fitted["origin_"]).astype(flow.dtype), context=context)
