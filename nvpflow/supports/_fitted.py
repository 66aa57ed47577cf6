"""The supports of fitted columns: how the flow reads them, and how training sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from nvpflow._training.origin import are_coarse, name_columns
from nvpflow._training.smooth_places import smooth_places
from nvpflow._training.statistics import LARGE_SHARE, QUANTILES_FROM, moments, quantiles
from nvpflow._typing import Bools, FloatDType, Floats, Names
from nvpflow._validation.arguments import FLOAT64
from nvpflow._warnings import warn_user
from nvpflow.ensemble import FlowEnsemble, log_prob_and_std
from nvpflow.flow import Flow
from nvpflow.layers import Bounded
from nvpflow.supports._kinds import MOST, REALS, Angle, Kind, first_end, on_bounds
from nvpflow.supports._masses import log_masses
from nvpflow.supports._repeated import LEAVE_EMPTY
from nvpflow.supports._shapes import straightened
from nvpflow.supports._spread import spread
from nvpflow.supports._windings import WIDEST, into_turn, log_share, windings
from nvpflow.supports._wrapped_mixture import WrappedMixture

if TYPE_CHECKING:
    from nvpflow._training.dataset import Data
    from nvpflow.density import FlowDensity
    from nvpflow.supports._parameter import Declared

__all__ = ["Supports", "check_unchanged", "supports_for"]

# Of the scale of an exponential distribution, that compete with it. Tails lighter than exponential want small ones, heavier
# tails large ones. With 1000 rows and means of nine states, gaps fell from 0.012 to 0.009 (half-normal columns), from 0.017 to
# 0.010 (folded normal and Weibull), from 0.006 to 0.005 (gamma and Weibull with a copula); with 10,000 rows from 0.0026 to
# 0.0014 (the second). Without a cost exponential columns lost 0.0015 with 1000 rows.
MULTIPLES = tuple(2.0**k for k in (-4, -3, -2, -1, 1, 2, 3, 4))
# Of the median distance from the bound: the neighbourhood in which a map that is nearly a line is none.
PART_OF_DISTANCE = 1 / 128
# At least so much of the cell of a whole number. What a mixture has beyond the bound lies in this neighbourhood, and no rule
# of few points sees it if that is small: with 0.005, probabilities of a column with 75 % zeros summed to 0.98. Of 1/16, 1/4
# and 1 the second was the best on 12 tables (three states each), 0.04 nats better in the mean.
PART_OF_CELL = 1 / 4
UNRESOLVED = 1000  # times the resolution: distances from the upper bound, of which some are much smaller, may be too coarse
# Standard deviations on the real line. Counts with 80 % zeros had samples of 1e9 and means of 1e20 by broad normals of 32.
WIDEST_OF_HALF_LINE = 2.0


class Supports:
    """The supports of the columns of X.

    Training sees the columns as numbers on the whole real line, transformed in float64. The fitted flow ends with the layer
    that leads to the supports, a `Bounded`, and reads X less `origin`.

    Parameters
    ----------
    kinds : tuple of Kind, length D
    scales, edges : ndarray of float64, shape (D,)
        As for `Bounded`.
    on_bounds : ndarray of bool, shape (D,)
        The columns of real numbers with training values on a bound.
    is_straight : ndarray of bool, shape (D,), optional
        The columns whose map is nearly a line. Default: those with a negative scale; others with one are nearly exponential up
        to the largest sample, and lines beyond.
    """

    def __init__(
        self, kinds: tuple[Kind, ...], scales: Floats, edges: Floats, on_bounds: Bools, is_straight: Bools | None = None
    ) -> None:
        self.kinds, self.scales, self.edges, self.on_bounds = kinds, scales, edges, on_bounds
        self.origin: Floats = np.array([kind.origin for kind in kinds])
        self._ends: Floats = np.array([first_end(kind.limits) for kind in kinds])
        self.is_free = np.array([kind.is_free for kind in kinds])
        self.is_whole = np.array([kind.is_whole for kind in kinds])
        self.turns = np.array([kind.turn for kind in kinds])
        self.is_straight = scales < 0 if is_straight is None else is_straight
        self.is_half_line = np.array([np.isfinite(kind.cells).sum() == 1 for kind in kinds]) & ~self.is_straight
        # Whether a log-density is that of a sum of densities of the flow.
        self.is_sum = bool(self.is_whole.any() or self.turns.any())
        self._exact = self.layer(FLOAT64)

    @classmethod
    def of(
        cls, kinds: tuple[Kind, ...], names: Names | None, data: Data, dtype: FloatDType, seed: int, is_given: bool = False
    ) -> Supports:
        """Find how the samples, after `spread`, are transformed for flows of this dtype. Warn of many values on a bound.

        Each column has the shape that suits it best by itself, unless it is better for ties between columns if it is straight.
        """
        edges = np.array([_edge(kind, x, dtype) for kind, x in zip(kinds, data.x.T)])
        _warn_of_values_on_bounds(kinds, data, names)
        _warn_of_distant_bounds(kinds, data, names, dtype)
        scales = np.array([_scale(kind, x, edge, data.weight) for kind, x, edge in zip(kinds, data.x.T, edges)])
        is_real = [not kind.is_whole and not kind.turn for kind in kinds]
        on_bounds = np.array([real and bool(np.isin(x, kind.cells).any()) for real, kind, x in zip(is_real, kinds, data.x.T)])
        if is_given:  # a context, not only categories of the table
            scales = np.array([_with_linear_tail(*of_column) for of_column in zip(kinds, data.x.T, edges, scales)])
        usual = cls(kinds, scales, edges, on_bounds, np.zeros(len(kinds), bool))
        lines = np.array([_straight_scale(*of_column) for of_column in zip(kinds, data.x.T, edges)])
        return straightened(usual, cls(kinds, lines, edges, on_bounds), data, dtype, seed)

    def with_column_of(self, other: Supports, column: int) -> Supports:
        """The same with the map of another one for a column."""
        takes = np.arange(len(self.kinds)) == column
        scales = np.where(takes, other.scales, self.scales)
        is_straight = np.where(takes, other.is_straight, self.is_straight)
        return Supports(self.kinds, scales, self.edges, self.on_bounds, is_straight)

    @property
    def may_have_margins(self) -> Bools:
        """The columns (D,) of real numbers without bounds, or with a map that is nearly a line; none beside angles, whose sums
        over turns want affine maps.

        The linear tails of a margin would be without a mean behind the exponential of a half-line.
        """
        found: Bools = (self.is_free | self.is_straight) & ~self.is_whole & (not self.turns.any())
        return found

    def come_near_upper_bounds(self, x: Floats, dtype: FloatDType) -> Bools:
        """The columns (D,) of x (n, D) with two bounds and values that this dtype hardly resolves next to the upper one.

        What a flow reads are distances from the lower one. Of columns with all values there, `_warn_of_distant_bounds` warns.
        """
        low, high = np.array([kind.cells for kind in self.kinds]).T
        have_two = np.isfinite(high - low) & ~self.is_whole & (self.turns == 0)
        distance = high - x.astype(np.float64)
        is_near = (distance > 0) & (distance < UNRESOLVED * np.finfo(dtype).eps * (high - low))
        found: Bools = have_two & is_near.any(axis=0) & ~is_near.all(axis=0)
        return found

    def widest(self, deviations: Floats) -> Floats:
        """The largest deviations (D,) of broad normals in columns with these deviations on the real line.

        Wider ones say no more of angles, and N_WINDINGS miss their tails. On half-lines they would be numbers of any size.
        """
        found: Floats = np.where(self.turns > 0, WIDEST * self.turns, np.inf)
        return np.where(self.is_half_line, WIDEST_OF_HALF_LINE * deviations, found)

    @property
    def doubled(self) -> Floats:
        """What is added (D,) on the real line where the distance from a bound doubles behind an exponential; else infinity."""
        has_bound_above = np.array([np.isfinite(kind.cells[1]) for kind in self.kinds])
        is_exponential = self.is_half_line & (self.scales == 0)
        return np.where(is_exponential, np.where(has_bound_above, -1, 1) * np.log(2), np.inf)

    def layer(self, dtype: FloatDType) -> Bounded:
        """The layer from the real line to the supports, less the origin."""
        bounds = [(low - origin, high - origin) for (low, high), origin in zip((k.cells for k in self.kinds), self.origin)]
        return Bounded(len(bounds), bounds, self.scales, self.edges, dtype=dtype)

    def marked(self, x: Floats) -> Floats:
        """Samples x (n, D) in float64, with whole numbers in the middle of their cells, and angles near their mean direction.

        Values outside of the support are infinite, so that no rounding moves them inside. Missing values stay NaN.
        """
        x = self._near_centres(on_bounds(self.kinds, x))
        inside = np.array([kind._holds(column) | np.isnan(column) for kind, column in zip(self.kinds, x.T)]).T
        marked: Floats = np.where(inside, x + 0.5 * self.is_whole, np.copysign(np.inf, x - self._ends))
        return marked

    def _near_centres(self, x: Floats) -> Floats:
        """Copy samples (n, D) to float64, with angles in the turn around their mean direction."""
        x = x.astype(np.float64)
        for column, kind in enumerate(self.kinds):
            if kind.turn:
                x[:, column] = into_turn(x[:, column], kind.origin - kind.turn / 2, kind.turn)
        return x

    def log_masses(self, flow: Flow | FlowEnsemble, x: Floats, origin: Floats | None, context: Floats | None) -> Floats:
        """Log-density of samples x (n, D): of angles, and with respect to counting measure in columns of whole numbers."""
        return self.log_masses_and_std(flow, x, origin, context)[0]

    def log_masses_and_std(
        self, flow: Flow | FlowEnsemble, x: Floats, origin: Floats | None, context: Floats | None
    ) -> tuple[Floats, Floats]:
        """`log_masses`, and their standard deviation over the members of an ensemble: zeros for a single flow."""
        lowest = self.marked(x) - 0.5 * self.is_whole
        return log_prob_and_std(flow, lambda one: self._log_sums(one, lowest, origin, context))

    def _log_sums(self, flow: Flow | FlowEnsemble, x: Floats, origin: Floats | None, context: Floats | None) -> Floats:
        wrapped = None if self.is_whole.any() else WrappedMixture.of(flow, self.turns)
        if wrapped is not None:
            return wrapped.log_prob(x if origin is None else x - origin)

        def log_prob(points: Floats, rows: slice) -> Floats:
            n, n_nodes, dim = points.shape
            flat = (points if origin is None else points - origin).reshape(-1, dim).astype(flow.dtype)
            repeated = None if context is None else np.repeat(context[rows], n_nodes, axis=0)
            return flow.log_prob(flat, repeated).reshape(n, n_nodes).astype(np.float64)

        return log_masses(log_prob, x, self.is_whole, self.turns)

    def grad_log_density(self, flow: Flow | FlowEnsemble, x: Floats, origin: Floats | None, context: Floats | None) -> Floats:
        """Gradient of the log-density of samples x (n, D) without whole numbers: the mean over windings by their shares."""
        points = windings(self.marked(x), self.turns)
        n, n_windings, dim = points.shape
        flat = (points if origin is None else points - origin).reshape(-1, dim).astype(flow.dtype)
        repeated = None if context is None else np.repeat(context, n_windings, axis=0)
        log_p = flow.log_prob(flat, repeated).reshape(n, n_windings)
        with np.errstate(invalid="ignore"):
            shares = np.exp(log_p - log_p.max(axis=1, keepdims=True))
            grads = np.where(shares[..., np.newaxis] > 0, flow.grad_log_prob(flat, repeated).reshape(points.shape), 0)
            found: Floats = (shares[..., np.newaxis] * grads).sum(axis=1) / shares.sum(axis=1, keepdims=True)
        found[~np.isfinite(log_p).any(axis=1)] = np.nan
        return found

    def clipped(self, x: Floats) -> Floats:
        """Outputs of the flow (..., D), origin included, as samples: whole, within a turn, and inside in spite of rounding."""
        x = np.where(self.is_whole, np.floor(x), x)
        low, high = np.array([kind.limits for kind in self.kinds]).T
        most = np.where(self.is_whole, np.nextafter(x.dtype.type(MOST), 0), np.inf)  # `Integer` ends below MOST
        low, high = np.maximum(low, -most), np.minimum(high - self.is_whole, most)
        return self.in_range(np.clip(x, -_at_most(-low, x.dtype), _at_most(high, x.dtype)))

    def in_range(self, x: Floats) -> Floats:
        """Samples (..., D) with angles in their ranges. Changes x."""
        for column, kind in enumerate(self.kinds):
            if isinstance(kind, Angle):
                x[..., column] = into_turn(x[..., column], kind.low, kind.turn)
        return x

    def origin_within(self, origin: Floats | float) -> Floats:
        """The part of an origin that training sees: that of columns without bounds."""
        return np.where(self.is_free, origin, 0.0)

    def suit(self, data: Data, dtype: FloatDType) -> bool:
        """Whether bounds are as distant from these samples, which may have missing cells, as from those of the fit."""
        for kind, x in zip(self.kinds, data.x.T):
            known = ~np.isnan(x)
            weight = None if data.weight is None else data.weight[known]
            if kind._is_far_from(x[known], weight, dtype) != kind.is_distant:
                return False
        return True

    def spread(self, data: Data, rng: np.random.Generator) -> Data:
        """Spread whole numbers over their cells, and choose windings of angles; see `_spread` and `smooth_places`."""
        even = spread(self.kinds, data, rng)
        if not self.is_whole.any():
            return even
        x = even.x.copy()
        for column in np.flatnonzero(self.is_whole).tolist():
            values = data.x[:, column].astype(np.float64)
            moved = smooth_places(values, x[:, column] - values, data.weight, *self._maps(column))
            x[:, column] = values + moved
        return even._replace(x=x)

    def _maps(self, column: int) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]:
        """From the numbers of a column to those that training sees, with infinite bounds, and back."""
        origin, layer = self.origin[column], self._exact
        alone = Bounded(1, [layer.bounds[column]], [layer.scales[column]], [layer.edges[column]], dtype=FLOAT64)
        low, high = alone.low[0], alone.high[0]

        def to_reals(x: Floats) -> Floats:
            y = alone.inverse((x - origin)[:, np.newaxis])[0][:, 0]
            return np.where(x - origin <= low, -np.inf, np.where(x - origin >= high, np.inf, y))

        def from_reals(y: Floats) -> Floats:
            moved: Floats = alone.forward(y[:, np.newaxis])[0][:, 0] + origin
            return moved

        return to_reals, from_reals

    def to_reals(self, data: Data) -> Data:
        """The samples, after `spread`, as training sees them, in float64."""
        return data._replace(x=self._exact.inverse(data.x - self.origin)[0])

    def from_reals(self, y: Floats) -> Floats:
        """Samples (n, D) that training sees as numbers y (n, D) on the real line: whole, within a turn, and inside."""
        return self.clipped(self._exact.forward(y)[0] + self.origin)

    def mean_log_slope(self, data: Data) -> float:
        """Mean of `log_slopes`."""
        return float(np.average(self.log_slopes(data), weights=data.weight))

    def log_slopes(self, data: Data) -> Floats:
        """log|det dx/dy| (n,) at samples x, which `to_reals` takes to y, in nats."""
        log_det = self._exact.inverse(data.x - self.origin)[1].copy()
        for x, kind in zip(data.x.T, self.kinds):
            if kind.turn:  # the choice of a winding is no part of the density of an angle
                log_det -= log_share(x, kind.origin, kind.turn)
        slopes: Floats = -log_det
        return slopes

    def outer(self, inner: Flow) -> Flow:
        """Copy a flow of numbers on the real line, with the supports as its last layer. It has the same parameters."""
        outer = Flow([*(layer.copy() for layer in inner.layers), self.layer(inner.dtype)], inner.base and inner.base.copy())
        outer.n_jobs = inner.n_jobs
        return outer

    def inner(self, flow: Flow) -> Flow:
        """Copy a fitted flow without its last layer. It has the same parameters."""
        inner = Flow([layer.copy() for layer in flow.layers[:-1]], flow.base and flow.base.copy())
        inner.n_jobs = flow.n_jobs
        return inner


def _at_most(bounds: Floats, dtype: FloatDType) -> Floats:
    """The largest numbers of a dtype that are not above the bounds."""
    found = bounds.astype(dtype)
    return np.where(found > bounds, np.nextafter(found, found.dtype.type(-np.inf)), found)


def _edge(kind: Kind, x: Floats, dtype: FloatDType) -> float:
    """Where a value on a bound is taken to be: half of the smallest other distance to a bound.

    That is half of the unit where values are rounded, and never beyond other values. It is at least what `dtype` resolves.
    """
    low, high = kind.cells
    distances = np.concatenate([x - end for end in (low, high) if np.isfinite(end)] or [np.empty(0)])
    distances = np.abs(distances)
    smallest = float(np.min(distances[distances > 0], initial=np.inf))
    width = high - low
    info = np.finfo(dtype)
    least = float(info.eps) * width if np.isfinite(width) else float(info.tiny)
    most = width / 4 if np.isfinite(width) else 1.0
    return min(max(smallest / 2, least), max(most, least)) if np.isfinite(smallest) else most


def _scale(kind: Kind, x: Floats, edge: float, weight: Floats | None) -> float:
    """The scale of a half-line for `Bounded`: 0 or a multiple of that of an exponential distribution with the column's median.

    The choice has the highest likelihood of a normal distribution after the transformation: Box and Cox (1964), "An analysis
    of transformations". A multiple must gain as much as a parameter costs: Schwarz (1978), "Estimating the dimension of a
    model".
    """
    low, high = kind.cells
    if np.isfinite(low) == np.isfinite(high):
        return 0.0
    some = slice(None, None, max(1, len(x) // QUANTILES_FROM))
    x, weight = x[some, np.newaxis] - kind.origin, None if weight is None else weight[some]
    distance = np.maximum(np.abs(x.astype(np.float64)), edge)
    scale = float(quantiles(distance, (0.5,), weight)[0, 0] / np.log(2))

    def log_likelihood(scale: float) -> float:
        z, log_det = Bounded(1, [(0, None)], [scale], [edge], dtype=np.float64).inverse(distance)
        deviation = moments(z, weight)[1][0]
        return float(np.average(log_det, weights=weight) - np.log(deviation)) if deviation > 0 else -np.inf

    usual = max((scale, 0.0), key=log_likelihood)
    best = max((scale * multiple for multiple in MULTIPLES), key=log_likelihood)
    pays = log_likelihood(best) - log_likelihood(usual) > np.log(len(x)) / (2 * len(x))
    return best if pays else usual


def _with_linear_tail(kind: Kind, x: Floats, edge: float, scale: float) -> float:
    """The scale, or that of a softplus in place of an exponential: a line from the largest distance on.

    Given a context, a tail of the layers where samples are few is exponential otherwise: 600 exponential samples up to 27 had
    samples of 12,000. The gap fell, too, from 0.039 to 0.037 nats (means of six states). Without a context, where logarithms
    of columns may have linear ties, `Tails` limits mixtures instead.
    """
    is_half_line = np.isfinite(kind.cells).sum() == 1
    return -max(float(np.abs(x.astype(np.float64) - kind.origin).max()), edge) if is_half_line and scale == 0 else scale


def _straight_scale(kind: Kind, x: Floats, edge: float) -> float:
    """That of a map that is nearly a line, for `Bounded`: a small part of the median distance from the nearest bound."""
    ends = [end for end in kind.cells if np.isfinite(end)]
    if not ends or kind.turn:
        return 0.0
    distances = np.min([np.abs(x.astype(np.float64) - end) for end in ends], axis=0)
    scale = PART_OF_DISTANCE * max(float(np.median(distances)), edge)
    return -max(scale, PART_OF_CELL) if kind.is_whole else -scale


def _warn_of_values_on_bounds(kinds: tuple[Kind, ...], data: Data, names: Names | None) -> None:
    on_bound = np.array([np.isin(x, kind.cells) for kind, x in zip(kinds, data.x.T)])
    shares = np.average(on_bound, axis=1, weights=data.weight)
    many = shares >= LARGE_SHARE
    if many.any():
        listed = ", ".join(f"{share:.0%}" for share in shares[many][:10])
        warn_user(
            f"column(s) {name_columns(many, names)} of X equal a bound in {listed} of the rows: a density has no finite limit "
            f"there, and the model puts a narrow peak. To give the value a probability, {LEAVE_EMPTY}"
        )


def _warn_of_distant_bounds(kinds: tuple[Kind, ...], data: Data, names: Names | None, dtype: FloatDType) -> None:
    """Warn of columns that vary so little, far from their bounds, that the dtype hardly resolves them."""
    mean, deviation = moments(data.x - np.array([kind.origin for kind in kinds]), data.weight)
    bounded = np.array([bool(np.isfinite(kind.cells).any()) and not kind.turn for kind in kinds])
    coarse = bounded & (deviation > 0) & are_coarse(mean, deviation, dtype)
    if coarse.any():
        warn_user(
            f"column(s) {name_columns(coarse, names)} of X vary by less than a thousand times the resolution of {dtype} at "
            "their distance from the bounds, which hardly tells their values apart, so that scores may be far too high: "
            "declare no bounds so far away"
            f"{', or use dtype=float64' * (dtype == np.float32)}"
        )


def supports_for(
    declared: Declared | None, data: Data, dtype: FloatDType, seed: int, before: FlowDensity | None = None
) -> tuple[Supports | None, Data]:
    """The supports of the columns of new data, and the data after `spread`.

    The supports of a fitted model to continue are kept.
    """
    if before is not None:
        supports = before._known_supports()
        return supports, data if supports is None else supports.spread(data, np.random.default_rng(seed))
    if declared is None or all(kind == REALS for kind in declared.of_columns(data.x.shape[1])):
        return None, data
    columns = zip(declared.of_columns(data.x.shape[1]), data.x.T)
    kinds = tuple(kind._placed(x, data.weight, dtype) for kind, x in columns)
    is_given = data.context is not None and not declared.is_beside_categories
    supports = Supports.of(kinds, declared.names, spread(kinds, data, np.random.default_rng(seed)), dtype, seed, is_given)
    return supports, supports.spread(data, np.random.default_rng(seed))


def check_unchanged(supports: Supports | None, declared: Declared | None, n_columns: int, what: str) -> None:
    """Raise a ValueError that names the first column whose declared support is not that of the fit before."""
    free: tuple[Kind, ...] = (REALS,) * n_columns
    old, new = supports.kinds if supports else free, declared.of_columns(n_columns) if declared else free
    if len(old) != n_columns:
        return  # the error about the number of columns says more
    for column, (before, after) in enumerate(zip(old, new)):
        if before != after:
            label = declared.label(column) if declared else str(column)
            raise ValueError(f"{what} needs the support of the fit before, got column {label} in {after} instead of {before}")
