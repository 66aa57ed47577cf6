"""The report of a check as a figure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nvpflow.diagnostics.report import CheckReport, ColumnCheck
from nvpflow.plot._canvas import BLUE, GREY, RED, open_frame, panels
from nvpflow.plot._checks import AxesLike
from nvpflow.plot._latent import _band, _ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from nvpflow._typing import Floats, Ints

MOST_CHECKS = 26  # in one figure; of more, the least likely
LEVEL = 0.95  # of each band
LONGEST = 16  # letters of names
MOST_UPRIGHT = 4  # names under the panel of coverage; more are turned


def diagnostics(report: CheckReport, *, axes: AxesLike | None = None) -> Figure:
    """The report of `FlowDensity.check` as a figure.

    A panel for the log-density and for each column shows how far the ranks of held-out values among samples of the model are
    from uniform ones. For a right model, a whole curve is inside of its band with a probability of 95 %; other curves are red.
    A curve above zero where it begins, and below zero where it ends, means that held-out values are less spread than
    samples; the other way round, that they are more spread. Two more panels show the coverage of central intervals, or
    of regions of highest density, and the negative log-likelihoods, with standard errors.

    Parameters
    ----------
    report : CheckReport
    axes : array_like of matplotlib Axes, optional
        One for the log-density, if the report has it, one for each column, and two more. Default: a new figure. Of more than
        26, it has the least likely ones.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError, ValueError

    References
    ----------
    Säilynoja, Bürkner and Vehtari (2022), "Graphical test for discrete uniformity and its applications in goodness-of-fit
    evaluation and multiple sample comparison"; Aldor-Noiman et al. (2013), "The power to see: a new graphical test of
    normality", for the bands.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> from nvpflow import plot
    >>> X = np.random.default_rng(0).normal(size=(600, 2))
    >>> model = nvpflow.FlowDensity(2, 8, max_iter=2, random_state=0).fit(X[:300])
    >>> figure = plot.diagnostics(model.check(X[300:]))
    """
    if not isinstance(report, CheckReport):
        raise TypeError(f"report must be a CheckReport, as FlowDensity.check returns, got {type(report).__name__}")
    checks = [*([report.density] if report.density is not None else []), *report.columns]
    if len(checks) > MOST_CHECKS:
        least = sorted(range(len(checks)), key=lambda i: min(checks[i].p_values))[:MOST_CHECKS]
        checks = [checks[i] for i in sorted(least)]
    count = len(checks) + 2
    columns = 3 if count in (5, 6, 9) else min(count, 4)  # the fewest empty places
    figure, axes = panels(axes, count, columns, width=3.3 * columns, shape=0.7, gap=0.8)
    ranks = _ranks(report.n_rows)
    # Samples have errors as well, which widen the band.
    low, high = (
        (end - ranks / (report.n_rows + 1)) * math.sqrt(report.n_rows / report.n_effective)
        for end in _band(ranks, report.n_rows, LEVEL)
    )
    for ax, check in zip(axes, checks):
        _draw_ranks(ax, check, ranks, low, high)
    _draw_coverage(axes[-2], [check for check in checks if check.coverage])
    _draw_likelihoods(axes[-1], report)
    return figure


def _draw_ranks(ax: Axes, check: ColumnCheck, ranks: Ints, low: Floats, high: Floats) -> None:
    expected = ranks / (len(check.pit) + 1)
    difference = np.sort(check.pit)[ranks - 1] - expected
    within = bool(((difference >= low) & (difference <= high)).all())
    ax.fill_between(expected, low, high, color=GREY, alpha=0.3, lw=0)
    ax.axhline(0, color=GREY, lw=1)
    ax.plot(expected, difference, color=BLUE if within else RED, lw=1.5)
    reach = 1.25 * max(float(np.abs([low, high]).max()), float(np.abs(difference).max()))
    ax.set(xlim=(0, 1), ylim=(-reach, reach), xlabel="expected rank", ylabel="rank - expected")
    ax.set_title(f"{_short(check.name)}: distance {check.distance:.3f}", fontsize="medium")
    open_frame(ax)


def _draw_coverage(ax: Axes, checks: list[ColumnCheck]) -> None:
    places = np.arange(len(checks))
    levels = sorted({one.level for check in checks for one in check.coverage})
    for level in levels:
        ax.axhline(level, color=GREY, lw=1)
        found = [next(one for one in check.coverage if one.level == level) for check in checks]
        for place, one in zip(places, found):
            colour = RED if abs(one.share - level) > 3 * one.error else BLUE
            ax.errorbar(place, one.share, yerr=2 * one.error, color=colour, fmt="o", ms=3, lw=1.3)
    ax.set(xlim=(-0.6, len(checks) - 0.4), ylim=(0, 1.05), ylabel="share of held-out rows")
    ax.set_yticks([0, *levels, 1])
    ax.set_xticks(places, [_short(check.name) for check in checks], fontsize="small")
    if len(checks) > MOST_UPRIGHT:
        ax.tick_params(axis="x", rotation=90)
    ax.set_title("coverage ± 2 errors", fontsize="medium")
    open_frame(ax)


def _draw_likelihoods(ax: Axes, report: CheckReport) -> None:
    rows = [("model", report.nll, report.nll_error, BLUE)]
    rows += [("its samples", report.nll_of_samples, report.nll_of_samples_error, GREY)]
    rows += [(one.name.replace(" ", "\n"), one.nll, one.nll_error, RED) for one in report.baselines]
    rows = [row for row in rows if math.isfinite(row[1])]
    for place, (_, nll, error, colour) in enumerate(rows):
        ax.errorbar(nll, place, xerr=2 * error, color=colour, fmt="o", ms=4, lw=1.5)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="nats")
    ax.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize="small")
    ax.locator_params(axis="x", nbins=4)
    ax.set_title("NLL ± 2 errors", fontsize="medium")
    open_frame(ax)


def _short(name: str) -> str:
    return (name if len(name) <= LONGEST else f"{name[: LONGEST - 3]}...").replace("$", r"\$")
