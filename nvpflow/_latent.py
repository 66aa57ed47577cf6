"""The latent points of an estimator: those of the flow's base density, or points of N(0, I)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np

from nvpflow._sklearn.available import of_one_flow
from nvpflow._sklearn.transformer import Transformer
from nvpflow._training.origin import name_columns
from nvpflow._typing import ArrayLike, Floats, Latent
from nvpflow._validation.arguments import check_bool, check_choice

if TYPE_CHECKING:
    from nvpflow._training.prepare import Prepared
    from nvpflow._training.settings import Settings
    from nvpflow._typing import Names
    from nvpflow.ensemble import FlowEnsemble
    from nvpflow.flow import Flow
    from nvpflow.supports._kinds import Kind

__all__ = ["LATENTS", "LatentPoints", "check_latent"]

LATENTS = ("base", "normal")
NEEDS_REALS = "latent='normal' needs columns of real numbers, with bounds or without, and column(s) {} hold {}"


class LatentPoints(Transformer):
    """Base class of estimators with latent points, which are those of the `flow_` for its `base_density`, or normal."""

    latent: Latent
    flow_: Flow | FlowEnsemble

    @of_one_flow
    def transform(
        self, X: ArrayLike, *, context: ArrayLike | None = None, return_log_det: bool = False
    ) -> Any:  # an ndarray or a frame, and with `return_log_det` a pair of it and an ndarray
        """Take data to the latent space, where samples of the fitted density have a simple distribution.

        With ``latent="base"`` it is that of `flow_.base_density`: a mixture of normal distributions after most fits; N(0, I)
        with ``base="normal"``, and by default with ``validation_fraction=None``. With ``latent="normal"`` it is N(0, I) in any
        case.

        Parameters
        ----------
        X : array_like of real numbers, shape (n, D)
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.
        return_log_det : bool, default False
            Also return the log-determinant of the Jacobian matrix.

        Returns
        -------
        Z : ndarray, shape (n, D)
            Or a frame, as `set_output` says.
        log_det : ndarray of float64, shape (n,)
            Only with `return_log_det`: log|det dz/dx|, in nats, so that the log-density of x is that of z and this; -inf
            where x has no density.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            Also where a column holds categories; with ``latent="normal"`` also where one holds whole numbers or angles.
        """
        self._refuse_categories("transform")
        latent, with_log_det = self._check_latent(), check_bool("return_log_det", return_log_det)
        checked = self._check_samples(X)
        rows = self._check_context(context, len(checked))
        flow = cast("Flow", self.flow_)
        Z, log_det = flow.inverse(checked, rows)
        log_det = log_det.astype(np.float64)
        if latent == "normal":
            Z, of_base = _through_base(flow, Z, rows, backward=False)
            log_det += of_base
        found = self._output(Z, X)
        return (found, log_det) if with_log_det else found

    @overload
    def inverse_transform(
        self, Z: ArrayLike, *, context: ArrayLike | None = None, return_log_det: Literal[False] = False
    ) -> Floats: ...
    @overload
    def inverse_transform(
        self, Z: ArrayLike, *, context: ArrayLike | None = None, return_log_det: Literal[True]
    ) -> tuple[Floats, Floats]: ...
    @of_one_flow
    def inverse_transform(
        self, Z: ArrayLike, *, context: ArrayLike | None = None, return_log_det: bool = False
    ) -> Floats | tuple[Floats, Floats]:
        """Take latent points to data, undoing `transform`.

        Parameters
        ----------
        Z : array_like of real numbers, shape (n, D)
        context : array_like of real numbers, shape (n, C), or (C,) or (1, C) for all samples the same
            Needed by a model that was fitted with a context.
        return_log_det : bool, default False
            Also return the log-determinant of the Jacobian matrix.

        Returns
        -------
        X : ndarray, shape (n, D)
            In the dtype of the model, or in float64 if `origin_` is not 0.
        log_det : ndarray of float64, shape (n,)
            Only with `return_log_det`: log|det dx/dz|, in nats.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            As `transform`.
        """
        self._refuse_categories("inverse_transform")
        latent, with_log_det = self._check_latent(), check_bool("return_log_det", return_log_det)
        Z = self._check_samples(Z, "Z")
        rows = self._check_context(context, len(Z))
        flow, log_det = cast("Flow", self.flow_), np.zeros(len(Z))
        if latent == "normal":
            Z, log_det = _through_base(flow, Z, rows, backward=True)
        x, of_layers = flow.forward(Z, rows)
        X = self._to_own_units(x)
        return (X, log_det + of_layers) if with_log_det else X

    def _check_latent(self) -> str:
        """The checked parameter `latent`, which may have changed since the fit."""
        latent = check_choice("latent", getattr(self, "latent", "base"), LATENTS)  # models from old files have none
        supports = self._known_supports()
        if latent == "normal" and supports is not None:
            _refuse_sums(supports.kinds, getattr(self, "feature_names_in_", None))
        return latent


def check_latent(settings: Settings, prepared: Prepared) -> None:
    """Raise a ValueError if the model to fit has no normal latent points, and `settings` ask for them."""
    if settings.latent != "normal":
        return
    if settings.n_models > 1:
        raise ValueError(
            f"latent='normal' needs n_models=1, got n_models={settings.n_models}: an average of densities has no latent points"
        )
    if prepared.categories is not None:
        raise ValueError(NEEDS_REALS.format(", ".join(prepared.categories.coding.labels[:10]), "categories"))
    if prepared.declared is not None:
        _refuse_sums(prepared.declared.of_columns(prepared.data.x.shape[1]), prepared.names)


def _refuse_sums(kinds: tuple[Kind, ...], names: Names | None) -> None:
    """Raise a ValueError if columns are not real numbers: their probabilities are integrals or sums over latent points."""
    is_sum = np.array([kind.is_whole or bool(kind.turn) for kind in kinds])
    if is_sum.any():
        raise ValueError(NEEDS_REALS.format(name_columns(is_sum, names), "whole numbers or angles"))


def _through_base(flow: Flow, points: Floats, rows: Floats | None, *, backward: bool) -> tuple[Floats, Floats]:
    """Map latent points of a flow to points of N(0, I), or back, in its dtype. Also return the log-determinants (n,)."""
    base = flow.base_density
    found, log_det = base._to_normal(points, rows if base.context_dim else None, backward=backward)
    with np.errstate(over="ignore"):
        return found.astype(flow.dtype), log_det
