"""The vector-Jacobian product of a flow's log-density, for frameworks with automatic differentiation."""

from __future__ import annotations

from typing import Any

import numpy as np

from nvpflow._typing import Floats
from nvpflow.bases import Base
from nvpflow.flow import Flow

__all__ = ["log_prob_vjp", "refuse_context_gradient"]


def log_prob_vjp(flow: Flow, x: Floats, grad: Floats, context: Floats | None = None) -> tuple[Floats, Floats, Floats | None]:
    """Gradients of sum(grad * log p(x | context)) with respect to x, the parameters and the context.

    The third misses what comes through a `ConditionalMixtureBase`: see `refuse_context_gradient`.

    Parameters
    ----------
    flow : Flow
    x, context : ndarray, shapes (n, D) and (n, C)
    grad : ndarray, shape (n,)

    Returns
    -------
    grad_x, grad_parameters, grad_context : ndarray, shapes (n, D), (n_parameters,) and (n, C)
        NaN in rows of the first and the last without a density. The last is None without a context.
    """
    z, log_det = flow.inverse(x, context)
    with np.errstate(over="ignore", invalid="ignore"):
        slope = -z if flow.base is None else flow.base._grad_log_prob(z, context)
        vjp: Any = flow.inverse_vjp  # one overload takes a context, the other does not
        grad_x, grad_parameters, *rest = vjp(x, slope * grad[:, None], grad, context)
        if flow.base is not None:
            grad_parameters[flow._base_offset :] = _grad_of_base(flow.base, z, grad, context)
    grad_context = rest[0] if rest else None
    lost = ~np.isfinite(z).all(axis=1) | ~np.isfinite(log_det)
    for rows in (grad_x, grad_context):
        if rows is not None:
            rows[lost] = np.nan
    return grad_x, grad_parameters, grad_context


def refuse_context_gradient(flow: Flow) -> None:
    """Raise where the gradient of a log-density with respect to the context is not available."""
    if flow.base is not None and flow.base.context_dim:
        raise NotImplementedError(
            "gradients with respect to the context are not available through a ConditionalMixtureBase: use detached contexts, "
            "or a flow over N(0, I) or a MixtureBase"
        )


def _grad_of_base(base: Base, z: Floats, grad: Floats, context: Floats | None) -> Floats:
    """The gradient of sum(grad * log p(z)) with respect to the parameters of the base: (n_parameters,).

    The core has that of a mean with weights >= 0, so positive and negative entries of `grad` take one pass each.
    """
    total = np.zeros_like(base.parameters)
    if not np.isfinite(grad).all():
        total.fill(np.nan)
        return total
    known = context if base.context_dim else None
    for sign in (1, -1):
        weight = np.maximum(sign * grad, 0)
        if weight.any():
            total -= sign * weight.sum() * base._flow().nll_and_grad(z, known, weight)[1]
    return total
