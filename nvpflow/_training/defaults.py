"""Defaults that depend on the base density, and the base itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nvpflow._training.statistics import holds_values

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
    from nvpflow._training.settings import Settings

__all__ = ["base_of", "option"]

# Over a mixture the layers correct details: coarser bins cannot make the edges of a checkerboard (gap 0.15 instead of 0.05),
# and small steps stay near a good model (5e-3 was 0.7 nats worse on breast cancer, 0.01 better on a checkerboard). Over
# N(0, I) they carry whole clusters, and with a context what no mixture of all samples can tell: a tail bound of 3 doubled the
# gap on moons, 8 a larger one on circles; 6 or 8 bins overfitted moons; a rate of 2e-3 needed twice the steps, and 1e-2 had
# worse bad cases.
DEFAULTS: dict[str, dict[str, Any]] = {
    "mixture": {"n_bins": 6, "tail_bound": 3.0, "learning_rate": 1e-3},
    "normal": {"n_bins": 4, "tail_bound": 5.0, "learning_rate": 5e-3},
}


def base_of(settings: Settings, data: Data, validated: bool) -> str:
    """The base density of the flow: "normal" or "mixture". `validated`: held-out samples tell whether layers improve it.

    A context changes the shares of values that many samples have. A mixture of all samples gives each such value a component
    of its own, and layers, which are smooth, cannot move probability from one to another. So the base is then normal.
    """
    if settings.base != "auto":
        return settings.base
    return "mixture" if validated and (data.context is None or not holds_values(data.x)) else "normal"


def option(settings: Settings, name: str, over_mixture: bool) -> Any:
    """A setting, or its default for a flow over such a base. With a context the defaults are those over N(0, I)."""
    value = getattr(settings, name)
    return DEFAULTS["mixture" if over_mixture else "normal"][name] if value is None else value
