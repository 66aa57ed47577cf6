"""The distribution of one column of numbers given others: in closed form, by quadrature, or by draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from nvpflow._training.threads import in_threads
from nvpflow._typing import Floats, Ints
from nvpflow.missing._patterns import patterns
from nvpflow.queries._branches import Branches, RealModel
from nvpflow.queries._drawn import Drawn
from nvpflow.queries._mixture_line import MixtureLine
from nvpflow.queries._panel_line import GOOD_ERROR, PanelLine, integrate
from nvpflow.queries._slice import Slice

__all__ = ["Line", "Lines", "Method", "edges_of", "method_for", "panel_line", "slices"]

Method: TypeAlias = Literal["exact", "quadrature", "importance"]
MOST_TERMS = 150_000  # of components at a time: arrays stay in the cache
MOST_JOINED = 1_000_000  # components behind bends whose rows are asked together: they share integrals
POINTS_OF_JOINT = 32_768  # whose joint density is found at a time
ROWS_OF_PANELS = 256  # to integrate at a time: products of matrices are too small for threads, which do not pay for thin ones
# Where the first panels begin and end: at quantiles of a mixture, which may know nothing of a peak far from the others, and
# evenly in the range of all samples.
LEVELS = np.array([1e-6, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1 - 1e-6])
EVEN, NOWHERE = (np.arange(12) + 0.37) / 12, np.empty(0)
INNER_ERROR = 8 * GOOD_ERROR  # of integrals over another column: their errors are of either sign, and average out
# Densities by draws: points of lattices, the error of a panel, and the standard error of probabilities that is not enough.
N_POINTS, DRAWN_ERROR, GOOD_DRAWS = (61, 251), 1e-3, 0.02
OUTER = 2  # panels on either side of these quantiles
FAR = 3.0  # where the panels end, as a multiple of the reach of the mixture


class Line(Protocol):
    """Distributions of n rows on the line."""

    @property
    def log_total(self) -> Floats: ...
    @property
    def error(self) -> Floats: ...
    @property
    def size(self) -> Floats: ...
    def pdf(self, u: Floats) -> Floats: ...
    def cdf(self, u: Floats) -> Floats: ...
    def above(self, u: Floats) -> Floats: ...
    def ppf(self, q: Floats) -> Floats: ...
    def expect(self, function: Callable[[Floats], Floats]) -> Floats: ...
    def moments(self) -> tuple[Floats, Floats]: ...


def method_for(model: RealModel, n_open: int) -> Method:
    """How densities with so many open columns of numbers are computed."""
    return "exact" if model.is_exact else "quadrature" if n_open <= 2 else "importance"


class JointDensity:
    """Densities of the free column from the joint density itself, without the error of a series."""

    def __init__(self, model: RealModel, rows: Floats, context: Floats | None, free: int) -> None:
        self.model, self.rows, self.context, self.free = model, rows, context, free

    def pdf(self, u: Floats, log_total: Floats) -> Floats:
        """Densities at points u (n, G), given the logarithms (n,) of the integrals."""
        found, step = np.empty(u.shape), max(1, POINTS_OF_JOINT // max(1, u.shape[1]))
        for part in slices(len(u), step):
            branches = self.model.branches(self.rows[part], None if self.context is None else self.context[part])
            at = np.repeat(np.arange(branches.n), u.shape[1])
            log_p = Slice(self.model, branches, self.free)(at, u[part].ravel()).reshape(u[part].shape)
            with np.errstate(invalid="ignore"):
                found[part] = np.exp(log_p - log_total[part, np.newaxis])
        return np.where(np.isfinite(log_total)[:, np.newaxis], found, np.nan)


class Part(NamedTuple):
    """Some of the rows. Where one column alone is open, its density is that of `joint`."""

    rows: Ints
    line: Line
    joint: JointDensity | None = None

    def pdf(self, u: Floats) -> Floats:
        """Densities at points u (n, G)."""
        return self.line.pdf(u) if self.joint is None else self.joint.pdf(u, self.line.log_total)


class Lines:
    """The distributions of the free column for rows (n, R + K), in which it is NaN. They are found one part after another, or
    in as many threads as the model has.

    Parameters
    ----------
    model : RealModel
    rows : ndarray, shape (n, R + K)
    context : ndarray, shape (n, C), or None
    free : int
        A column of numbers.
    """

    def __init__(self, model: RealModel, rows: Floats, context: Floats | None, free: int) -> None:
        self.n, self.n_threads, self.parts = len(rows), model.n_threads, list[Part]()
        tasks = list[Callable[[RealModel], Part]]()
        for missing, at in patterns(np.isnan(rows[:, : model.n_numbers])):
            given = None if context is None else context[at]
            method = method_for(model, int(missing.sum()))
            if method == "exact":
                self.parts += [Part(at[part], line) for part, line in _exact_lines(model, rows[at], given, free)]
                continue
            integrated = _part_of_draws if method == "importance" else _part_of_panels
            for part in slices(len(at), ROWS_OF_PANELS):
                own = at[part], rows[at[part]], None if given is None else given[part]
                tasks.append(partial(integrated, own, free))
        of_task = model.in_one_thread() if self.n_threads > 1 and len(tasks) > 1 else model
        self.parts += in_threads([partial(task, of_task) for task in tasks], self.n_threads)

    @property
    def log_total(self) -> Floats:
        """Log-densities (n,) of what is given, on the line."""
        return self._gather(lambda part: part.line.log_total)

    @property
    def error(self) -> Floats:
        """Errors (n,) of probabilities."""
        return self._gather(lambda part: part.line.error)

    @property
    def size(self) -> Floats:
        """Effective numbers (n,) of draws."""
        return self._gather(lambda part: part.line.size)

    def pdf(self, u: Floats) -> Floats:
        """Densities at points (n, G)."""
        return self._gather(lambda part: part.pdf(u[part.rows]), u.shape[1])

    def cdf(self, u: Floats) -> Floats:
        """Probabilities of numbers up to points (n, G)."""
        return self._gather(lambda part: part.line.cdf(u[part.rows]), u.shape[1])

    def above(self, u: Floats) -> Floats:
        """Probabilities of numbers beyond points (n, G)."""
        return self._gather(lambda part: part.line.above(u[part.rows]), u.shape[1])

    def ppf(self, q: Floats) -> Floats:
        """Quantiles of probabilities (n, G)."""
        return self._gather(lambda part: part.line.ppf(q[part.rows]), q.shape[1])

    def expect(self, function: Callable[[Floats], Floats], width: int) -> Floats:
        """Means (n, width) of a function."""
        return self._gather(lambda part: part.line.expect(function), width)

    def moments(self) -> tuple[Floats, Floats]:
        """Means and standard deviations (n,)."""
        found = self._gather(lambda part: np.stack(part.line.moments(), axis=1), 2)
        return found[:, 0], found[:, 1]

    def _gather(self, of_one: Callable[[Part], Floats], *shape: int) -> Floats:
        found = np.empty((self.n, *shape))
        for part, own in zip(self.parts, in_threads([partial(of_one, part) for part in self.parts], self.n_threads)):
            found[part.rows] = own
        return found


Own: TypeAlias = tuple[Ints, Floats, Floats | None]


def _part_of_draws(own: Own, free: int, model: RealModel) -> Part:
    at, rows, context = own
    return Part(at, drawn_line(model, model.branches(rows, context), free))


def _part_of_panels(own: Own, free: int, model: RealModel) -> Part:
    at, rows, context = own
    line = panel_line(model, model.branches(rows, context), free)
    is_joint = np.isnan(rows[0, : model.n_numbers]).sum() == 1
    return Part(at, line, JointDensity(model, rows, context, free) if is_joint else None)


def slices(n: int, step: int) -> Iterator[slice]:
    """Parts of n rows, of at most `step` each."""
    return (slice(start, start + step) for start in range(0, n, step))


def _exact_lines(model: RealModel, rows: Floats, context: Floats | None, free: int) -> Iterator[tuple[slice, MixtureLine]]:
    """The lines of rows with the same open columns, with many components each."""
    first, lines = 0, list[MixtureLine]()
    for part in slices(len(rows), max(1, MOST_TERMS // model.n_terms)):
        branches = model.branches(rows[part], None if context is None else context[part])
        lines.append(model.mixture_line(branches, free))
        last = min(part.stop, len(rows))
        if last == len(rows) or not any(lines[0].bends) or sum(len(line.row) for line in lines) > MOST_JOINED:
            yield slice(first, last), lines[0] if len(lines) == 1 else MixtureLine.joined(lines)
            first, lines = last, []


def drawn_line(model: RealModel, branches: Branches, free: int) -> PanelLine:
    """Integrate over one free column, with several other open columns drawn: more often in rows with a large error."""
    edges = edges_of(model.mixture_line(branches, free), model.limits(free), LEVELS[::2], NOWHERE)
    line = integrate(Drawn(model, branches, free, N_POINTS[0]), edges, DRAWN_ERROR)
    few = np.flatnonzero(line.error > GOOD_DRAWS)
    if not len(few):
        return line
    more = integrate(Drawn(model, branches.take(few), free, N_POINTS[1]), edges[few], DRAWN_ERROR)
    place = np.arange(branches.n)
    place[few] = branches.n + np.arange(len(few))
    return PanelLine.joined([line, more]).take(place)


def panel_line(
    model: RealModel, branches: Branches, free: int, good_error: float = GOOD_ERROR, even: Floats = EVEN
) -> PanelLine:
    """Integrate over one free column, and over another one if there is one more that is open."""
    others = [column for column in np.flatnonzero(np.isnan(branches.u[0])).tolist() if column != free]
    log_density = Nested(model, branches, free, others[0]) if others else Slice(model, branches, free)
    return integrate(log_density, edges_of(model.mixture_line(branches, free), model.limits(free), LEVELS, even), good_error)


class Nested:
    """The same as `Slice` where another column is open, over which it integrates."""

    def __init__(self, model: RealModel, branches: Branches, free: int, other: int) -> None:
        self.model, self.branches, self.free, self.other = model, branches, free, other

    def __call__(self, rows: Ints, u: Floats) -> Floats:
        found = np.empty(len(rows))
        for start in range(0, len(rows), ROWS_OF_PANELS):
            part = slice(start, start + ROWS_OF_PANELS)
            inner = self.branches.take(rows[part]).given(self.free, u[part])
            found[part] = panel_line(self.model, inner, self.other, INNER_ERROR, NOWHERE).log_total
        return found


def edges_of(guide: MixtureLine, limits: tuple[float, float], levels: Floats = LEVELS, even: Floats = EVEN) -> Floats:
    """Where panels begin and end: between quantiles of a mixture, and beyond, as far as the density may reach.

    even: places of further ends, as shares of the range between the limits, or of that of the mixture if they are unknown.
    """
    inner = guide.quantiles(levels)
    unknown = ~np.isfinite(inner).all(axis=1)
    if unknown.any():
        inner[unknown] = np.linspace(*limits, len(levels) + 2)[1:-1] if limits[0] < limits[1] else levels
    reach = FAR * (inner[:, -1] - inner[:, 0])
    low, high = np.minimum(inner[:, 0] - reach, limits[0]), np.maximum(inner[:, -1] + reach, limits[1])
    steps = 1 - (1 - np.arange(OUTER) / OUTER) ** 3  # the nearer the narrower
    below = low[:, np.newaxis] + (inner[:, :1] - low[:, np.newaxis]) * steps
    above = high[:, np.newaxis] - (high[:, np.newaxis] - inner[:, -1:]) * steps
    edges = np.concatenate([below, inner, above[:, ::-1]], axis=1)
    start, end = np.full((len(inner), 2), limits).T
    if not limits[0] < limits[1]:
        start, end = inner[:, 0] - reach / FAR, inner[:, -1] + reach / FAR
    further = start[:, np.newaxis] + (end - start)[:, np.newaxis] * even
    return np.sort(np.concatenate([edges, further], axis=1), axis=1)
