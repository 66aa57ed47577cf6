"""RealNVP: the flow of the paper, affine couplings over a standard normal distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from nvpflow._sklearn.parameters import with_parameters_of
from nvpflow._typing import Base, CouplingKind
from nvpflow.density import FlowDensity

__all__ = ["RealNVP"]

# Parameters of the article's training that differ from the defaults of `FlowDensity`.
ARTICLE: dict[str, Any] = {
    "n_layers": 8,
    "hidden_dim": 64,
    "scale_bound": None,
    "standardize": False,
    "max_iter": 1000,
    "batch_size": None,
    "learning_rate": 1e-3,
    "schedule": "constant",
    "warmup": 0,
    "average": 0,
    "noise": 0,
    "validation_fraction": None,
}


class RealNVP(FlowDensity):
    """Density estimation with Real NVP: affine couplings with a bounded scale, over N(0, I).

    This is a `FlowDensity` with other defaults. Parameters, attributes and methods are the same.

    Parameters
    ----------
    n_layers, hidden_dim
        As in `FlowDensity`.
    coupling : {"spline", "affine", "additive"}, default "affine"
    base : {"auto", "normal", "mixture", "student_t"}, default "normal"
    **parameters
        The other parameters of `FlowDensity`, with the same defaults.

    See Also
    --------
    FlowDensity : The recommended model, with splines over a mixture.

    References
    ----------
    Dinh, Sohl-Dickstein and Bengio (2017), "Density estimation using Real NVP".

    Examples
    --------
    >>> import numpy as np, nvpflow
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> model = nvpflow.RealNVP(max_iter=20, random_state=0).fit(X)
    >>> model.flow_.base is None
    True
    """

    _file_kind = "RealNVP"

    @with_parameters_of(FlowDensity.__init__)  # which scikit-learn reads
    def __init__(
        self,
        n_layers: int | None = None,
        hidden_dim: int | Sequence[int] = 32,
        *,
        coupling: CouplingKind = "affine",
        base: Base = "normal",
        **parameters: Any,
    ) -> None:
        super().__init__(n_layers, hidden_dim, coupling=coupling, base=base, **parameters)

    @classmethod
    def article(cls, **parameters: Any) -> Self:
        """The published training: full-batch Adam on all samples, without standardisation.

        It has 8 layers whose networks have one hidden layer of 64 units, scales without a bound, and 1000 steps with a
        learning rate of 1e-3. The scales can grow without limit, so points outside of the training data may have a density of
        zero, or none.

        Parameters
        ----------
        **parameters
            Parameters to change or add, such as `random_state` and `dtype`.

        Returns
        -------
        RealNVP
            Not fitted. Nothing is held back, so that `fit` keeps the last parameters, even where the training NLL has just
            risen, as it does at times with unbounded scales; `history_` shows it.

        Examples
        --------
        >>> import nvpflow
        >>> nvpflow.RealNVP.article(random_state=0).max_iter
        1000
        """
        return cls(**ARTICLE | parameters)
