"""Why a row is an outlier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nvpflow._typing import ArrayLike
from nvpflow.outliers import FlowOutlierDetector
from nvpflow.plot._canvas import BLUE, RED, open_frame, panels
from nvpflow.plot._checks import AxesLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNUSUAL = 0.01  # p-values below are red
LEAST = 1e-12  # the smallest p-value that is drawn


def explanation(
    detector: FlowOutlierDetector,
    row: ArrayLike,
    *,
    context: ArrayLike | None = None,
    level: float = 0.9,
    axes: AxesLike | None = None,
) -> Figure:
    """Why a row is an outlier: how unusual each of its cells is, given the others.

    Bars are p-values, on a logarithmic scale: the probability of values as far out as the one in the row. Beside each bar
    stand the value and what would be usual, given the other cells.

    Parameters
    ----------
    detector : fitted FlowOutlierDetector
    row : array_like of real numbers, shape (1, D), or a frame of one row
    context : array_like of real numbers, shape (C,) or (1, C), optional
        For a conditional detector.
    level : float in (0, 1), default 0.9
        Of the intervals of usual values.
    axes : matplotlib Axes, optional
        Axes to draw on. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    NotFittedError, TypeError, ValueError

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> from nvpflow import plot
    >>> X = np.random.default_rng(0).normal(size=(500, 2)) @ [[1, 2], [0, 1]]
    >>> detector = nvpflow.FlowOutlierDetector(max_iter=50, random_state=0).fit(X)
    >>> figure = plot.explanation(detector, [[0.0, 6.0]])
    """
    if not isinstance(detector, FlowOutlierDetector):
        raise TypeError(f"detector must be a FlowOutlierDetector, got {type(detector).__name__}")
    found = detector.explain(row, context=context, level=level)
    found = found.reset_index() if hasattr(found, "reset_index") else found
    n = detector.n_features_in_
    if len(found["p_value"]) != n:
        raise ValueError(f"row must be one row, got {len(found['p_value']) // n}")
    p = np.asarray(found["p_value"], np.float64)
    figure, (ax,) = panels(axes, 1, 1, 7.0, shape=0.1 + 0.06 * n)
    known = np.where(np.isnan(p), 1.0, np.maximum(p, LEAST))
    ax.barh(np.arange(n), -np.log10(known), color=[RED if value < UNUSUAL else BLUE for value in known], height=0.6)
    right = max(float(-np.log10(known).min()), 2.0)
    for i in range(n):
        ax.text(-np.log10(known[i]) + 0.02 * right, i, _words({key: found[key][i] for key in found}), va="center", fontsize=8)
    ax.set_yticks(np.arange(n), [str(name) for name in found["column"]])
    ax.set_xlim(0, 1.9 * right)
    ax.invert_yaxis()
    ax.set_xlabel("-log10 of the p-value, given the other columns")
    open_frame(ax)
    return figure


def _words(cell: dict[str, Any]) -> str:
    """The value of a cell and what would be usual."""
    value, usual = (f"{x:.4g}" if isinstance(x, float) else str(x) for x in (cell["value"], cell["typical"]))
    if np.isfinite(float(cell["low"])):
        usual = f"{cell['low']:.4g} to {cell['high']:.4g}"
    return f"{value}, usual: {usual}"
