"""Margins: a monotone map of each column that makes it about normal, learnt from the samples.

Columns with hard bounds, skewness or heavy tails need many components, or layers that bend them, before anything can be said
of how they depend on each other. Here their own shape is taken out first: Chen and Gopinath (2000), "Gaussianization".
A map is a chain of two splines, each on the quantiles of what it sees, so that the second one resolves what is too fine for
the first. Columns with several modes have one spline, which follows a mixture. Columns of few values may have one in front of
these; see `lattice`. Maps have linear tails: every point of the real line keeps a density.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any, Self, TypeGuard

import numpy as np

from nvpflow._normal import normal_cdf, probit
from nvpflow._training.dataset import Data
from nvpflow._training.lattice import FEWEST_BINS, Lattices
from nvpflow._training.mixture_margin import MixtureMargin
from nvpflow._training.spline_knots import SMALLEST, Stage, outputs_of, spaced
from nvpflow._training.statistics import effective_size_of, location_and_scale
from nvpflow._typing import Bools, FloatDType, Floats, Ints
from nvpflow.layers import ActNorm, Layer, SplineCoupling

__all__ = ["AS_IT_IS", "BY_MIXTURE", "BY_QUANTILES", "Margins", "is_spline_of_margins"]

# Bins between the quantiles of the first and the second spline, up to this number of samples. On eight densities of one column
# more bins overfitted, and with fewer the edges of uniform and exponential columns were blurred.
BINS: tuple[tuple[float, tuple[int, int]], ...] = ((100, (5, 5)), (500, (8, 8)), (np.inf, (8, 12)))
MIXTURE_BINS = 16  # of the spline that follows a mixture
AS_IT_IS, BY_QUANTILES, BY_MIXTURE = range(3)  # the shapes that columns may have
# The bins beyond the smallest and the largest sample: their width, as a share of the range and in widths of the bin next to
# them, and the limits of their height in standard deviations. Such wide and low bins make shoulders: a point as far from the
# samples as these range has a log-density of -10 to -20 in uniform columns. With 0.1 and 6 as the first and the last number it
# was -590, and held-out samples were no likelier, but for 0.003 to 0.02 nats of uniform columns with up to 1000 samples.
BEYOND_OF_RANGE, BEYOND_OF_BIN, LOWEST_BEYOND, HIGHEST_BEYOND = 0.5, 2.0, 0.5, 2.0
# With 32, a table of loans (13 columns) had samples of 27 times the data's deviation, with 4 of 5 times. Of 67 tables whose
# columns have margins, four had samples of more than 1.3 times it with 4, one with 1.5, and held-out log-density was 0.004
# nats higher in the mean; of 30 others four and four, up to 3.8 and 2.1 times, and 0.002 nats higher.
WIDEST = 1.5
ENDS = (-4.0, 4.0)  # of the splines of columns that are only scaled, in standard deviations
STRAIGHT = 0.1  # outputs up to this, as more training makes them, are those of a column that is only scaled
SMOOTHING = (-0.25, -0.125, 0.0, 0.125, 0.25)  # where quantiles are averaged, in bins
END_GAPS, ROWS_PER_GAP = 3, 20  # gaps between the samples at an end whose mean tells how far the end is
TAIL_BOUND = 1.0


class Margins:
    """A chain of maps of the columns: an act norm and a spline, up to four times.

    Parameters
    ----------
    stages : list of (centre, half, raw)
        For each spline what is subtracted before it (D,), what is divided by (D,), and its outputs (D, 3 K - 1). That of
        lattices comes first, if there are any.
    dtype : numpy.dtype
        Of the flow.

    Attributes
    ----------
    scores : (float, float) or None
        Mean log-density of held-out samples by mixtures without and with these margins, in nats.
    lattices : Lattices or None
        Of the columns, which the first stage is made for.
    """

    scores: tuple[float, float] | None = None

    def __init__(self, stages: Sequence[Stage], dtype: FloatDType) -> None:
        self.stages, self.dtype = [(c, h, raw.astype(dtype).astype(np.float64)) for c, h, raw in stages], dtype
        has_lattices = bool(stages) and stages[0][2].shape[1] >= 3 * FEWEST_BINS - 1
        self.lattices = Lattices.from_stage(self.stages[0]) if has_lattices else None
        self._shapers = self.stages[has_lattices:]

    @classmethod
    def behind(cls, lattices: Lattices, margins: Margins | None, dtype: FloatDType) -> Self:
        """Margins of what the stage of lattices makes of the columns, and that stage. None: no other stages."""
        return cls([lattices.stage, *(margins.stages if margins is not None else [])], dtype)

    def fit_again(self, data: Data) -> Margins | None:
        """Margins like these of other data. None if there were only lattices, and these columns have none."""
        lattices = None if self.lattices is None else Lattices.of(data, self.lattices.columns, have_few=True)
        x, margins = data.x.astype(np.float64), None
        if lattices is not None:
            x = Margins([lattices.stage], self.dtype).places(x)
        if self._shapers:
            margins = Margins.fit(x, data.weight, self.shapes, self.dtype)
        return margins if lattices is None else Margins.behind(lattices, margins, self.dtype)

    @classmethod
    def fit(cls, x: Floats, weight: Floats | None, shapes: Ints, dtype: FloatDType) -> Self:
        """Fit maps of these shapes (D,) to columns of samples x (n, D) in float64. Those that stay as they are, are scaled."""
        n = effective_size_of(x, weight)
        chain = [(k, BY_QUANTILES) for k in next(bins for most, bins in BINS if n <= most)] + [(MIXTURE_BINS, BY_MIXTURE)]
        stages: list[Stage] = []
        for k, shape in [stage for stage in chain if (shapes == stage[1]).any()]:
            if stages:
                x = cls(stages[-1:], dtype).inverse(x)[0]
            location, scale, _ = location_and_scale(x, weight)
            scale = np.where(scale > 0, scale, 1)
            z = (x - location) / scale
            knots_of = _knots if shape == BY_QUANTILES else _knots_of_mixture
            knots = [knots_of(column, weight, n, k) if own == shape else None for column, own in zip(z.T, shapes)]
            low, high = np.array([ENDS if known is None else known[0][[0, -1]] for known in knots]).T
            outputs = np.array([np.zeros(3 * k + 5) if known is None else outputs_of(*known) for known in knots])
            stage = location + scale * (low + high) / 2, scale * (high - low) / 2, outputs
            stages.append(stage)
        return cls(stages, dtype)

    def inverse(self, x: Floats) -> tuple[Floats, Floats]:
        """Map samples x (n, D) to y (n, D), in float64. Also return log|det dy/dx| (n,)."""
        log_det, y = np.zeros(len(x)), x.astype(np.float64)
        for (centre, half, _), spline in zip(self.stages, self._splines):
            y, slope = spline.inverse((y - centre) / half)
            log_det = log_det + slope - np.log(half).sum()
        return y, log_det

    def spread(self, x: Floats, rng: np.random.Generator | None = None) -> Floats:
        """Samples (n, D) as training sees them: values of lattices at places of their bumps, in random order. Default: always
        in the same one."""
        if self.lattices is None:
            return x
        first = Margins(self.stages[:1], np.dtype(np.float64))
        spread = first.places(x, rng)
        for layer in first.layers(0.0):
            spread = layer.forward(spread)[0]
        return spread

    def places(self, x: Floats, rng: np.random.Generator | None = None) -> Floats:
        """What these make of samples (n, D) after `spread`, if there are no stages behind that of lattices."""
        assert self.lattices is not None
        places: Floats = self.inverse(x)[0] + self.lattices.offsets(x, rng or np.random.default_rng(0))
        return places

    def log_slopes(self, x: Floats) -> Floats:
        """log|det dy/dx| (n,) at samples x (n, D): after `spread`, but at the values of lattices themselves."""
        if self.lattices is None:
            return self.inverse(x)[1]
        spread, first = self.spread(x), Margins(self.stages[:1], self.dtype)
        log_slopes: Floats = self.inverse(spread)[1] - first.inverse(spread)[1] + first.inverse(x)[1]
        return log_slopes

    def layers(self, origin: Floats | float, context_dim: int = 0) -> list[Layer]:
        """The layers that map y to x - origin. Those of a flow with a context take it, too, and do not heed it."""
        layers: list[Layer] = []
        for i, (centre, half, raw) in reversed(list(enumerate(self.stages))):
            scale = ActNorm(len(centre), dtype=self.dtype)
            scale.log_scale[:], scale.bias[:] = np.log(half), centre - (origin if i == 0 else 0.0)
            layers += [_spline(raw, self.dtype, context_dim), scale]
        return layers

    @classmethod
    def from_layers(cls, layers: Sequence[Layer], origin: Floats | float, dtype: FloatDType) -> Self | None:
        """Undo `layers`, which are the last of these. None if there are none."""
        stages: list[Stage] = []
        for i in range(len(layers) - 2, -1, -2):
            spline, scale = layers[i : i + 2]
            if not is_spline_of_margins(spline) or not isinstance(scale, ActNorm):
                break
            first, last = spline.net
            centre = scale.bias.astype(np.float64) + (0.0 if stages else origin)
            outputs = last.bias + last.weight @ np.maximum(first.bias, 0)  # after more training the weights are not zero
            raw = outputs.reshape(len(centre), -1).astype(np.float64)
            stages.append((centre, np.exp(scale.log_scale.astype(np.float64)), raw))
        return cls(stages, dtype) if stages else None

    @cached_property
    def _splines(self) -> list[SplineCoupling]:
        return [_spline(raw, np.dtype(np.float64)) for *_, raw in self.stages]

    @property
    def name(self) -> str:
        """The name among the densities that competed."""
        if self.lattices is not None:
            return f"{self.lattices.columns.sum()} columns of few values spread"
        return f"margins of {self.columns.sum()} columns"

    @property
    def n_layers(self) -> int:
        """The number of layers."""
        return 2 * len(self.stages)

    @property
    def columns(self) -> Bools:
        """The columns (D,) that are not only scaled, but for their lattice."""
        return self.shapes > AS_IT_IS

    @property
    def shapes(self) -> Ints:
        """The shapes (D,) of the columns, behind their lattices."""
        shapes = np.full(len(self.stages[0][0]), AS_IT_IS)
        for *_, raw in self._shapers:
            shapes[_is_bent(raw)] = BY_MIXTURE if raw.shape[1] == 3 * (MIXTURE_BINS + 2) - 1 else BY_QUANTILES
        return shapes

    @property
    def widest(self) -> Floats:
        """The largest deviations (D,) of broad normals, in units in which the samples have a deviation of about 1.

        One unit along the tail of a map may be far in the units of the data, and a sample there is as rare as it is likely.
        """
        return np.where(self.columns, WIDEST, np.inf)

    @property
    def scales(self) -> Floats:
        """What the columns (D,) that are only scaled are divided by."""
        scales: Floats = np.prod([half for _, half, _ in self.stages], axis=0)
        return scales

    @property
    def n_parameters(self) -> int:
        """The number of parameters that come from the samples, but for those of lattices."""
        return sum(raw[_is_bent(raw)].size for *_, raw in self._shapers)


def _is_bent(raw: Floats) -> Bools:
    """The columns (D,) that a spline with these outputs (D, 3 K - 1) does not only scale."""
    bent: Bools = np.abs(raw).max(axis=1) > STRAIGHT
    return bent


def is_spline_of_margins(layer: Layer) -> TypeGuard[SplineCoupling]:
    """Whether a layer is one of `Margins`, and no coupling of a single column, which also transforms all that there is."""
    if not isinstance(layer, SplineCoupling) or layer.mask.any():
        return False
    return layer.tail_bound == TAIL_BOUND and len(layer.net[0].bias) == 1


def _knots(x: Floats, weight: Floats | None, n: float, k: int) -> tuple[Floats, Floats, Floats]:
    """Places of the knots (K + 3,), their values and derivatives: K bins between quantiles, and one beyond at each side.

    The values are evenly spaced standard normal quantiles.
    """
    order = np.argsort(x)
    sample, share = x[order], np.full(len(x), 1 / len(x)) if weight is None else weight[order] / weight.sum()
    rank = np.cumsum(share) - share / 2
    most = probit(np.array([1 - 0.5 / n]))[0]
    y = np.linspace(-most, most, k + 1)
    around = y[:, np.newaxis] + (y[1] - y[0]) * np.array(SMOOTHING)
    place = np.interp(normal_cdf(around), rank, sample).mean(axis=1)
    m = max(1, min(END_GAPS, len(x) // ROWS_PER_GAP))
    place[0], place[-1] = sample[0] - (sample[m] - sample[0]) / m / 2, sample[-1] + (sample[-1] - sample[-1 - m]) / m / 2

    def values(x: Floats) -> Floats:
        return probit(np.clip(np.interp(x, sample, rank), 0.5 / n, 1 - 0.5 / n))

    return _with_bins_beyond(place, y, values)


def _knots_of_mixture(x: Floats, weight: Floats | None, n: float, k: int) -> tuple[Floats, Floats, Floats]:
    """As `_knots`, of a map that follows a mixture."""
    margin = MixtureMargin(x, weight, probit(np.array([1 - 0.5 / n]))[0])
    place = margin.places(k)
    return _with_bins_beyond(place, margin.values(place), margin.values, margin.slopes)


def _with_bins_beyond(
    place: Floats, y: Floats, value: Callable[[Floats], Floats], slope: Callable[[Floats], Floats] | None = None
) -> tuple[Floats, Floats, Floats]:
    """Knots at these places, where the map has values y, and one beyond at each side; their values and derivatives.

    `value`, `slope`: of the map anywhere. Derivatives are geometric means of the slopes of the bins if it is not given.
    """
    beyond = BEYOND_OF_BIN * np.diff(place)[[0, -1]] + BEYOND_OF_RANGE * (place[-1] - place[0])
    x_knots = spaced(np.concatenate([[place[0] - beyond[0]], place, [place[-1] + beyond[1]]]))
    if np.abs(x_knots[1:-1] - place).max() > 1e-9 * (x_knots[-1] - x_knots[0]):
        y[1:-1] = np.maximum.accumulate(value(x_knots[2:-2]))
    steep = np.diff(y)[[0, -1]] / np.diff(x_knots)[[1, -2]] * beyond
    below, above = np.clip(steep, LOWEST_BEYOND, HIGHEST_BEYOND)
    values = spaced(np.concatenate([[y[0] - below], y, [y[-1] + above]]))
    slopes = np.diff(values) / np.diff(x_knots)
    whole = (values[-1] - values[0]) / (x_knots[-1] - x_knots[0])
    derivatives = np.sqrt(slopes[1:] * slopes[:-1])
    if slope is not None:
        derivatives[1:-1] = slope(x_knots[2:-2])
    return x_knots, values, np.maximum(derivatives, SMALLEST * whole)


def _spline(raw: Floats, dtype: FloatDType, context_dim: int = 0) -> SplineCoupling:
    """The spline with these outputs (D, 3 K - 1) for all samples: the network reads nothing."""
    layer = _straight_splines(len(raw), (raw.shape[1] + 1) // 3, dtype, context_dim).copy()
    layer.net[-1].bias[:] = raw.ravel()
    return layer


@cache
def _straight_splines(dim: int, n_bins: int, dtype: FloatDType, context_dim: int) -> SplineCoupling:
    options: dict[str, Any] = {"n_bins": n_bins, "tail_bound": TAIL_BOUND, "context_dim": context_dim, "random_state": 0}
    layer = SplineCoupling(dim, 1, np.zeros(dim, int), activation="relu", dtype=dtype, **options)
    layer.parameters[:] = 0
    return layer
