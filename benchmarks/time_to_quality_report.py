"""The tables and the chart of benchmarks/time_to_quality.py."""

import math
import statistics
from typing import NamedTuple

from quality.data import DATA
from quality.models import OURS
from time_to_quality_curves import CUT

FLOWS = ("zuko NSF", "nflows spline", "normflows spline")
SEARCH = "GaussianMixture"
TIMES = 20


class Until(NamedTuple):
    """Seconds until a curve is near the best, infinite if never; those of the whole run; whether the benchmark cut it."""

    seconds: float
    run: float
    is_cut: bool

    def __str__(self):
        if math.isfinite(self.seconds):
            return short(self.seconds)
        return f"> {short(self.run)}" if self.is_cut else f"never, {short(self.run)}"


def short(value):
    """Two digits, or all before the point."""
    return f"{value:.2g}" if value < 99.5 else f"{value:.0f}"


def common_states(by_name):
    """Those in which all models of a cell were run: what is the best of a state depends on who was there."""
    return sorted(set.intersection(*(set(by_state) for by_state in by_name.values())))


def until_near_best(by_name, within):
    """{model: Until} of a cell, {model: {state: curve}}: medians over the states."""
    seconds = {name: [] for name in by_name}
    states = common_states(by_name)
    for state in states:
        best = min(by_state[state].best for by_state in by_name.values())
        for name, by_state in by_name.items():
            seconds[name].append(by_state[state].seconds_until(best + within) if math.isfinite(best) else math.inf)
    return {
        name: Until(
            statistics.median(values),
            statistics.median(by_name[name][state].seconds for state in states),
            any(by_name[name][state].end == CUT for state in states),
        )
        for name, values in seconds.items()
        if values
    }


class Comparison(NamedTuple):
    """Our default fit beside others: seconds until near the best of ours and of the first flow of a peer; the search by BIC.

    `flow` is infinite if no flow gets there. Then `flow_ran` are the seconds of the flow that gave up, or was cut, first.
    """

    ours: float
    flow: float
    flow_ran: float
    search: Until

    @property
    def is_near(self):
        return math.isfinite(self.ours)

    @property
    def has_flow(self):
        return math.isfinite(self.flow)

    @property
    def times_of_flow(self):
        """How many times ours the flow takes, or did not get there in."""
        return (self.flow if self.has_flow else self.flow_ran) / self.ours

    @property
    def times_of_search(self):
        """How many times ours the whole search takes, wherever it ends."""
        return self.search.run / self.ours


def compare(untils):
    """Of {model: Until} of a cell, or None if ours or all flows are missing."""
    flows = [untils[name] for name in FLOWS if name in untils]
    if OURS not in untils or SEARCH not in untils or not flows:
        return None
    flow, ran = min(one.seconds for one in flows), min(one.run for one in flows)
    return Comparison(untils[OURS].seconds, flow, ran, untils[SEARCH])


def print_table(cells, names):
    """Of {(data, n): {model: text}}."""
    print("| data | n | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 2) + "|")
    for (data, n), by_name in cells.items():
        print(f"| {data} | {n} | " + " | ".join(by_name.get(name, "") for name in names) + " |")


def print_report(curves, names, within):
    """Of {(data, n): {model: {state: curve}}}."""
    names = [name for name in names if any(name in by_name for by_name in curves.values())]
    untils = {cell: until_near_best(by_name, within) for cell, by_name in curves.items()}
    print(f"Seconds of one core until within {within} nats of the best:\n")
    print_table({cell: {name: str(until) for name, until in of.items()} for cell, of in untils.items()}, names)
    print("\nSeconds of the whole fit, and nats in the end:\n")
    print_table({cell: _ends(by_name) for cell, by_name in curves.items()}, names)
    found = {cell: compare(of) for cell, of in untils.items()}
    _print_comparison({cell: one for cell, one in found.items() if one})


def _ends(by_name):
    found, states = {}, common_states(by_name)
    for name, by_state in by_name.items():
        if states:
            seconds, nats = (statistics.median(getattr(by_state[s], field) for s in states) for field in ("seconds", "nats"))
            found[name] = f"{short(seconds)} s, {nats:.3f}"
    return found


def _print_comparison(found):
    if not found:
        return
    print("\nThe default fit until within these nats, beside the first flow of a peer and the search by BIC:\n")
    head = ("ours, s", "first flow, s", "times ours", "search, s", "its end, s", "times ours")
    print("| data | n | " + " | ".join(head) + " |\n" + "|---" * 8 + "|")
    for (data, n), one in found.items():
        flow = short(one.flow) if one.has_flow else f"none in {short(one.flow_ran)}"
        times = [short(times) if one.is_near else "" for times in (one.times_of_flow, one.times_of_search)]
        search = short(one.search.seconds) if math.isfinite(one.search.seconds) else "never"
        shown = short(one.ours) if one.is_near else "never", flow, times[0], search, short(one.search.run), times[1]
        print(f"| {data} | {n} | " + " | ".join(shown) + " |")
    near = [one for one in found.values() if one.is_near]
    late, absent = ([one.times_of_flow for one in near if one.has_flow is has] for has in (True, False))
    print(
        f"\nOurs is near the best in {len(near)} of {len(found)} cases. In {len(late)} of these a flow gets there as well, after at "
        f"least {TIMES} times the seconds in {_count(late)}; in {len(absent)} none does in its time, which is at least {TIMES} times "
        f"as long in {_count(absent)}. The search by BIC gets there later or never in {sum(one.search.seconds > one.ours for one in near)}, "
        f"and ends later in {sum(one.times_of_search > 1 for one in near)}."
    )


def _count(ratios):
    return sum(times >= TIMES for times in ratios)


def draw_chart(curves, names, path):
    """A panel for each data set; a curve for each model, of the first state. It stays where it ends, as far as the fit went on."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    n_columns = min(4, len(curves))
    n_rows = -(-len(curves) // n_columns)
    figure, panels = plt.subplots(n_rows, n_columns, figsize=(4 * n_columns, 3 * n_rows + 0.6), squeeze=False)
    for panel in panels.flat[len(curves) :]:
        panel.set_axis_off()
    for panel, (cell, by_name) in zip(panels.flat, curves.items()):
        _draw_panel(panel, cell, {name: by_name[name][min(by_name[name])] for name in names if name in by_name}, names)
    handles = {label: handle for panel in panels.flat for handle, label in zip(*panel.get_legend_handles_labels())}
    order = [name for name in names if name in handles]
    figure.legend(
        [handles[name] for name in order], order, loc="upper center", ncols=min(len(order), 2 * n_columns), frameon=False
    )
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.5 / figure.get_figheight()))
    figure.savefig(path, dpi=100)


def _draw_panel(panel, cell, by_name, names):
    from matplotlib import ticker

    data, n = cell
    best = []
    for name, curve in by_name.items():
        points = [point for point in curve.points if math.isfinite(point[1])]
        if not points:
            continue
        seconds, nats = zip(*points)
        best.append(min(nats))
        style = {"color": f"C{names.index(name)}", "zorder": 3 if name == OURS else 2}
        panel.step([*seconds, max(curve.seconds, seconds[-1])], [*nats, nats[-1]], where="post", label=name, **style)
        panel.plot(seconds, nats, "D" if name == OURS else ".", markersize=6 if len(nats) == 1 else 3, **style)
    if best:
        span = sorted(best)[len(best) // 2] - min(best)  # to the median of the models
        panel.set_ylim(min(best) - 0.15 * span - 0.005, min(best) + 2.5 * span + 0.05)
    panel.set(xscale="log", title=f"{data}, n = {n}", xlabel="seconds of one core")
    panel.set_ylabel("held-out gap, nats" if DATA[data].sort == "density" else "held-out NLL, nats")
    panel.xaxis.set_major_locator(ticker.LogLocator())
    panel.xaxis.set_major_formatter("{x:g}")
    panel.grid(alpha=0.3)
