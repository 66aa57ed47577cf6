"""sbi: a conditional density estimator, trained by sbi or fitted before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from nvpflow._validation.arguments import alternating_mask, check_int, draw_seeds, shown
from nvpflow.density import FlowDensity
from nvpflow.flow import Flow
from nvpflow.integrations._missing import not_installed
from nvpflow.layers import ActNorm, Layer, SplineCoupling

try:
    import torch
    from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
except ModuleNotFoundError as error:
    raise not_installed("sbi", error) from None

from nvpflow.integrations._tensors import check_place
from nvpflow.integrations.torch import FlowModule

__all__ = ["FlowEstimator", "flow_estimator"]


def flow_estimator(
    n_layers: int = 6,
    hidden_dim: int | Sequence[int] = 32,
    *,
    n_bins: int = 8,
    tail_bound: float = 5.0,
    embedding_net: torch.nn.Module | None = None,
    random_state: Any = None,
) -> Callable[[torch.Tensor, torch.Tensor], FlowEstimator]:
    """Create what sbi calls to build a density estimator, as in ``NPE(density_estimator=flow_estimator())``.

    The flow has spline couplings over N(0, I). Inputs and conditions are standardised by the first simulations.

    Parameters
    ----------
    n_layers : int, default 6
        Number of coupling layers.
    hidden_dim : int or sequence of int, default 32
        Widths of the networks' hidden layers.
    n_bins : int, default 8
        Bins of a spline.
    tail_bound : float, default 5
        The splines cover this many standard deviations to either side.
    embedding_net : torch.nn.Module, optional
        Maps standardised conditions to vectors (n, C); trained with the flow. Default: conditions are vectors.
    random_state : int, Generator, RandomState or None
        Of the weights. None: by PyTorch's random state.

    Returns
    -------
    build : callable
        ``build(theta, x)`` returns a `FlowEstimator`.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; the first when `build` is called.

    References
    ----------
    Durkan, Bekasov, Murray and Papamakarios (2019), "Neural spline flows".

    Examples
    --------
    >>> import torch
    >>> from nvpflow.integrations.sbi import flow_estimator
    >>> theta, x = torch.randn(100, 2), torch.randn(100, 3)
    >>> estimator = flow_estimator(n_layers=2, random_state=0)(theta, x)
    >>> estimator.loss(theta, x).shape
    torch.Size([100])
    """
    n_layers = check_int("n_layers", n_layers, 1)

    def build(theta: torch.Tensor, x: torch.Tensor) -> FlowEstimator:
        if len(check_place("theta", theta)) != len(check_place("x", x)):
            raise ValueError(f"theta and x must have the same number of rows, got {len(theta)} and {len(x)}")
        centre, scale = x.mean(dim=0), x.std(dim=0).clamp_min(1e-6)
        net = torch.nn.Identity() if embedding_net is None else embedding_net
        with torch.no_grad():
            context = net((x[:2] - centre) / scale)
        if context.dim() != 2:
            raise ValueError(
                f"embedding_net must return vectors (n, C), got shape {tuple(context.shape)} for x {tuple(x.shape)}"
            )
        data_dim = theta.shape[1]
        state = int(torch.randint(2**31, ())) if random_state is None else random_state
        options = {"n_bins": n_bins, "tail_bound": tail_bound, "context_dim": context.shape[1]}
        layers: list[Layer] = [
            # One column has no others to read: all layers transform it, given the condition.
            SplineCoupling(
                data_dim, hidden_dim, alternating_mask(data_dim, k) if data_dim > 1 else [0], random_state=seed, **options
            )
            for k, seed in enumerate(draw_seeds(state, n_layers))
        ]
        units = ActNorm(data_dim)
        flow = Flow([*layers, units])
        units._standardize(theta.detach().numpy().astype(np.float32))
        return FlowEstimator(flow, x.shape[1:], centre=centre, scale=scale, embedding_net=net)

    return build


class FlowEstimator(ConditionalDensityEstimator):
    """A conditional flow as a density estimator of sbi, whose gradients are the library's vector-Jacobian products.

    Parameters
    ----------
    flow : Flow
        A flow of inputs, float32, that reads a context of C columns.
    condition_shape : sequence of int
        Of one condition.
    origin : array_like, shape (D,), optional
        Subtracted from inputs before the flow reads them.
    centre, scale : array_like of shape `condition_shape`, optional
        Conditions are standardised by these.
    embedding_net : torch.nn.Module, optional
        Maps standardised conditions to contexts (n, C).

    Attributes
    ----------
    net : FlowModule
        ``net.flow`` is the flow with its present parameters.

    Raises
    ------
    TypeError, ValueError
        If `flow` is not a conditional flow in float32.

    See Also
    --------
    flow_estimator : Build one, for sbi to train.

    References
    ----------
    Papamakarios and Murray (2016), "Fast epsilon-free inference of simulation models with Bayesian conditional density
    estimation".

    Examples
    --------
    >>> import nvpflow, torch
    >>> from nvpflow.integrations.sbi import FlowEstimator
    >>> flow = nvpflow.Flow([nvpflow.AffineCoupling(2, 8, [1, 0], context_dim=3, random_state=0)])
    >>> estimator = FlowEstimator(flow, (3,))
    >>> estimator.sample((5,), torch.zeros(4, 3)).shape
    torch.Size([5, 4, 2])
    """

    def __init__(
        self,
        flow: Flow,
        condition_shape: Sequence[int],
        *,
        origin: Any = 0.0,
        centre: Any = 0.0,
        scale: Any = 1.0,
        embedding_net: torch.nn.Module | None = None,
    ) -> None:
        module = FlowModule(flow)
        if not flow.context_dim or flow.dtype != np.float32:
            raise ValueError(f"flow must be conditional and in float32, got context_dim={flow.context_dim} in {flow.dtype}")
        super().__init__(module, torch.Size([flow.data_dim]), torch.Size(condition_shape))
        self._embedding_net = torch.nn.Identity() if embedding_net is None else embedding_net
        for name, value in (("origin", origin), ("centre", centre), ("scale", scale)):
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32))

    @classmethod
    def from_density(cls, model: FlowDensity) -> Self:
        """Take a fitted conditional density: ``FlowDensity().fit(theta, context=x)``.

        Parameters
        ----------
        model : FlowDensity
            Fitted in float32 with a context, of columns of real numbers, with bounds or without; ``n_models=1``.

        Returns
        -------
        FlowEstimator
            For ``NPE().build_posterior(estimator)``. Conditions are not clipped to the range of training.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If the model is none of that.
        """
        if not isinstance(model, FlowDensity):
            raise TypeError(f"model must be a FlowDensity, got {shown(model)}")
        model._check_fitted()
        supports = model._known_supports()
        is_plain = supports is None or not (supports.is_sum or supports.is_whole.any())
        if not (isinstance(model.flow_, Flow) and is_plain and model._known_categories() is None):
            raise ValueError("model must be one flow of real columns, got an ensemble, categories, angles or whole numbers")
        if model._known_encoding() is not None or not hasattr(model, "context_origin_"):
            raise ValueError("model must be fitted with a context of real numbers, got none or one with categories or angles")
        shape = (model.flow_.context_dim,)
        return cls(model.flow_, shape, origin=model.origin_, centre=model.context_origin_)

    @property
    def embedding_net(self) -> torch.nn.Module:
        """torch.nn.Module: maps standardised conditions to contexts."""
        return self._embedding_net

    def log_prob(self, input: torch.Tensor, condition: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Log-density of inputs given conditions.

        Parameters
        ----------
        input : torch.Tensor, shape (n_samples, n, D) or (n, D)
        condition : torch.Tensor, shape (n, ...)
        **kwargs : object
            Not used.

        Returns
        -------
        log_prob : torch.Tensor, shape (n_samples, n)
            In nats.

        Raises
        ------
        TypeError, ValueError
        """
        self._check_condition_shape(check_place("condition", condition))
        self._check_input_shape(check_place("input", input))
        input, condition, n = self._broadcast_and_align(input, condition)
        rows = condition.reshape(-1, *self.condition_shape)
        found = self.net.log_prob(input.reshape(-1, *self.input_shape) - self.origin, self._context(rows))
        return found.reshape(-1, n)

    def loss(self, input: torch.Tensor, condition: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Negative log-density of inputs given conditions, which sbi minimises.

        Parameters
        ----------
        input : torch.Tensor, shape (n, D)
        condition : torch.Tensor, shape (n, ...)
        **kwargs : object
            Not used.

        Returns
        -------
        loss : torch.Tensor, shape (n,)
            In nats.

        Raises
        ------
        TypeError, ValueError
        """
        return -self.log_prob(input, condition)[0]

    def sample(self, sample_shape: Any, condition: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Draw inputs given conditions, without gradients, by PyTorch's random state.

        Parameters
        ----------
        sample_shape : sequence of int
        condition : torch.Tensor, shape (n, ...)
        **kwargs : object
            Not used.

        Returns
        -------
        samples : torch.Tensor, shape ``sample_shape + (n, D)``

        Raises
        ------
        TypeError, ValueError
        """
        self._check_condition_shape(check_place("condition", condition))
        with torch.no_grad():
            context = self._context(condition.reshape(-1, *self.condition_shape))
            return self.net.distribution(context).sample(sample_shape) + self.origin

    def _context(self, rows: torch.Tensor) -> torch.Tensor:
        return self._embedding_net((rows - self.centre) / self.scale)
