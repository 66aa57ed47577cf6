"""What is significant in a report, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from nvpflow.diagnostics.report import LEVEL, CheckReport, ColumnCheck, TwoSampleTest

__all__ = ["is_misfit", "verdicts"]

FAR = 3.0  # standard errors, beyond which a difference from a baseline is significant
NEGLIGIBLE = 0.001  # nats: rounding in float32 is below
MOST_COLUMNS = 20  # with a line each


def verdicts(report: CheckReport, n_known: int) -> CheckReport:
    """The report, with its sentences. `n_known`: the number of held-out rows that the model was fitted to."""
    return replace(report, verdicts=tuple(_lines(report, n_known)))


def is_misfit(density: ColumnCheck | None, columns: Sequence[ColumnCheck], two_sample: Sequence[TwoSampleTest]) -> bool:
    """Whether a test is significant, with a probability of at most LEVEL for a right model."""
    of_columns, of_tests = _levels(density, columns, two_sample)
    checks = [*columns, *([density] if density else [])]
    return any(min(one.p_values) < of_columns for one in checks) or any(one.p_value < of_tests for one in two_sample)


def _levels(
    density: ColumnCheck | None, columns: Sequence[ColumnCheck], two_sample: Sequence[TwoSampleTest]
) -> tuple[float, float]:
    """The levels of single tests of columns, and of classifiers: half of LEVEL is shared out over each."""
    n_of_columns = sum(len(one.p_values) for one in [*columns, *([density] if density else [])])
    return LEVEL / 2 / max(1, n_of_columns), LEVEL / 2 / max(1, len(two_sample))


def _lines(report: CheckReport, n_known: int) -> Iterator[str]:
    n = report.n_rows
    if report.n_without_density:
        yield f"{report.n_without_density} of {n} held-out rows have no density: the log-likelihood of all rows is -inf"
    if n_known:
        yield f"{n_known} of {n} held-out rows are training rows as well: the model looks better than it is"
    for one in report.baselines:
        if abs(one.gain) > max(FAR * one.gain_error, NEGLIGIBLE):
            word = "better" if one.gain > 0 else "worse"
            yield f"the model is {word} than the {one.name}, by {abs(one.gain):.3f} ± {one.gain_error:.3f} nats"
    of_columns, of_tests = _levels(report.density, report.columns, report.two_sample)
    if report.density is not None and min(report.density.p_values) < of_columns:
        yield _of_density(report.density)
    far = [one for one in report.columns if min(one.p_values) < of_columns]
    yield from map(_of_column, far[:MOST_COLUMNS])
    if len(far) > MOST_COLUMNS:
        yield f"{len(far) - MOST_COLUMNS} more columns are not distributed like samples of the model"
    for test in report.two_sample:
        if test.p_value < of_tests:
            yield f"a classifier ({test.name}) tells held-out rows from samples: AUC {test.auc:.3f} ± {test.error:.3f}"


def _of_density(check: ColumnCheck) -> str:
    """Which way the regions of highest density are wrong."""
    worst = min(check.coverage, key=lambda one: one.p_value)
    if worst.p_value > LEVEL:
        return f"log-densities are not distributed like those of samples: Kolmogorov distance {_distance(check)}"
    region, word = f"region of {100 * worst.level:.0f} %", "sure of itself" if worst.share < worst.level else "spread out"
    return f"the model is too {word}: its {region} holds {100 * worst.share:.1f} ± {100 * worst.error:.1f} % of the rows"


def _of_column(check: ColumnCheck) -> str:
    line = f"column {check.name} is not distributed like samples of the model: Kolmogorov distance {_distance(check)}"
    return line + "".join(f", interval of {one}" for one in check.coverage if one.p_value < LEVEL)


def _distance(check: ColumnCheck) -> str:
    return f"{check.distance:.3f} where {check.expected_distance:.3f} is expected"
