"""Defaults that depend on the base density, and the base itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nvpflow._training.statistics import holds_values
from nvpflow._validation.arguments import check_choice

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
    from nvpflow.density import FlowDensity
    from nvpflow.mixture_base import MixtureBase

__all__ = ["DEFAULTS", "base_of", "option"]

# Over a mixture the layers mend details: coarser bins cannot make the edges of a checkerboard (gap 0.15 instead of 0.05), and
# small steps keep near a good model (5e-3 was 0.7 nats worse on breast cancer, 0.01 better on a checkerboard). Over N(0, I)
# they carry whole clusters, and with a context what no mixture of all samples can tell: a tail bound of 3 doubled the gap on
# moons, 8 a larger one on circles, 6 or 8 bins overfitted moons, a rate of 2e-3 needed twice the steps, and 1e-2 had worse
# bad cases.
DEFAULTS = {
    "mixture": {"n_bins": 6, "tail_bound": 3.0, "learning_rate": 1e-3},
    "normal": {"n_bins": 4, "tail_bound": 5.0, "learning_rate": 5e-3},
}


def base_of(model: FlowDensity, watched: bool, data: Data) -> str:
    """The base density of the flow: "normal" or "mixture". `watched`: held-out samples tell whether layers improve it.

    Given a context, samples of few values have other shares of them for each context. A mixture of all holds each value by
    itself, and leaves layers, which are smooth, nothing to move.
    """
    base = check_choice("base", model.base, ("auto", "normal", "mixture"))
    if base != "auto":
        return base
    return "mixture" if watched and (data.context is None or not holds_values(data.x)) else "normal"


def option(model: FlowDensity, name: str, base: MixtureBase | None, context_dim: int = 0) -> Any:
    """A parameter of the model, or its default for a flow over such a base, a MixtureBase or None."""
    value = getattr(model, name)
    return DEFAULTS["mixture" if base and not context_dim else "normal"][name] if value is None else value
