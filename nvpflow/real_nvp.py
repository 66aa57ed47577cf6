"""RealNVP: the flow of the paper, affine couplings over a standard normal distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from nvpflow._sklearn.parameters import with_parameters_of
from nvpflow._typing import Base, CouplingKind
from nvpflow.density import FlowDensity

__all__ = ["RealNVP"]

# Of `FlowDensity`, where those of the article's training are others.
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

    It is a `FlowDensity` with other defaults, the same parameters, attributes and methods.

    Parameters
    ----------
    n_layers, hidden_dim
        As in `FlowDensity`.
    coupling : {"spline", "affine", "additive"}, default "affine"
    base : {"auto", "normal", "mixture"}, default "normal"
    **parameters
        The others of `FlowDensity`, with the defaults given there.

    See Also
    --------
    FlowDensity : The model with the best densities.

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
        n_layers: int = 12,
        hidden_dim: int | Sequence[int] = 32,
        *,
        coupling: CouplingKind = "affine",
        base: Base = "normal",
        **parameters: Any,
    ) -> None:
        super().__init__(n_layers, hidden_dim, coupling=coupling, base=base, **parameters)

    @classmethod
    def article(cls, **parameters: Any) -> Self:
        """The training that the article published: full-batch Adam on all samples as they are.

        8 layers whose networks have one hidden layer of 64 units, scales without a bound, 1000 steps at a learning rate of
        1e-3. The densities of points outside of the training data may be zero or missing: the scales grow without limit.

        Parameters
        ----------
        **parameters
            Others than these, such as `random_state` and `dtype`.

        Returns
        -------
        RealNVP
            Not fitted.

        Examples
        --------
        >>> import nvpflow
        >>> nvpflow.RealNVP.article(random_state=0).max_iter
        1000
        """
        return cls(**ARTICLE | parameters)
