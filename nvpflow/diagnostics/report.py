"""What a check of a fit found."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from nvpflow._display import CELL_STYLE, TABLE_STYLE
from nvpflow._typing import Floats

__all__ = ["CheckReport", "ColumnCheck", "Comparison", "Coverage", "TwoSampleTest"]

Rows: TypeAlias = list[tuple[str, ...]]

LEVEL = 0.05  # of all tests together
SHOWN_COLUMNS = 30


@dataclass(frozen=True)
class Coverage:
    """How many held-out rows are in an interval, or a region, that holds a given share of the model.

    Attributes
    ----------
    level : float
        The share of the model.
    share, error : float
        The share of the rows, and its standard error if the model is right.
    p_value : float
        Two-sided.
    """

    level: float
    share: float
    error: float
    p_value: float

    def __str__(self) -> str:
        return f"{100 * self.level:.0f} %: {100 * self.share:.1f} ± {100 * self.error:.1f} %"


@dataclass(frozen=True, eq=False)
class ColumnCheck:
    """A column of held-out rows beside that of samples of the model.

    Attributes
    ----------
    name : str
    kind : {"real", "bounded", "integer", "angle", "category", "log-density"}
    pit : ndarray of float64, shape (n,)
        Uniform for a right model.
    distance, expected_distance : float
        Kolmogorov's distance of `pit` from the uniform distribution, and its mean for a right model.
    p_value : float
        Of the distance.
    coverage : tuple of Coverage
        Of the central intervals of 50 and 90 %, or of the regions of highest density. Empty for categories.
    """

    name: str
    kind: str
    pit: Floats
    distance: float
    expected_distance: float
    p_value: float
    coverage: tuple[Coverage, ...]

    @property
    def p_values(self) -> tuple[float, ...]:
        return self.p_value, *(one.p_value for one in self.coverage)


@dataclass(frozen=True)
class Comparison:
    """A simple density, fitted to the training rows, beside the model.

    Attributes
    ----------
    name : str
    nll, nll_error : float
        Its mean held-out negative log-likelihood, in nats, and the standard error.
    gain, gain_error : float
        How much lower that of the model is, in nats, and the standard error of the paired difference.
    """

    name: str
    nll: float
    nll_error: float
    gain: float
    gain_error: float


@dataclass(frozen=True)
class TwoSampleTest:
    """A classifier of held-out rows and samples of the model.

    Attributes
    ----------
    name : str
    n_rows : int
        The number of rows, and of samples.
    auc, error : float
        The area under the ROC curve, 0.5 for a right model, and its standard error for a right model.
    p_value : float
        One-sided.
    """

    name: str
    n_rows: int
    auc: float
    error: float
    p_value: float


@dataclass(frozen=True, eq=False)
class CheckReport:
    """What `FlowDensity.check` found. `print` shows it as text, and notebooks as tables.

    Attributes
    ----------
    n_rows, n_samples : int
        The number of held-out rows, and of samples of the model: for each row if there is a context, or else for all.
    n_effective : float
        The number of rows that the errors of columns are worth, because samples have errors as well.
    n_without_density : int
        Rows with a log-density of minus infinity, which the next six leave out.
    nll, nll_error : float
        The mean negative log-likelihood (NLL) of the held-out rows, in nats, and its standard error.
    nll_of_samples, nll_of_samples_error : float
        The same for samples of the model: its entropy. Lower than `nll` if the model is too sure of itself. NaN if the
        held-out rows have missing cells.
    baselines : tuple of Comparison
    density : ColumnCheck or None
        Of the log-density: do the regions of highest density hold what they should?
    columns : tuple of ColumnCheck
    two_sample : tuple of TwoSampleTest
    verdicts : tuple of str
        What is significant, in words.
    notes : tuple of str
        What was left out, or is to be kept in mind.
    has_misfit : bool
        Whether a check of columns, of the log-density or of a classifier is significant. For a right model with a
        probability of at most 5 %.
    """

    n_rows: int
    n_samples: int
    n_effective: float
    n_without_density: int
    nll: float
    nll_error: float
    nll_of_samples: float
    nll_of_samples_error: float
    baselines: tuple[Comparison, ...]
    density: ColumnCheck | None
    columns: tuple[ColumnCheck, ...]
    two_sample: tuple[TwoSampleTest, ...]
    verdicts: tuple[str, ...]
    notes: tuple[str, ...]
    has_misfit: bool

    def __str__(self) -> str:
        return "\n".join(line for title, rows in self._sections() for line in [title, *_aligned(rows)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = (f"<div>{html.escape(title)}</div>{_html_table(rows)}" for title, rows in self._sections())
        return f"<div><b>{type(self).__name__}</b>{''.join(parts)}</div>"

    def _sections(self) -> Iterator[tuple[str, Rows]]:
        """Titles, and rows of cells."""
        n_with = self.n_rows - self.n_without_density
        of_rest = f", of the {n_with} that have a density" * (self.n_without_density > 0)
        yield f"Held-out NLL in nats, {self.n_rows} rows{of_rest}", self._of_likelihoods()
        checks = [*([self.density] if self.density is not None else []), *self.columns]
        shown = checks if len(checks) <= SHOWN_COLUMNS else sorted(checks, key=lambda one: min(one.p_values))[:SHOWN_COLUMNS]
        least = f", the {len(shown)} least likely of {len(checks)}" * (len(shown) < len(checks))
        yield f"Columns beside samples{least}: Kolmogorov distance (expected), coverage", list(map(_of_column, shown))
        if self.two_sample:
            rows: Rows = [(one.name, f"{one.auc:.4f} ± {one.error:.4f}") for one in self.two_sample]
            n = self.two_sample[0].n_rows
            yield f"Classifiers of {n} rows and as many samples: AUC, 0.5 for a right model", rows
        yield "Findings", [(line,) for line in self.verdicts or ("nothing significant",)]
        if self.notes:
            yield "Notes", [(line,) for line in self.notes]

    def _of_likelihoods(self) -> Rows:
        rows: Rows = [("model", f"{self.nll:.4f} ± {self.nll_error:.4f}", "")]
        if not math.isnan(self.nll_of_samples):
            rows.append(("samples of the model", f"{self.nll_of_samples:.4f} ± {self.nll_of_samples_error:.4f}", ""))
        for one in self.baselines:
            gain = f"model {'better' if one.gain >= 0 else 'worse'} by {abs(one.gain):.4f} ± {one.gain_error:.4f}"
            rows.append((one.name, f"{one.nll:.4f} ± {one.nll_error:.4f}", gain))
        return rows


def _of_column(check: ColumnCheck) -> tuple[str, ...]:
    return check.name, f"{check.distance:.4f} ({check.expected_distance:.4f})", *map(str, check.coverage or ("", ""))


def _html_table(rows: Rows) -> str:
    style = f"{CELL_STYLE}; text-align: left"
    cells = ("".join(f'<td style="{style}">{html.escape(cell)}</td>' for cell in row) for row in rows)
    return f'<table style="{TABLE_STYLE}">{"".join(f"<tr>{line}</tr>" for line in cells)}</table>'


def _aligned(rows: Rows) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
