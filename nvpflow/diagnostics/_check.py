"""A check of a fit, from held-out rows to the report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nvpflow._typing import ArrayLike, Floats, Ints, Seed
from nvpflow._validation.arguments import check_random_state, draw_seeds
from nvpflow.diagnostics._baselines import baselines
from nvpflow.diagnostics._tables import Draws, column_kinds, draw_each, draw_table, draw_together, read_rows, renamed
from nvpflow.diagnostics._two_sample import MOST_ROWS, two_sample_tests
from nvpflow.diagnostics._uniformity import (
    binomial_p_value,
    expected_distance,
    kolmogorov_distance,
    kolmogorov_p_value,
    pit,
)
from nvpflow.diagnostics._verdicts import is_misfit, verdicts
from nvpflow.diagnostics.report import CheckReport, ColumnCheck, Comparison, Coverage, TwoSampleTest

if TYPE_CHECKING:
    from nvpflow.density import FlowDensity
    from nvpflow.diagnostics._tables import ColumnKind

__all__ = ["check_density"]

LEAST_ROWS = 20
DRAWS_PER_ROW, FEWEST_DRAWS, MOST_DRAWS = 10, 10_000, 200_000  # without a context: of ranks, which all rows share
DRAWS_EACH = 199  # with a context
LEVELS = 0.5, 0.9


class _Rows(NamedTuple):
    """Held-out rows."""

    table: Floats  # (n, D), completed
    log_density: Floats  # (n,), of what was not missing
    context: Floats | None  # (n, C), as the flow reads it
    missing: int  # the number of cells that were filled


class _Ranks(NamedTuple):
    """Where held-out rows are among samples."""

    columns: Floats  # (n, D), uniform for a right model
    density: Floats  # (n,)
    n_draws: int
    size: float  # the number of rows that this is worth
    nll: tuple[float, float]  # of the samples, and its error


def check_density(
    model: FlowDensity,
    X: ArrayLike,
    context: ArrayLike | None,
    X_train: ArrayLike | None,
    context_train: ArrayLike | None,
    random_state: Seed,
    names: list[str] | None = None,
) -> CheckReport:
    """The report on a model. `names` of columns: None for those of the fit, or else x0, x1, ..."""
    model._check_fitted()
    seeds = draw_seeds(0 if check_random_state("random_state", random_state) is None else random_state, 5)
    if X_train is None and context_train is not None:
        raise ValueError(f"context_train must be None without X_train, got a {type(context_train).__name__}")
    notes: list[str] = []
    rows = _read(model, X, context, seeds[0])
    compared = _baselines(model, rows, X_train, context_train, seeds[1], notes)
    ranks = _ranks(model, rows, seeds[2])
    numbered = [f"x{i}" for i in range(model.n_features_in_)]
    names = names or [str(name) for name in getattr(model, "feature_names_in_", numbered)]
    columns = [_column(names[of.place], of, u, ranks) for of, u in zip(column_kinds(model), ranks.columns.T)]
    density = None if rows.missing else _with_regions(ranks)
    two_sample = _two_sample(model, rows, context, seeds[3])
    notes += _notes(model, rows, columns)
    has_density = np.isfinite(rows.log_density)
    nll, nll_error = _mean(-rows.log_density)
    nll_of_samples, nll_of_samples_error = (math.nan, math.nan) if rows.missing else ranks.nll
    report = CheckReport(
        n_rows=len(rows.table),
        n_samples=ranks.n_draws,
        n_effective=ranks.size,
        n_without_density=int((~has_density).sum()),
        nll=nll,
        nll_error=nll_error,
        nll_of_samples=nll_of_samples,
        nll_of_samples_error=nll_of_samples_error,
        baselines=compared,
        density=density,
        columns=tuple(columns),
        two_sample=two_sample,
        verdicts=(),
        notes=tuple(notes),
        has_misfit=is_misfit(density, columns, two_sample),
    )
    return verdicts(report, _n_known(model, rows, X_train))


def _read(model: FlowDensity, X: ArrayLike, context: ArrayLike | None, seed: int) -> _Rows:
    with renamed(X="X_held_out"):
        log_density = model.score_samples(X, context=context).astype(np.float64)
        if len(log_density) < LEAST_ROWS:
            raise ValueError(f"X_held_out must have at least {LEAST_ROWS} rows, got {len(log_density)}")
        table = read_rows(model, X)
    missing = np.isnan(table)
    if missing.any():
        given = model._context_of_incomplete(context, len(table))
        table = model._incomplete_model().draw(table, given, 1, np.random.default_rng(seed))[:, 0]
    return _Rows(table, log_density, model._check_context(context, len(table)), int(missing.sum()))


def _ranks(model: FlowDensity, rows: _Rows, seed: int) -> _Ranks:
    rng, n = np.random.default_rng(seed), len(rows.table)
    if rows.context is None or not model._count_context():
        n_draws = int(np.clip(DRAWS_PER_ROW * n, FEWEST_DRAWS, MOST_DRAWS))
        draws = draw_together(model, n_draws, seed)
        columns, density = _rank(rows, np.arange(n), draws, rng)
        return _Ranks(columns, density, n_draws, n * n_draws / (n + n_draws), _mean(-draws.log_density))
    columns, density, nll = np.empty_like(rows.table), np.empty(n), np.empty(n)
    for part, draws in draw_each(model, DRAWS_EACH, seed, rows.context):
        columns[part], density[part] = _rank(rows, part, draws, rng)
        nll[part] = -draws.log_density.mean(axis=1)
    # The contexts are the same, so the spread over them is no error; that of the draws is small beside that of the rows.
    return _Ranks(columns, density, DRAWS_EACH, float(n), (float(nll.mean()), _mean(nll)[1]))


def _rank(rows: _Rows, part: Ints, draws: Draws, rng: np.random.Generator) -> tuple[Floats, Floats]:
    columns = [pit(column, draws.table[..., d], rng) for d, column in enumerate(rows.table[part].T)]
    return np.stack(columns, axis=1), pit(rows.log_density[part], draws.log_density, rng)


def _column(name: str, of: ColumnKind, u: Floats, ranks: _Ranks) -> ColumnCheck:
    """The check of a column, with its central intervals."""
    inside = [] if of.kind is None else [(level, np.abs(u - 0.5) <= level / 2) for level in LEVELS]
    return _checked(name, of.word, u, ranks, tuple(_coverage(level, float(is_in.mean()), ranks) for level, is_in in inside))


def _with_regions(ranks: _Ranks) -> ColumnCheck:
    """The check of the log-density, with the regions of highest density."""
    coverage = tuple(_coverage(level, float((ranks.density >= 1 - level).mean()), ranks) for level in LEVELS)
    return _checked("log-density", "log-density", ranks.density, ranks, coverage)


def _checked(name: str, kind: str, u: Floats, ranks: _Ranks, coverage: tuple[Coverage, ...]) -> ColumnCheck:
    distance, expected = kolmogorov_distance(u), expected_distance(ranks.size)
    return ColumnCheck(name, kind, u, distance, expected, kolmogorov_p_value(distance, ranks.size), coverage)


def _coverage(level: float, share: float, ranks: _Ranks) -> Coverage:
    error = math.sqrt(level * (1 - level) / ranks.size)
    return Coverage(level, share, error, binomial_p_value(share, level, ranks.size))


def _two_sample(model: FlowDensity, rows: _Rows, context: ArrayLike | None, seed: int) -> tuple[TwoSampleTest, ...]:
    """Held-out rows against samples given the same contexts."""
    samples = draw_table(model, len(rows.table), seed, context)
    rng = np.random.default_rng(seed)
    some = np.sort(rng.permutation(len(samples))[:MOST_ROWS])
    held_out, drawn = (_features(model, table[some]) for table in (rows.table, samples))
    if rows.context is not None:
        held_out, drawn = (np.hstack([one, rows.context[some]]) for one in (held_out, drawn))
    return two_sample_tests(held_out, drawn, rng)


def _features(model: FlowDensity, table: Floats) -> Floats:
    """Columns for classifiers: angles by cosine and sine, categories by indicators."""
    parts = []
    for of, column in zip(column_kinds(model), table.T):
        if of.kind is None:
            parts.append(column[:, None] == np.arange(1, of.n_values))
        elif of.kind.turn:
            turned = 2 * np.pi * column / of.kind.turn
            parts.append(np.stack([np.cos(turned), np.sin(turned)], axis=1))
        else:
            parts.append(column[:, None])
    return np.hstack(parts).astype(np.float64)


def _baselines(
    model: FlowDensity, rows: _Rows, X_train: ArrayLike | None, context_train: ArrayLike | None, seed: int, notes: list[str]
) -> tuple[Comparison, ...]:
    """Comparisons with baselines. Where they are left out, a note says why."""
    if X_train is None:
        notes.append("no baselines: they need X_train")
        return ()
    with renamed(X="X_train", context="context_train"):
        train = read_rows(model, X_train)
        given = model._check_context(context_train, len(train))
    whole = [of.word for of in column_kinds(model) if of.word in ("integer", "category")]
    if whole:
        notes.append("no baselines: probabilities of whole numbers and categories do not compare with their densities")
        return ()
    if rows.missing or np.isnan(train).any():
        notes.append("no baselines: they need rows without missing cells")
        return ()
    if len(train) < 2:
        raise ValueError(f"X_train must have at least 2 rows, got {len(train)}")
    dim = train.shape[1]
    held_out = rows.table if rows.context is None else np.hstack([rows.table, rows.context])
    fitted = baselines(train if given is None else np.hstack([train, given]), dim, seed)
    return tuple(_compare(name, one.log_prob(held_out), rows.log_density) for name, one in fitted.items())


def _compare(name: str, baseline: Floats, log_density: Floats) -> Comparison:
    """Means over the rows that the model gives a density."""
    kept = np.isfinite(log_density)
    return Comparison(name, *_mean(-baseline[kept]), *_mean((log_density - baseline)[kept]))


def _n_known(model: FlowDensity, rows: _Rows, X_train: ArrayLike | None) -> int:
    """The number of held-out rows that are training rows as well, of a model of real numbers alone."""
    words = {of.word for of in column_kinds(model)}
    if X_train is None or not words <= {"real", "bounded", "angle"}:
        return 0
    known = {row.tobytes() for row in read_rows(model, X_train)}
    return sum(row.tobytes() in known for row in rows.table)


def _notes(model: FlowDensity, rows: _Rows, columns: list[ColumnCheck]) -> list[str]:
    notes, kinds = [], {one.kind for one in columns}
    if rows.missing:
        notes.append(
            f"draws of the model fill {rows.missing} missing cells, which hides misfit; the log-density is not checked"
        )
    if "category" in kinds:
        notes.append("categories are taken in the order of their codes, and have no intervals")
    if "angle" in kinds:
        notes.append("intervals of angles begin where the range of the column begins")
    if len(rows.table) > MOST_ROWS:
        notes.append(f"classifiers read {MOST_ROWS} of the rows, at random")
    return notes


def _mean(values: Floats) -> tuple[float, float]:
    """The mean of the finite values and its standard error; NaN where there are too few."""
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return (float(values.mean()) if len(values) else math.nan), math.nan
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))
