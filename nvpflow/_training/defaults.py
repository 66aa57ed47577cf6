"""The choice of the base density, and the defaults that depend on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nvpflow._training.statistics import holds_values

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
    from nvpflow._training.settings import Settings

__all__ = ["base_of", "layers_of", "option"]

# Over a mixture the layers correct details. Eight of them are as good as twelve: -0.006 to 0.012 nats on half of the
# densities and tables, with 1000, 10,000 and 100,000 samples. Six lost 0.05 on a checkerboard. Coarser bins cannot model its
# edges (a gap of 0.15 instead of 0.05), and small steps stay near a good model (5e-3 was 0.7 nats worse on breast cancer,
# 0.01 better on a checkerboard). Over N(0, I) the layers move whole clusters, and with a context they model what a mixture of
# all samples cannot. There, 6 and 8 layers were worse on moons, spirals and circles, a tail bound of 3 doubled the gap on
# moons, and 8 doubled a larger one on circles; 6 or 8 bins overfitted moons; a rate of 2e-3 needed twice the steps, and 1e-2
# had worse bad cases.
DEFAULTS: dict[str, dict[str, Any]] = {
    "mixture": {"n_layers": 8, "n_bins": 6, "tail_bound": 3.0, "learning_rate": 1e-3},
    "normal": {"n_layers": 12, "n_bins": 4, "tail_bound": 5.0, "learning_rate": 5e-3},
}
# Few samples of few columns do not tell the details that more layers would correct: four changed held-out log-densities by
# -0.0003 nats in the mean on 256 of them (gamma and Laplace copulas and bent normal distributions in two to eight columns, 400
# and 900 samples), and by at most 0.003 on nine other densities with 1000. With 2000 they lost 0.02 on a staircase, in twenty
# columns 0.06 on bent normal distributions.
FEW_SAMPLES, FEW_COLUMNS, FEW_LAYERS = 1500, 4, 4


def base_of(settings: Settings, data: Data, validated: bool, of_table: bool = False) -> str:
    """Choose the base density: "normal", "mixture" or "student_t". `validated`: samples are held back, to judge the layers.

    If many samples share a value, a mixture of all samples gives this value a component of its own. The share of the value
    may depend on the context, but smooth layers cannot move probability between such components. So with a context and such
    values the base is normal, unless `spread_given_context` spreads them. Beside categories of the table (`of_table`) it is a
    mixture: averages of mixtures whose shares depend on the categories compete with the layers.
    """
    if settings.base != "auto":
        return settings.base
    has_mixture = data.context is None or of_table or not holds_values(data.x)
    return "mixture" if validated and has_mixture else "normal"


def layers_of(settings: Settings, over_mixture: bool, n_samples: float, dim: int) -> int:
    """The number of coupling layers for so many samples (their effective number) of so many columns."""
    if settings.n_layers is None and over_mixture and n_samples < FEW_SAMPLES and dim <= FEW_COLUMNS:
        return FEW_LAYERS
    n_layers: int = option(settings, "n_layers", over_mixture)
    return n_layers


def option(settings: Settings, name: str, over_mixture: bool) -> Any:
    """A setting, or its default for the base if it is None. With a context the defaults are those over N(0, I)."""
    value = getattr(settings, name)
    return DEFAULTS["mixture" if over_mixture else "normal"][name] if value is None else value
