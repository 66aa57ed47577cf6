"""Tables in figures: columns of real numbers, of angles and of categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._sklearn.feature_names import feature_names
from nvpflow.plot._canvas import histogram
from nvpflow.plot._checks import Points, Range, check_points
from nvpflow.supports import Declared, Support, check_support
from nvpflow.supports._category import Category, plain_value
from nvpflow.supports._kinds import Angle, AnyKind, Integer
from nvpflow.supports._tables import count_columns, take_apart
from nvpflow.supports._windings import into_turn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["Column", "read_tables"]

MOST_VALUES = 12  # of a category in a figure; the others are drawn together
OTHERS = "others"
JITTER = 0.3  # points of a category spread over this distance to either side
MOST_LETTERS = 8  # of all labels together; more are turned
MOST_BARS = 40  # of whole numbers
BAR = 0.8  # the width of the bars of a category


class Column:
    """How a column of numbers is drawn."""

    def limits(self, limits: Range) -> Range:
        """The limits of its axis, given those of its points."""
        return limits

    def margin(self, ax: Axes, clouds: Mapping[str, Points], limits: Range, bins: int, colours: Mapping[str, str]) -> float:
        """Draw the distributions of the column in clouds of points. Return the largest height."""
        edges = np.linspace(limits[0], limits[1], bins + 1)
        return max(
            histogram(ax, points, edges, colours[name], filled=i == 0) for i, (name, points) in enumerate(clouds.items())
        )

    def spread(self, points: Points, rng: np.random.Generator) -> Points:
        """Where to draw points in panels of two columns."""
        return points

    def tick(self, axis: Axis) -> None:
        """Put marks on its axis."""
        from matplotlib.ticker import MaxNLocator

        axis.set_major_locator(MaxNLocator(3))


class Whole(Column):
    """A column of whole numbers: a bar for each, or for several."""

    def limits(self, limits: Range) -> Range:
        return float(np.floor(limits[0])) + 0.5, float(np.ceil(limits[1])) - 0.5

    def margin(self, ax: Axes, clouds: Mapping[str, Points], limits: Range, bins: int, colours: Mapping[str, str]) -> float:
        n = round(limits[1] - limits[0])
        return super().margin(ax, clouds, limits, -(-n // -(-n // MOST_BARS)), colours)

    def spread(self, points: Points, rng: np.random.Generator) -> Points:
        return _jittered(points, rng)

    def tick(self, axis: Axis) -> None:
        from matplotlib.ticker import MaxNLocator

        axis.set_major_locator(MaxNLocator(3, integer=True))


class Turn(Column):
    """A column of angles: the axis is the whole turn, from one end to where it begins again."""

    def __init__(self, kind: Angle) -> None:
        self.low, self.high = kind.low, kind.high

    def limits(self, limits: Range) -> Range:
        return self.low, self.high

    def tick(self, axis: Axis) -> None:
        ticks = np.linspace(self.low, self.high, 3)
        axis.set_ticks(ticks, [f"{tick:.3g}" for tick in ticks])


class Values(Column):
    """A column of categories: each value has a place on the axis, and bars show the shares of the values."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def limits(self, limits: Range) -> Range:
        return -0.6, len(self.values) - 0.4

    def margin(self, ax: Axes, clouds: Mapping[str, Points], limits: Range, bins: int, colours: Mapping[str, str]) -> float:
        places, top = np.arange(len(self.values)), 0.0
        for i, (name, points) in enumerate(clouds.items()):
            shares = np.bincount(np.rint(points).astype(int), minlength=len(places)) / len(points)
            look = {"alpha": 0.35, "lw": 0} if i == 0 else {"fill": False, "lw": 1.4, "edgecolor": colours[name]}
            ax.bar(places, shares, BAR, color=colours[name], **look)
            top = max(top, float(shares.max()))
        return top

    def tick(self, axis: Axis) -> None:
        labels = [f"{value!s:.16}".replace("$", r"\$") for value in self.values]
        axis.set_ticks(range(len(labels)), labels)
        if axis is axis.axes.xaxis and len(labels) * max(map(len, labels)) > MOST_LETTERS:
            axis.set_tick_params(labelrotation=90)

    def spread(self, points: Points, rng: np.random.Generator) -> Points:
        return _jittered(points, rng)

    def places(self, given: list[Any]) -> Points:
        """The places of values."""
        place = {value: i for i, value in enumerate(self.values)}
        return np.array([place.get(plain_value(value), len(self.values) - 1) for value in given], dtype=np.float64)


def _jittered(points: Points, rng: np.random.Generator) -> Points:
    return points + rng.uniform(-JITTER, JITTER, len(points))


def read_tables(tables: Mapping[str, Any], support: Support) -> tuple[dict[str, Points], list[Column], list[str] | None]:
    """Tables of the same columns as numbers, how their columns are drawn, and the names of these, if the first table has some.

    Parameters
    ----------
    tables : dict of array_like or frame
        By name. Values of categories are those of the first one.
    support : as in `FlowDensity`

    Raises
    ------
    TypeError, ValueError
    """
    first_name, first = next(iter(tables.items()))
    names = feature_names(first)
    declared = Declared.of(
        None if support is None else check_support("support", support), names, first, (first_name, "support")
    )
    if declared is None:
        clouds: dict[str, Points] = {}
        for name, table in tables.items():
            dim = clouds[first_name].shape[1] if clouds else None
            clouds[name] = check_points(name, table, dim, finite=name == first_name)
        return clouds, [Column() for _ in range(clouds[first_name].shape[1])], _listed(names)
    kinds = declared.of_all(count_columns(first_name, first))
    columns, clouds = [_column(kind) for kind in kinds], {}
    for name, table in tables.items():
        _check_width(name, table, len(kinds))
        clouds[name] = _as_points(name, table, kinds, columns, is_first=name == first_name)
    return clouds, columns, _listed(names)


def _column(kind: AnyKind) -> Column:
    if isinstance(kind, Category):
        return Values([])
    if isinstance(kind, Integer):
        return Whole()
    return Turn(kind) if isinstance(kind, Angle) else Column()


def _as_points(name: str, table: Any, kinds: tuple[AnyKind, ...], columns: list[Column], is_first: bool) -> Points:
    """The table as numbers. The first one determines the values of categories."""
    of_values = [i for i, column in enumerate(columns) if isinstance(column, Values)]
    others = [i for i in range(len(columns)) if i not in of_values]
    parts = take_apart(name, table, of_values)
    points = np.empty((len(parts.values[0]) if of_values else len(parts.numbers), len(columns)))
    if len(points) == 0:
        raise ValueError(f"{name} must have at least one row, got none")
    if others:
        points[:, others] = check_points(name, _floats(name, parts.numbers), len(others), finite=is_first)
    for i, given in zip(of_values, parts.values):
        column = columns[i]
        assert isinstance(column, Values)
        if is_first:
            column.values = _values(given, kinds[i])
        points[:, i] = column.places(given)
    for i, column in enumerate(columns):
        if isinstance(column, Turn):
            points[:, i] = into_turn(points[:, i], column.low, column.high - column.low)
    return points


def _floats(name: str, table: Any) -> Any:
    """Convert an array of objects."""
    if not isinstance(table, np.ndarray) or table.dtype.kind != "O":
        return table
    try:
        return table.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must hold real numbers in columns that are no categories: {error}") from error


def _values(given: list[Any], kind: AnyKind) -> list[Any]:
    """The values of a category that are drawn, the most frequent first; declared ones in their order."""
    known = [value for value, _ in Counter(map(plain_value, given)).most_common()]
    if isinstance(kind, Category) and kind.values is not None:
        known = [*kind.values, *(value for value in known if value not in kind.values)]
    return known if len(known) <= MOST_VALUES else [*known[: MOST_VALUES - 1], OTHERS]


def _check_width(name: str, table: Any, n_columns: int) -> None:
    got = count_columns(name, table)
    if got != n_columns:
        raise ValueError(f"{name} must have {n_columns} columns, got {got}")


def _listed(names: Any) -> list[str] | None:
    return None if names is None else [str(name) for name in names]
