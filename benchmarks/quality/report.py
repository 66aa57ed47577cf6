"""What the figures say: each cell, the ranks of the models, and where nvpflow is behind.

A cell is data and a number of samples. The figure of a model in it is the median over random states. Two models are compared
by paired differences: state by state, on the same samples.
"""

import math
import statistics
from typing import NamedTuple

from quality.data import DATA, HALVES
from quality.models import OURS, SIMPLE
from quality.results import nats

MARGIN = 0.05  # nats
ROUNDING = 1e-4  # nats that float32 may cost in 50 dimensions


def paired_difference(ours, others):
    """Mean and standard error of ours - theirs over the states, {state: nats}, that both have; 0 as error of one state."""
    differences = [
        0.0 if ours[state] == others[state] else ours[state] - others[state] for state in ours.keys() & others.keys()
    ]
    for infinite in (math.inf, -math.inf):
        if infinite in differences:
            return infinite, 0.0
    error = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return statistics.fmean(differences), error


def ranks(cell):
    """{model: rank}, from 1, of {model: {state: nats}}; models that tie share their mean rank."""
    figures = {model: statistics.median(values.values()) for model, values in cell.items()}
    return {
        model: sum(other < figure for other in figures.values()) + (sum(other == figure for other in figures.values()) + 1) / 2
        for model, figure in figures.items()
    }


def best_of(cell, models):
    """The model of `models` that is furthest ahead of nvpflow, or least behind, on the states that both have; or None."""
    shared = [model for model in models if model != OURS and cell[OURS].keys() & cell.get(model, {}).keys()]

    def lead(model):
        # Where nvpflow has no finite figure, the leads of all finite ones tie.
        return paired_difference(cell[OURS], cell[model])[0], -statistics.median(cell[model].values())

    return max(shared, key=lead, default=None)


def is_near_best(cell):
    """Whether nvpflow is the best or within one standard error of the paired difference to the best other model."""
    best = best_of(cell, cell)
    if best is None:
        return True
    difference, error = paired_difference(cell[OURS], cell[best])
    return difference <= max(error, ROUNDING)


def behind_simple(cell):
    """(model, difference, error) if nvpflow is worse than the best simple model by more than the margin or two errors."""
    best = best_of(cell, SIMPLE)
    if best is None:
        return None
    difference, error = paired_difference(cell[OURS], cell[best])
    is_significant = error > 0 and difference > max(2 * error, ROUNDING)  # one state has no error
    return (best, difference, error) if difference > MARGIN or is_significant else None


class Summary(NamedTuple):
    """Of the cells of one half: {model: (mean rank, cells)}, the share of cells near the best, and cells that are behind."""

    mean_ranks: dict[str, tuple[float, int]]
    share_near_best: float
    behind: list[tuple[tuple[str, int], str, float, float]]


def summarize(cells):
    """The summary of {(data, n): {model: {state: nats}}}; what compares with nvpflow leaves out cells without it."""
    all_ranks = {}
    for cell in cells.values():
        for model, rank in ranks(cell).items():
            all_ranks.setdefault(model, []).append(rank)
    compared = {key: cell for key, cell in cells.items() if OURS in cell and len(cell) > 1}
    near = [is_near_best(cell) for cell in compared.values()]
    behind = [(key, *found) for key, cell in compared.items() if (found := behind_simple(cell))]
    mean_ranks = {model: (statistics.fmean(values), len(values)) for model, values in all_ranks.items()}
    return Summary(mean_ranks, statistics.fmean(near) if near else math.nan, behind)


def collect(cells, results, stored):
    """{(data, n): {model: {state: figure}}}: a model's figures of this run, or else the stored ones."""
    found = {(data, n): stored.of(data, n) | results.of(data, n) for data, n in cells}
    return {key: cell for key, cell in found.items() if cell}


def print_report(figures):
    """Both halves, apart, of {(data, n): {model: {state: figure}}}."""
    for half in HALVES:
        cells = {
            key: {model: nats(of) for model, of in cell.items()} for key, cell in figures.items() if DATA[key[0]].half == half
        }
        if cells:
            print(f"\n# Half {half!r}: nats above the exact density; of tables, negative log-likelihood in nats\n")
            _print_cells(cells)
            _print_summary(summarize(cells))


def _print_cells(cells):
    models = list({model: None for cell in cells.values() for model in cell})
    widths = [max(9, len(model)) for model in models]
    print(f"{'data':22s} {'n':>6s}  " + "  ".join(f"{model:>{width}s}" for model, width in zip(models, widths)))
    for (data, n), cell in cells.items():
        figures = [f"{statistics.median(cell[model].values()):.4f}" if model in cell else "-" for model in models]
        print(f"{data:22s} {n:6d}  " + "  ".join(f"{figure:>{width}s}" for figure, width in zip(figures, widths)))


def _print_summary(summary):
    print("\nmean rank, and in how many cells:")
    for model, (rank, n_cells) in sorted(summary.mean_ranks.items(), key=lambda item: item[1][0]):
        print(f"  {model:24s} {rank:6.2f} {n_cells:5d}")
    if math.isnan(summary.share_near_best):
        return
    print(f"{OURS} is the best or within one paired standard error of the best in {summary.share_near_best:.0%} of its cells")
    print(
        f"cells where it is behind the best of {', '.join(SIMPLE)} by more than {MARGIN} nats or two paired standard errors:"
    )
    for (data, n), model, difference, error in summary.behind:
        print(f"  {data:22s} {n:6d}  {difference:+.4f} +- {error:.4f}  {model}")
    if not summary.behind:
        print("  none")


def print_details(figures):
    """Of each cell and model: median, worst state, seconds, states, worst share of samples outside the support, software."""
    for (data, n), cell in figures.items():
        print(f"\n{data}, {n} samples")
        print(f"  {'':24s} {'median':>9s} {'worst':>9s} {'CPU s':>9s} {'states':>7s} {'outside':>8s}")
        for model, of in sorted(cell.items(), key=lambda item: statistics.median(nats(item[1]).values())):
            values, seconds = nats(of).values(), statistics.median(figure["cpu_seconds"] for figure in of.values())
            shares = [figure["outside"] for figure in of.values() if "outside" in figure]
            outside = f"{max(shares):.2%}" if shares else "-"
            software = ", ".join(sorted({figure["software"] for figure in of.values()}))
            print(
                f"  {model:24s} {statistics.median(values):9.4g} {max(values):9.4g} {seconds:9.3g} {len(of):7d} "
                f"{outside:>8s}  {software}"
            )
