"""PyTorch: a flow as a module, differentiable in both directions, and its density as a distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nvpflow._validation.arguments import check_int, shown
from nvpflow.flow import Flow
from nvpflow.integrations._log_prob import log_prob_vjp, refuse_context_gradient
from nvpflow.integrations._missing import not_installed

try:
    import torch
except ModuleNotFoundError as error:
    raise not_installed("torch", error) from None

from nvpflow.integrations._tensors import check_place, check_tensor, draw_seed, flat, torch_dtype

__all__ = ["FlowDistribution", "FlowModule"]


class FlowModule(torch.nn.Module):
    """A flow as a PyTorch module. Its one parameter is the flow's flat buffer, and every method is differentiable.

    Gradients are the library's vector-Jacobian products. They reach the inputs, the parameters and the context; second
    derivatives are not available. All computation is on the CPU, in the dtype of the flow.

    Parameters
    ----------
    flow : Flow
        Copied. Of a fitted `FlowDensity` pass `flow_`, which reads samples less `origin_`.

    Attributes
    ----------
    flow_parameters : torch.nn.Parameter, shape (n_parameters,)
        Shares its memory with the module's flow, so that nothing is copied when an optimiser has changed it.

    Raises
    ------
    TypeError
        If `flow` is not a `Flow`.

    Notes
    -----
    `state_dict` holds the parameters and, as extra state, what describes the flow: loading into a flow of other layers is an
    error. ``module.double()`` and ``module.float()`` convert the flow; other dtypes and devices are an error.

    References
    ----------
    Paszke et al. (2019), "PyTorch: an imperative style, high-performance deep learning library".

    Examples
    --------
    >>> import torch, nvpflow
    >>> from nvpflow.integrations.torch import FlowModule
    >>> module = FlowModule(nvpflow.Flow([nvpflow.AffineCoupling(2, 8, mask, random_state=0) for mask in ([1, 0], [0, 1])]))
    >>> x = torch.zeros(3, 2, requires_grad=True)
    >>> (-module.log_prob(x).mean()).backward()
    >>> x.grad.shape, module.flow_parameters.grad.shape == module.flow_parameters.shape
    (torch.Size([3, 2]), True)
    """

    flow_parameters: torch.nn.Parameter

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        if not isinstance(flow, Flow):
            hint = "; pass its flow_" if hasattr(flow, "flow_") else ""
            raise TypeError(f"flow must be a nvpflow.Flow, got {shown(flow)}{hint}")
        self._flow = flow.copy()
        self.flow_parameters = torch.nn.Parameter(torch.from_numpy(self._flow.parameters))

    @property
    def flow(self) -> Flow:
        """Flow: a copy with the present parameters."""
        return _with_parameters(self._flow, self.flow_parameters).copy()

    def forward(self, z: torch.Tensor, context: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Generate: map latent points to data. This is also ``module(z)``.

        Parameters
        ----------
        z : torch.Tensor, shape (n, D)
        context : torch.Tensor, shape (n, C), optional
            Required if the flow is conditional.

        Returns
        -------
        x : torch.Tensor, shape (n, D)
        log_det : torch.Tensor, shape (n,)
            log|det dx/dz|, in nats.

        Raises
        ------
        TypeError, ValueError
            If a tensor is not on the CPU, or has another dtype than the flow or another shape.
        """
        self._check("z", z, context)
        return _Transform.apply(self._flow, "forward", self.flow_parameters, z, context)  # type: ignore[no-any-return]

    def inverse(self, x: torch.Tensor, context: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Map data to latent points.

        Parameters
        ----------
        x : torch.Tensor, shape (n, D)
        context : torch.Tensor, shape (n, C), optional
            Required if the flow is conditional.

        Returns
        -------
        z : torch.Tensor, shape (n, D)
        log_det : torch.Tensor, shape (n,)
            log|det dz/dx|, in nats.

        Raises
        ------
        TypeError, ValueError
            As `forward`.
        """
        self._check("x", x, context)
        return _Transform.apply(self._flow, "inverse", self.flow_parameters, x, context)  # type: ignore[no-any-return]

    def log_prob(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Log-density of samples, whatever the base.

        Parameters
        ----------
        x : torch.Tensor, shape (n, D)
        context : torch.Tensor, shape (n, C), optional
            Required if the flow is conditional.

        Returns
        -------
        log_prob : torch.Tensor, shape (n,)
            In nats, -inf for points without a density.

        Raises
        ------
        TypeError, ValueError
            As `forward`.
        NotImplementedError
            If the context requires gradients and the base is a `ConditionalMixtureBase`.
        """
        self._check("x", x, context)
        if context is not None and context.requires_grad and torch.is_grad_enabled():
            refuse_context_gradient(self._flow)
        return _LogProb.apply(self._flow, self.flow_parameters, x, context)

    def sample(
        self, n_samples: int, context: torch.Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Draw samples, without gradients.

        Parameters
        ----------
        n_samples : int
        context : torch.Tensor, shape (n_samples, C), or (C,) or (1, C) for one context for all samples
            Required if the flow is conditional.
        generator : torch.Generator, optional
            Default: PyTorch's, so that `torch.manual_seed` makes samples repeatable.

        Returns
        -------
        x : torch.Tensor, shape (n_samples, D)

        Raises
        ------
        TypeError, ValueError
        """
        n_samples = check_int("n_samples", n_samples, 0)
        rows = self._rows(n_samples, context)
        known = None if rows is None else rows.detach().numpy()
        flow = _with_parameters(self._flow, self.flow_parameters)
        return torch.from_numpy(flow.sample(n_samples, draw_seed(generator), known))

    def rsample(
        self, n_samples: int, context: torch.Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Draw samples that are differentiable with respect to the parameters and the context: those of N(0, I), transformed.

        Parameters
        ----------
        n_samples : int
        context : torch.Tensor, shape (n_samples, C), or (C,) or (1, C) for one context for all samples
        generator : torch.Generator, optional
            As in `sample`.

        Returns
        -------
        x : torch.Tensor, shape (n_samples, D)

        Raises
        ------
        TypeError, ValueError
        NotImplementedError
            If the base is not N(0, I). The choice of a mixture's component has no derivative.
        """
        if self._flow.base is not None:
            raise NotImplementedError("rsample needs the base N(0, I): draws of other bases have no derivatives")
        n_samples = check_int("n_samples", n_samples, 0)
        z = torch.randn(n_samples, self._flow.data_dim, dtype=torch_dtype(self._flow.dtype), generator=generator)
        x, _ = self.forward(z, self._rows(n_samples, context))
        return x

    def distribution(self, context: torch.Tensor | None = None) -> FlowDistribution:
        """The density as a `torch.distributions.Distribution`.

        Parameters
        ----------
        context : torch.Tensor, shape (C,) or ``batch_shape + (C,)``, optional
            Required if the flow is conditional.

        Returns
        -------
        FlowDistribution

        Raises
        ------
        TypeError, ValueError
            If the context does not fit the flow.
        """
        return FlowDistribution(self, context)

    def _rows(self, n_samples: int, context: torch.Tensor | None) -> torch.Tensor | None:
        """A row of context for each sample, checked."""
        if isinstance(context, torch.Tensor) and context.dim() and context.shape[:-1] in ((), (1,)):
            context = flat(context.reshape(-1), (n_samples,))
        self._check_context(n_samples, context)
        return context

    def _check(self, name: str, points: object, context: object) -> None:
        n_samples = len(check_tensor(name, points, self._flow.dtype, self._flow.data_dim))
        self._check_context(n_samples, context)

    def _check_context(self, n_samples: int, context: Any) -> None:
        columns = self._flow.context_dim
        if (context is None) != (columns == 0):
            expected = f"a tensor of shape (n, {columns})" if columns else "None: the flow has no context"
            raise ValueError(f"context must be {expected}, got {'None' if context is None else 'a tensor'}")
        if context is not None and len(check_tensor("context", context, self._flow.dtype, columns)) != n_samples:
            raise ValueError(f"context must have shape ({n_samples}, {columns}), got {tuple(context.shape)}")

    # What PyTorch calls for conversions, copies, pickles and state dicts.

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> FlowModule:
        """Convert the parameters, for `to`, `double`, `share_memory` and the like."""
        with torch.no_grad():
            after = fn(self.flow_parameters[:0])
        if after.device.type != "cpu" or after.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"FlowModule computes on the CPU in float32 or float64, and cannot be moved to {_place(after)}")
        super()._apply(fn, recurse)
        self._share()
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        """Let the flow have the dtype and the values of the parameters, and these the memory of the flow."""
        values = self.flow_parameters.detach()
        if values.dtype != torch_dtype(self._flow.dtype):
            self._flow = Flow.from_config(self._flow.config() | {"dtype": str(values.numpy().dtype)})
        self._flow.parameters[:] = values.numpy()
        if not values.is_shared():  # with other processes
            self.flow_parameters.data = torch.from_numpy(self._flow.parameters)

    def get_extra_state(self) -> dict[str, Any]:
        """The description of the flow, for `state_dict`.

        Returns
        -------
        config : dict
            That of `Flow.config`.
        """
        return self._flow.config()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Nothing: `load_state_dict` has compared the descriptions.

        Parameters
        ----------
        state : dict
        """

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        config, errors = state_dict.get(f"{prefix}_extra_state"), args[-1]
        if config is not None and _layers(config) != _layers(self._flow.config()):
            errors.append(f"the state of {prefix or 'the module '}is one of a flow with other layers or another base")
            return
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        """What `repr` shows.

        Returns
        -------
        text : str
        """
        flow = self._flow
        return f"data_dim={flow.data_dim}, context_dim={flow.context_dim}, n_layers={len(flow)}, dtype={flow.dtype}"


class FlowDistribution(torch.distributions.Distribution):
    """The density of a `FlowModule` as a PyTorch distribution over vectors.

    Parameters
    ----------
    module : FlowModule
    context : torch.Tensor, shape ``batch_shape + (C,)``, optional
        Required if the flow is conditional.

    Attributes
    ----------
    has_rsample : bool
        Whether samples are differentiable: True over the base N(0, I).

    Raises
    ------
    TypeError, ValueError
        If the context does not fit the flow.

    Examples
    --------
    >>> import torch, nvpflow
    >>> from nvpflow.integrations.torch import FlowModule
    >>> flow = nvpflow.Flow([nvpflow.AffineCoupling(2, 8, [1, 0], context_dim=1, random_state=0)])
    >>> density = FlowModule(flow).distribution(torch.zeros(5, 1))
    >>> density.batch_shape, density.event_shape, density.sample((3,)).shape
    (torch.Size([5]), torch.Size([2]), torch.Size([3, 5, 2]))
    """

    arg_constraints: dict[str, Any] = {}
    support = torch.distributions.constraints.real_vector

    def __init__(self, module: FlowModule, context: torch.Tensor | None = None) -> None:
        rows = None if context is None or context.dim() == 0 else context.reshape(-1, context.shape[-1])
        module._check_context(0 if rows is None else len(rows), context if rows is None else rows)
        self._module, self._context = module, context
        self.has_rsample = module._flow.base is None
        batch = torch.Size() if context is None else context.shape[:-1]
        super().__init__(batch, torch.Size([module._flow.data_dim]))

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log-density of points.

        Parameters
        ----------
        value : torch.Tensor, shape (..., D)
            The dimensions before the last are broadcast with `batch_shape`.

        Returns
        -------
        log_prob : torch.Tensor, shape (...)
            In nats.

        Raises
        ------
        TypeError, ValueError
            As `FlowModule.log_prob`.
        """
        check_place("value", value)
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        context = None if self._context is None else flat(self._context, shape)
        return self._module.log_prob(flat(value, shape), context).reshape(shape)

    def sample(self, sample_shape: Any = ()) -> torch.Tensor:
        """Draw samples, without gradients.

        Parameters
        ----------
        sample_shape : sequence of int, default ()

        Returns
        -------
        x : torch.Tensor, shape ``sample_shape + batch_shape + (D,)``
        """
        return self._draw(self._module.sample, sample_shape)

    def rsample(self, sample_shape: Any = ()) -> torch.Tensor:
        """Draw samples that are differentiable with respect to the parameters and the context.

        Parameters
        ----------
        sample_shape : sequence of int, default ()

        Returns
        -------
        x : torch.Tensor, shape ``sample_shape + batch_shape + (D,)``

        Raises
        ------
        NotImplementedError
            If the base is a mixture.
        """
        return self._draw(self._module.rsample, sample_shape)

    def _draw(self, draw: Callable[..., torch.Tensor], sample_shape: Any) -> torch.Tensor:
        shape = torch.Size(sample_shape) + self.batch_shape
        context = None if self._context is None else flat(self._context, shape)
        return draw(shape.numel(), context).reshape(*shape, self.event_shape[0])


class _Transform(torch.autograd.Function):
    """``flow.forward`` or ``flow.inverse``, by name."""

    @staticmethod
    def forward(ctx: Any, flow: Flow, name: str, *inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        ctx.flow, ctx.name = flow, name
        ctx.save_for_backward(*inputs)
        parameters, points, context = inputs
        out, log_det = getattr(_with_parameters(flow, parameters), name)(*_arrays(points, context))
        return torch.from_numpy(out), torch.from_numpy(log_det)

    @staticmethod
    def backward(ctx: Any, grad_out: torch.Tensor, grad_log_det: torch.Tensor) -> tuple[Any, ...]:
        def vjp(flow: Flow, points: Any, context: Any) -> Any:
            return getattr(flow, f"{ctx.name}_vjp")(points, *_arrays(grad_out, grad_log_det), context)

        return None, None, *_Gradients.apply(ctx.flow, vjp, *ctx.saved_tensors, grad_out, grad_log_det)


class _LogProb(torch.autograd.Function):
    """``flow.log_prob``."""

    @staticmethod
    def forward(ctx: Any, flow: Flow, *inputs: Any) -> torch.Tensor:
        ctx.flow = flow
        ctx.save_for_backward(*inputs)
        parameters, x, context = inputs
        return torch.from_numpy(_with_parameters(flow, parameters).log_prob(*_arrays(x, context)))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        def vjp(flow: Flow, x: Any, context: Any) -> Any:
            return log_prob_vjp(flow, x, np.ascontiguousarray(grad.numpy()), context)

        return None, *_Gradients.apply(ctx.flow, vjp, *ctx.saved_tensors, grad)


class _Gradients(torch.autograd.Function):
    """A vector-Jacobian product, which has no derivative of its own.

    PyTorch's `once_differentiable` would take the product for a constant where the incoming gradient is one.
    """

    @staticmethod
    def forward(ctx: Any, flow: Flow, vjp: Callable[..., Any], *inputs: Any) -> tuple[torch.Tensor | None, ...]:
        parameters, points, context = inputs[:3]
        grad_points, grad_parameters, *rest = vjp(_with_parameters(flow, parameters), *_arrays(points, context))
        arrays = (grad_parameters, grad_points, *(rest or [None]))
        return tuple(None if array is None else torch.from_numpy(array) for array in arrays)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        raise NotImplementedError("second derivatives of a flow are not available")


def _with_parameters(flow: Flow, parameters: torch.Tensor) -> Flow:
    """The flow itself if the tensor is its memory, else a copy with the values, as for `torch.func.functional_call`."""
    values = parameters.detach().numpy()
    if values.ctypes.data == flow.parameters.ctypes.data:
        return flow
    twin = flow.copy()
    twin.parameters[:] = values
    return twin


def _arrays(*tensors: torch.Tensor | None) -> list[Any]:
    return [None if tensor is None else np.ascontiguousarray(tensor.detach().numpy()) for tensor in tensors]


def _place(tensor: torch.Tensor) -> str:
    return str(tensor.device if tensor.device.type != "cpu" else tensor.dtype)


def _layers(config: dict[str, Any]) -> dict[str, Any]:
    """A description without the dtype, which loading converts."""
    return {name: value for name, value in config.items() if name != "dtype"}
