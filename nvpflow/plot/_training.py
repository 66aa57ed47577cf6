"""Training curves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from nvpflow._typing import ArrayLike, Floats, History, Ints
from nvpflow._validation.arguments import check_real
from nvpflow.density import FlowDensity
from nvpflow.outliers import FlowOutlierDetector
from nvpflow.plot._canvas import BLUE, GREY, RED, open_frame, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Curves: TypeAlias = dict[str, tuple[npt.NDArray[Any], Floats]]  # by name: epochs and NLL


def training(
    history: FlowDensity | FlowOutlierDetector | History | Mapping[str, ArrayLike],
    entropy: float | None = None,
    *,
    axes: Axes | None = None,
) -> Figure:
    """Training curves: the negative log-likelihood after every epoch.

    Parameters
    ----------
    history : fitted FlowDensity or FlowOutlierDetector, or mapping
        A mapping is `FlowDensity.history_` or the result of `Flow.fit`: "train_nll", one entry per epoch, in nats, and perhaps
        "validation_nll" of the epochs "validation_epoch" (every epoch, if that is missing). The epoch whose parameters were
        kept is marked; for a mapping it is the one with the best validation NLL. The training NLL includes the noise that
        training adds to the samples. Of an ensemble, the curves of all members are drawn.
    entropy : float, optional
        The entropy of the distribution of the data, in nats, drawn as a dashed line. No model has a lower NLL on average.
    axes : matplotlib Axes, optional
        Axes to draw on. Default: a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        Its limits fit the later epochs; the first ones may be outside.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    NotFittedError, TypeError, ValueError
        If the model is not fitted, or an argument is invalid.

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> from nvpflow import plot
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = nvpflow.FlowDensity(2, 8, max_iter=2, random_state=0).fit(X)
    >>> figure = plot.training(model)
    """
    kept: int | Ints | None = None
    if isinstance(history, (FlowDensity, FlowOutlierDetector)):
        history._fitted_flow()
        model = history.estimator_ if isinstance(history, FlowOutlierDetector) else history
        kept, history = model.best_iter_, model.history_
    members = _members(_check_history(history), history)
    best = [None] * len(members) if kept is None else np.atleast_1d(kept).tolist()
    if entropy is not None:
        entropy = check_real("entropy", entropy)
    figure, (ax,) = panels(axes, 1, 1, width=7.5, shape=0.5)
    for k, (curves, epoch) in enumerate(zip(members, best)):
        for (name, (epochs, curve)), colour in zip(curves.items(), (BLUE, RED)):
            known = ~np.isnan(curve)
            ax.plot(
                epochs[known], curve[known], color=colour, lw=1.4 if len(members) == 1 else 0.8, label=name if k == 0 else None
            )
        if "validation" in curves:
            _mark_kept(ax, *curves["validation"], epoch, k, len(members))
    if entropy is not None:
        ax.axhline(entropy, color=GREY, ls="--", lw=1.2, label=f"entropy: {entropy:.3f}")
    ax.set(xlabel="epoch", ylabel="NLL (nats per sample)", title="Negative log-likelihood in training")
    longest = max(len(curves["training"][0]) for curves in members)
    ax.set(xlim=(0, max(2, longest)), ylim=_limits([curve for curves in members for _, curve in curves.values()], entropy))
    open_frame(ax)
    ax.legend(frameon=False, loc="upper right")
    return figure


def _mark_kept(ax: Axes, epochs: Ints, curve: Floats, kept: int | None, member: int, n_members: int) -> None:
    """Mark the validation NLL of the epoch that was kept: the best one if that is None, none if it is 0."""
    if kept == 0 or not np.isfinite(curve).any():
        return
    best = int(epochs[np.nanargmin(curve)]) if kept is None else kept
    value = curve[epochs == best].min(initial=np.inf)
    label = f"kept: epoch {best}, {value:.3f}" if n_members == 1 else "kept" if member == 0 else None
    ax.plot(best, value, "o", color=RED, ms=6 if n_members == 1 else 4, label=label)


def _members(curves: Curves, history: Mapping[str, Any]) -> list[Curves]:
    """The curves of each member of an ensemble, with epochs from 1; of one flow the curves as they are."""
    if "member" not in history:
        return [curves]
    member = np.asarray(history["member"])
    if member.shape != curves["training"][1].shape:
        raise ValueError(f"history must have one member for each train_nll, got shape {member.shape}")
    parts = []
    for k in np.unique(member):
        before = int(np.flatnonzero(member == k)[0])
        own = {name: member[epochs - 1] == k for name, (epochs, _) in curves.items()}
        parts.append({name: (epochs[own[name]] - before, curve[own[name]]) for name, (epochs, curve) in curves.items()})
    return parts


def _limits(curves: Collection[Floats], entropy: float | None) -> tuple[float, float] | None:
    """Limits from the lowest value to somewhat above most values, so that a few huge ones do not flatten the rest."""
    finite = [curve[np.isfinite(curve)] for curve in curves]
    finite = [curve for curve in finite if len(curve)]
    if not finite:
        return None
    low = min(curve.min() for curve in finite)
    high = max(max(np.quantile(curve, 0.8), curve[-1]) for curve in finite)
    if entropy is not None:
        low, high = min(low, entropy), max(high, entropy)
    spread = max(high - low, 0.05)
    high = min(low + 4 * spread, max(high, *(curve.max() for curve in finite)))
    return low - 0.15 * spread, max(high, low + spread) + 0.1 * spread


def _check_history(history: Mapping[str, Any]) -> Curves:
    """{"training": (epochs, curve)} and, if there is one, "validation"."""
    try:
        curves = {"training": history["train_nll"]}
        if "validation_nll" in history and len(history.get("validation_epoch", history["validation_nll"])):
            curves["validation"] = history["validation_nll"]
    except (KeyError, TypeError, IndexError):
        raise TypeError(
            "history must be a fitted FlowDensity or a mapping with 'train_nll', such as FlowDensity.history_, "
            f"got {type(history).__name__}"
        ) from None
    curves = {name: np.asarray(curve, dtype=float) for name, curve in curves.items()}
    for name, curve in curves.items():
        if curve.ndim != 1 or len(curve) == 0:
            raise ValueError(f"the {name} curve of history must have shape (epochs,), got {curve.shape}")
    epochs = {name: np.arange(1, len(curve) + 1) for name, curve in curves.items()}
    if "validation" in curves and "validation_epoch" in history:
        epochs["validation"] = np.asarray(history["validation_epoch"])
        if epochs["validation"].shape != curves["validation"].shape:
            raise ValueError(
                f"history must have one validation_epoch for each validation_nll, got {epochs['validation'].shape} and "
                f"{curves['validation'].shape}"
            )
    return {name: (epochs[name], curve) for name, curve in curves.items()}
