"""Summaries of flows, layers and estimators: tables in text and, for notebooks, in HTML."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from nvpflow.mixture_base import MixtureBase

if TYPE_CHECKING:
    import numpy.typing as npt

    from nvpflow._typing import Floats
    from nvpflow.density import FlowDensity
    from nvpflow.ensemble import FlowEnsemble
    from nvpflow.flow import Flow
    from nvpflow.layers import Layer, Permutation
    from nvpflow.layers._coupling import Coupling
    from nvpflow.outliers import FlowOutlierDetector

__all__ = ["ensemble_html", "ensemble_summary", "estimator_html", "flow_html", "flow_summary", "layer_html"]

HEADINGS = "layer", "type", "columns", "networks", "parameters", "offset"
MEMBER_HEADINGS = "flow", "base", "weight", "layers", "parameters"
LEFT, MEMBER_LEFT = 4, 2  # the first columns hold words; the others hold numbers, aligned to the right
WIDEST = 16  # entries of a mask to show, and half as many of a permutation
FITTED = "n_features_in_", "n_samples_seen_", "n_iter_", "best_iter_", "offset_", "pool_", "shrinkage_"

# Inherited or half transparent colours suit light and dark pages.
TABLE_STYLE = "border-collapse: collapse; color: inherit; background: transparent"
CELL_STYLE = "padding: 0.1em 0.7em; border-bottom: 1px solid rgba(128, 128, 128, 0.4); background: transparent"


class Text(str):
    """A text that the interpreter shows line by line."""

    __repr__ = str.__str__


def flow_summary(flow: Flow) -> Text:
    """The table of a flow's layers, with totals, as text."""
    return _text_table([HEADINGS, *_layer_rows(flow)], LEFT, _totals(flow))


def ensemble_summary(ensemble: FlowEnsemble) -> Text:
    """The table of an ensemble's members, with totals, as text."""
    return _text_table([MEMBER_HEADINGS, *_member_rows(ensemble)], MEMBER_LEFT, _ensemble_totals(ensemble))


def _text_table(rows: list[tuple[str, ...]], left: int, totals: str) -> Text:
    """Rows under headings, the first `left` columns aligned to the left, and a last line."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        words = [word.ljust(width) for word, width in zip(row[:left], widths)]
        numbers = [number.rjust(width) for number, width in zip(row[left:], widths[left:])]
        lines.append("  ".join(words + numbers))
    rule = "-" * len(lines[0])
    return Text("\n".join([lines[0], rule, *lines[1:], rule, totals]))


def flow_html(flow: Flow) -> str:
    """The table of a flow's layers, with totals, in HTML."""
    return _box(flow, _table(_layer_rows(flow), HEADINGS) + html.escape(_totals(flow)))


def ensemble_html(ensemble: FlowEnsemble) -> str:
    """The table of an ensemble's members, and folded the layers of each, in HTML."""
    table = _table(_member_rows(ensemble), MEMBER_HEADINGS, left=MEMBER_LEFT) + html.escape(_ensemble_totals(ensemble))
    return _box(ensemble, table + "".join(_fold(f"flow {k}", flow_html(flow)) for k, flow in enumerate(ensemble)))


def layer_html(layer: Layer) -> str:
    """The configuration of a layer, its dtype and its size, in HTML."""
    shortened = {"mask": _columns(layer), "permutation": _columns(layer)}
    options = [(name, shortened.get(name, repr(value))) for name, value in layer.config().items() if name != "type"]
    return _box(layer, _table([*options, ("dtype", str(layer.dtype)), ("parameters", f"{layer.n_parameters:,}")]))


def estimator_html(estimator: FlowDensity | FlowOutlierDetector) -> str:
    """The parameters of an estimator, changed ones in bold, and the results of its fit, in HTML."""
    changed = estimator._changed_params()
    content = _table([(name, repr(value)) for name, value in estimator.get_params().items()], bold=changed)
    if not hasattr(estimator, "n_features_in_"):
        return _box(estimator, content, "not fitted")
    if not hasattr(estimator, "flow_"):  # of several densities
        results = [(name, _number(getattr(estimator, name))) for name in FITTED if hasattr(estimator, name)]
        return _box(estimator, _fold("parameters", content) + _table(results))
    results = [(name, _number(getattr(estimator, name))) for name in FITTED if hasattr(estimator, name)]
    history = cast("dict[str, Floats]", estimator.history_)
    one = "member" not in history  # the last epoch of an ensemble is one of its last member
    curves = {name: curve for name, curve in history.items() if one and name.endswith("_nll") and len(curve)}
    results += [(f"last {name}", f"{curve[-1]:.4f}") for name, curve in curves.items()]
    flow = "" if estimator.flow_ is None else _fold("flow_", estimator.flow_._repr_html_())
    parts = _fold("parameters", content), _table(results), flow
    return _box(estimator, "".join(parts))


def _layer_rows(flow: Flow) -> list[tuple[str, ...]]:
    """For each layer the texts of the columns HEADINGS."""
    return [
        (str(i), type(layer).__name__, _columns(layer), _networks(layer), f"{layer.n_parameters:,}", f"{offset:,}")
        for i, (layer, offset) in enumerate(zip(flow.layers, flow._layer_offsets))
    ]


def _columns(layer: Layer) -> str:
    """The mask of a coupling layer, 1 for the identity columns, or a permutation. Long ones are cut."""
    entries: Sequence[int] | npt.NDArray[Any] = getattr(layer, "mask", ())
    separator, widest = "", WIDEST
    if hasattr(layer, "permutation"):
        entries = cast("Permutation", layer).permutation
        separator, widest = " ", WIDEST // 2
    shown = separator.join(map(str, entries[:widest]))
    return shown if len(entries) <= widest else f"{shown}{separator}... ({len(entries)})"


def _networks(layer: Layer) -> str:
    """The widths of a coupling layer's networks, from the identity columns and the context to the outputs."""
    if not hasattr(layer, "_network_names"):
        return ""
    coupling = cast("Coupling", layer)
    first, *others = coupling._networks()[0]
    widths = [first.weight.shape[1], len(first.bias), *(len(linear.bias) for linear in others)]
    return f"{', '.join(coupling._network_names)}: {' > '.join(map(str, widths))}, {coupling.activation}"


def _member_rows(ensemble: FlowEnsemble) -> list[tuple[str, ...]]:
    """For each member the texts of the columns MEMBER_HEADINGS."""
    return [
        (str(k), base_name(flow), f"{weight:.4g}", str(len(flow)), f"{flow.n_parameters:,}")
        for k, (flow, weight) in enumerate(zip(ensemble, ensemble.weights))
    ]


def _ensemble_totals(ensemble: FlowEnsemble) -> str:
    context = f" given {ensemble.context_dim} of context" * (ensemble.context_dim > 0)
    return (
        f"average of {len(ensemble)} flows, {ensemble.data_dim} dimensions{context}, {ensemble.n_parameters:,} parameters, "
        f"{ensemble.dtype}"
    )


def _number(value: float | tuple[float, ...] | npt.NDArray[Any]) -> str:
    if isinstance(value, (tuple, np.ndarray)):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def base_name(flow: Flow) -> str:
    """The base density, in words."""
    if flow.base is None:
        return "standard normal"
    if not isinstance(flow.base, MixtureBase):
        return flow.base._words
    n = flow.base.n_components
    words = f"mixture of {n} normal distributions" if n > 1 else "normal distribution"
    return f"{words} given the context" if flow.base.context_dim else words


def _totals(flow: Flow) -> str:
    context = f" given {flow.context_dim} of context" * (flow.context_dim > 0)
    return (
        f"{len(flow.layers)} layers, {flow.data_dim} dimensions{context}, {flow.n_parameters:,} parameters, "
        f"{f'{base_name(flow)}, ' if flow.base else ''}{flow.dtype}, {flow.isa}"
    )


def _table(
    rows: Iterable[tuple[str, ...]],
    headings: tuple[str, ...] | None = None,
    bold: Collection[str] = (),
    left: int = LEFT,
) -> str:
    """An HTML table of texts, the first `left` columns aligned to the left. Rows whose first text is in `bold` are bold."""
    lines = [_line("th", headings, "", left)] if headings else []
    lines += [_line("td", row, "font-weight: bold; " * (row[0] in bold), left) for row in rows]
    return f'<table style="{TABLE_STYLE}">{"".join(lines)}</table>'


def _line(tag: str, row: tuple[str, ...], style: str, left: int) -> str:
    cells = "".join(
        f'<{tag} style="{style}{CELL_STYLE}; text-align: {"left" if i < left else "right"}">{html.escape(cell)}</{tag}>'
        for i, cell in enumerate(row)
    )
    return f"<tr>{cells}</tr>"


def _fold(title: str, content: str) -> str:
    return f"<details><summary>{html.escape(title)}</summary>{content}</details>"


def _box(thing: object, content: str, note: str = "") -> str:
    return f"<div><b>{html.escape(type(thing).__name__)}</b> {html.escape(note)}{content}</div>"
