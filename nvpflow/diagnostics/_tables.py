"""Held-out rows and samples of the model as tables of numbers: the columns of numbers, and then the codes of categories."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nvpflow._typing import ArrayLike, Floats, Ints, Seed
from nvpflow._validation.arguments import FLOAT64, draw_seeds
from nvpflow._validation.cells import CellError
from nvpflow.missing._table import with_codes
from nvpflow.supports._kinds import REALS, Angle, Interval
from nvpflow.supports._windings import into_turn

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.supports._kinds import Kind

__all__ = [
    "ColumnKind",
    "Draws",
    "column_kinds",
    "draw_each",
    "draw_table",
    "draw_together",
    "own_log_density",
    "read_rows",
    "renamed",
]

MOST_NUMBERS = 4_000_000  # of draws given a context, in memory at a time


class ColumnKind(NamedTuple):
    """A column of a table."""

    place: int  # among the columns of X
    kind: Kind | None  # None for a category
    n_values: int = 0  # of a category

    @property
    def word(self) -> str:
        if self.kind is None:
            return "category"
        if isinstance(self.kind, Angle):
            return "angle"
        return "integer" if self.kind.is_whole else "real" if self.kind.is_free else "bounded"


class Draws(NamedTuple):
    """Samples of the model, for all rows or for each."""

    table: Floats  # (N, D) or (n, m, D)
    log_density: Floats  # (N,) or (n, m), in nats


@contextmanager
def renamed(**names: str) -> Iterator[None]:
    """Let messages call arguments by other names, X and context by those in which `check` has them."""
    try:
        yield
    except (TypeError, ValueError) as error:
        word, _, rest = str(error).partition(" ")
        if type(error) not in (TypeError, ValueError, CellError) or word not in names:
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{names[word]} {rest}") from error


def column_kinds(model: FlowDensity) -> list[ColumnKind]:
    """The columns of tables, in order."""
    supports, categories = model._known_supports(), model._known_categories()
    others = range(model.n_features_in_) if categories is None else categories.coding.others
    kinds: tuple[Kind, ...] = (Interval(*REALS.cells),) * len(others) if supports is None else supports.kinds
    found = [ColumnKind(place, kind) for place, kind in zip(others, kinds)]
    if categories is not None:
        coding = categories.coding
        found += [ColumnKind(place, None, len(values)) for place, values in zip(coding.columns, coding.values)]
    return found


def read_rows(model: FlowDensity, X: ArrayLike) -> Floats:
    """Rows (n, D) in float64, NaN in missing cells, angles in their ranges."""
    table = model._check_incomplete(X).astype(np.float64)
    for column, (_, kind, _) in enumerate(column_kinds(model)):
        if isinstance(kind, Angle):
            table[:, column] = into_turn(table[:, column], kind.low, kind.turn)
    return table


def draw_table(model: FlowDensity, n: int, seed: Seed, context: ArrayLike | None) -> Floats:
    """Samples (n, D), one for each row of a context if there is one, of the types of a frame, as rows are."""
    return _drawn(model, n, seed, context)[0]


def _drawn(model: FlowDensity, n: int, seed: Seed, context: ArrayLike | None) -> tuple[Floats, bool]:
    """The samples, and whether the types of a frame have changed them, as they round whole numbers that are not declared."""
    draws = model._check_draws(n, seed, context, per_context=False)
    x = draws.empty if model.flow_ is None else model._to_own_units(model.flow_.sample(**draws.arguments)).astype(np.float64)
    typed = model._of_types(x, FLOAT64) if x.shape[1] else x
    return typed if draws.codes is None else with_codes(typed, draws.codes), not np.array_equal(typed, x)


def draw_together(model: FlowDensity, n: int, seed: Seed, context: ArrayLike | None = None) -> Draws:
    """Samples for all rows of a model, with a context that is the same for all of them."""
    table, is_rounded = _drawn(model, n, seed, context)
    if is_rounded:  # to where rows are, which is where the density has its peaks
        return Draws(table, model._log_density_of_table(table, model._check_context(context, n)).astype(np.float64))
    return Draws(table, model.sample_and_log_prob(n, seed, context=context)[1].astype(np.float64))


def own_log_density(model: FlowDensity, n: int, seed: Seed, context: ArrayLike | None = None) -> Floats:
    """Log-densities (n,) of samples of the model."""
    if hasattr(model, "_frame"):
        return draw_together(model, n, seed, context).log_density
    return model.sample_and_log_prob(n, seed, context=context)[1].astype(np.float64)


def draw_each(model: FlowDensity, n_draws: int, seed: int, rows: Floats) -> Iterator[tuple[Ints, Draws]]:
    """Samples given each row of a context, which is as the flow reads it: parts of the rows, and their samples."""
    flow = model._fitted_flow()
    step = max(1, MOST_NUMBERS // (n_draws * flow.data_dim))
    starts = range(0, len(rows), step)
    for start, seed_of_part in zip(starts, draw_seeds(seed, len(starts))):
        part = np.arange(start, min(start + step, len(rows)))
        x, log_p = flow.sample_and_log_prob(n_draws, seed_of_part, rows[part], per_context=True)
        table = model._of_types(model._to_own_units(x), FLOAT64).astype(np.float64)
        given = np.repeat(rows[part], n_draws, axis=0)
        log_density = model._log_density_of_draws(x.reshape(-1, x.shape[-1]), log_p.ravel(), given).reshape(log_p.shape)
        yield part, Draws(table, log_density.astype(np.float64))
