"""The density that a figure draws."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nvpflow._typing import ArrayLike, Floats
from nvpflow._validation.arrays import as_array
from nvpflow.density import FlowDensity
from nvpflow.ensemble import FlowEnsemble
from nvpflow.flow import Flow
from nvpflow.outliers import FlowOutlierDetector
from nvpflow.plot._checks import Points, check_points
from nvpflow.supports import Angle
from nvpflow.supports._fitted import Supports

__all__ = ["Model", "check_model"]

Model: TypeAlias = Flow | FlowEnsemble | FlowDensity | FlowOutlierDetector


class Drawable:
    """The density of a flow or an ensemble; for a conditional one, given one context or a context for each point."""

    def __init__(
        self,
        flow: Flow | FlowEnsemble,
        context: Points | None,
        origin: Floats | None = None,
        supports: Supports | None = None,
    ) -> None:
        self.flow, self.context, self.origin = flow, context, 0 if origin is None else origin
        self.sums = supports if supports is not None and supports.is_sum else None
        self.data_dim, self.dtype = flow.data_dim, flow.dtype

    @property
    def one_flow(self) -> Flow:
        """The flow, for figures of layers or latent points, which an average of densities does not have."""
        if isinstance(self.flow, FlowEnsemble):
            raise ValueError(
                f"model must have one flow for this figure, got an average of {len(self.flow)}, which has no layers and no "
                "latent space: draw a member, such as flow_[0], or fit with n_models=1"
            )
        return self.flow

    @property
    def turns(self) -> dict[int, tuple[float, float]]:
        """The ranges of columns of angles."""
        kinds = enumerate(self.sums.kinds if self.sums is not None else ())
        return {column: (kind.low, kind.high) for column, kind in kinds if isinstance(kind, Angle)}

    @property
    def is_whole(self) -> npt.NDArray[np.bool_]:
        """Which columns hold whole numbers."""
        return np.zeros(self.data_dim, dtype=bool) if self.sums is None else self.sums.is_whole

    def rows(self, n: int) -> Points | None:
        """The context of each of n points."""
        return None if self.context is None else np.broadcast_to(self.context, (n, self.flow.context_dim))

    def log_prob(self, x: Points) -> Floats:
        """Log-densities of points (n, D). Those between whole numbers have the log-probability of the nearest one."""
        if self.sums is None:
            return self.flow.log_prob(x - self.origin, self.rows(len(x)))
        origin, x, back = self.origin + np.zeros(self.data_dim), np.where(self.is_whole, np.round(x), x), slice(None)
        if self.is_whole.any() and (self.context is None or len(self.context) == 1):
            x, back = np.unique(x, axis=0, return_inverse=True)
        return self.sums.log_masses(self.flow, x, origin, self.rows(len(x)))[back]

    def sample_and_log_prob(self, n: int) -> tuple[Floats, Floats]:
        x, log_prob = self.flow.sample_and_log_prob(n, random_state=0, context=self.rows(n))
        x = x + self.origin
        if self.sums is not None:
            x = self.sums.clipped(x)
            log_prob = self.log_prob(x)
        return x, log_prob

    def trace(self, z: Points) -> Floats:
        trace = self.one_flow.trace(z, context=self.rows(len(z)))
        return np.concatenate([trace[:-1], trace[-1:] + self.origin])

    def inverse(self, x: Points) -> tuple[Floats, Floats]:
        return self.one_flow.inverse(x - self.origin, self.rows(len(x)))


def check_model(model: Model, context: ArrayLike | None = None, most_dims: int | None = 2, n: int = 1) -> Drawable:
    """The Drawable of a flow, an ensemble or a fitted estimator, with one context or n contexts.

    The model may have at most `most_dims` dimensions; None is any number.
    """
    if not isinstance(model, (Flow, FlowEnsemble, FlowDensity, FlowOutlierDetector)):
        raise TypeError(
            f"model must be a Flow, a FlowEnsemble, a FlowDensity or a FlowOutlierDetector, got {type(model).__name__}"
        )
    if not isinstance(model, (Flow, FlowEnsemble)):
        _refuse_categories(model)
    flow = model if isinstance(model, (Flow, FlowEnsemble)) else model._fitted_flow()
    if most_dims is not None and flow.data_dim > most_dims:
        raise ValueError(f"model must have 1 or 2 dimensions to be drawn, got {flow.data_dim}")
    if isinstance(model, (Flow, FlowEnsemble)):
        return Drawable(flow, _check_context(context, flow.context_dim, n))
    if model._known_encoding() is None:
        rows = _check_context(context, flow.context_dim, n)
        rows = None if rows is None else model._check_context(context, len(rows))
    else:  # a context with categories or angles
        rows = model._check_context(context, n)
    return Drawable(flow, rows, model._origin(), model._known_supports())


def _refuse_categories(model: FlowDensity | FlowOutlierDetector) -> None:
    model._check_fitted()
    categories = model._known_categories()
    if categories is not None:
        columns = ", ".join(categories.coding.labels[:10])
        raise ValueError(
            f"model must have columns of numbers alone for this figure, and column(s) {columns} are categories: plot.corner "
            "draws samples of it"
        )


def _check_context(context: ArrayLike | None, n_columns: int, n: int) -> Points | None:
    if n_columns == 0:
        if context is not None:
            raise ValueError(f"context must be None for a model without one, got a {type(context).__name__}")
        return None
    expected = f"({n_columns},) or (1, {n_columns})" + (f" or ({n}, {n_columns})" if n > 1 else "")
    if context is None:
        raise ValueError(f"context must be given for a conditional model, with shape {expected}")
    context = check_points("context", np.atleast_2d(as_array("context", context)), finite=True)
    if context.shape not in ((1, n_columns), (n, n_columns)):
        raise ValueError(f"context must have shape {expected}, got {context.shape}")
    return context
