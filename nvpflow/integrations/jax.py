"""JAX: a flow's functions for `jit`, `vmap` and `grad`, as callbacks with a derivative of their own."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from nvpflow._typing import Floats
from nvpflow._validation.arguments import check_int, shown
from nvpflow._validation.arrays import as_array
from nvpflow.flow import Flow
from nvpflow.integrations._log_prob import log_prob_vjp, refuse_context_gradient
from nvpflow.integrations._missing import not_installed

try:
    import jax
    import jax.numpy as jnp
except ModuleNotFoundError as error:
    raise not_installed("jax", error) from None

__all__ = ["JaxFlow"]


class JaxFlow:
    """The functions of a flow for JAX programs: pure, and differentiable with respect to parameters, points and context.

    JAX calls the C core from its compiled programs, on the CPU, in the dtype of the flow. Gradients are the library's
    vector-Jacobian products, in reverse mode; second derivatives and forward mode are not available. `jax.vmap` over points
    and contexts joins them into one call of the core; over parameters it makes one call for each set.

    Parameters
    ----------
    flow : Flow
        Copied. Of a fitted `FlowDensity` pass `flow_`, which reads samples less `origin_`.

    Attributes
    ----------
    parameters : jax.Array, shape (n_parameters,)
        Those of the flow, to start with. The functions take them as their first argument.

    Raises
    ------
    TypeError
        If `flow` is not a `Flow`.
    ValueError
        If the flow is in float64 and JAX is not: ``jax.config.update("jax_enable_x64", True)``.

    References
    ----------
    Bradbury et al. (2018), "JAX: composable transformations of Python+NumPy programs".

    Examples
    --------
    >>> import jax, jax.numpy as jnp, nvpflow
    >>> from nvpflow.integrations.jax import JaxFlow
    >>> flow = JaxFlow(nvpflow.Flow([nvpflow.AffineCoupling(2, 8, mask, random_state=0) for mask in ([1, 0], [0, 1])]))
    >>> x = jnp.zeros((3, 2))
    >>> jax.jit(flow.log_prob)(flow.parameters, x).shape
    (3,)
    >>> jax.vmap(jax.grad(flow.log_prob, argnums=1), (None, 0))(flow.parameters, x).shape
    (3, 2)
    """

    def __init__(self, flow: Flow) -> None:
        if not isinstance(flow, Flow):
            hint = "; pass its flow_" if hasattr(flow, "flow_") else ""
            raise TypeError(f"flow must be a nvpflow.Flow, got {shown(flow)}{hint}")
        if flow.dtype == np.float64 and not jax.config.jax_enable_x64:
            raise ValueError(
                'flow must have dtype float32, got float64, which JAX has only after jax.config.update("jax_enable_x64", True)'
            )
        self._flow = flow.copy()
        self.parameters = jnp.asarray(self._flow.parameters.copy())
        transforms = {name: _differentiable(_Host(self._flow, name)) for name in ("forward", "inverse", "log_prob")}
        self._forward, self._inverse, self._log_prob = transforms.values()

    def flow(self, parameters: Any) -> Flow:
        """A flow with these parameters, outside of JAX.

        Parameters
        ----------
        parameters : array_like, shape (n_parameters,)

        Returns
        -------
        Flow

        Raises
        ------
        TypeError, ValueError
            If parameters are tracers, or have another shape.
        """
        twin = self._flow.copy()
        given = as_array("parameters", parameters)
        if given.shape != twin.parameters.shape:
            raise ValueError(f"parameters must have shape {twin.parameters.shape}, got {given.shape}")
        twin.parameters[:] = given
        return twin

    def forward(self, parameters: Any, z: Any, context: Any = None) -> tuple[Any, Any]:
        """Generate: map latent points to data.

        Parameters
        ----------
        parameters : jax.Array, shape (n_parameters,)
        z : jax.Array, shape (..., D)
        context : jax.Array, shape (..., C), optional
            Required if the flow is conditional; with the same leading dimensions as z.

        Returns
        -------
        x : jax.Array, shape (..., D)
        log_det : jax.Array, shape (...)
            log|det dx/dz|, in nats.

        Raises
        ------
        TypeError, ValueError
            If an array has another dtype than the flow, or another shape.
        """
        return self._forward(*self._checked("z", parameters, z, context))

    def inverse(self, parameters: Any, x: Any, context: Any = None) -> tuple[Any, Any]:
        """Map data to latent points.

        Parameters
        ----------
        parameters : jax.Array, shape (n_parameters,)
        x : jax.Array, shape (..., D)
        context : jax.Array, shape (..., C), optional
            As for `forward`.

        Returns
        -------
        z : jax.Array, shape (..., D)
        log_det : jax.Array, shape (...)
            log|det dz/dx|, in nats.

        Raises
        ------
        TypeError, ValueError
            As `forward`.
        """
        return self._inverse(*self._checked("x", parameters, x, context))

    def log_prob(self, parameters: Any, x: Any, context: Any = None) -> Any:
        """Log-density of samples, whatever the base.

        Parameters
        ----------
        parameters : jax.Array, shape (n_parameters,)
        x : jax.Array, shape (..., D)
        context : jax.Array, shape (..., C), optional
            As for `forward`.

        Returns
        -------
        log_prob : jax.Array, shape (...)
            In nats, -inf for points without a density.

        Raises
        ------
        TypeError, ValueError
            As `forward`.
        NotImplementedError
            If the gradient with respect to a context is wanted through a `ConditionalMixtureBase`.
        """
        return self._log_prob(*self._checked("x", parameters, x, context))[0]

    def sample(self, parameters: Any, key: Any, n_samples: int, context: Any = None) -> Any:
        """Draw samples, without gradients. Over N(0, I), `forward` of ``jax.random.normal`` has them.

        Parameters
        ----------
        parameters : jax.Array, shape (n_parameters,)
        key : jax.Array
            Of ``jax.random.key``. The same key gives the same samples.
        n_samples : int
        context : jax.Array, shape (n_samples, C), optional
            Required if the flow is conditional.

        Returns
        -------
        x : jax.Array, shape (n_samples, D)

        Raises
        ------
        TypeError, ValueError
        """
        shape = (check_int("n_samples", n_samples, 0), self._flow.data_dim)
        inputs = _with_context(tuple(self._checked("x", parameters, jnp.zeros(shape, self._flow.dtype), context)))
        words = jax.random.bits(key, (2,), "uint32")
        host, out = _Host(self._flow, "sample"), jax.ShapeDtypeStruct(shape, self._flow.dtype)
        return jax.lax.stop_gradient(jax.pure_callback(host.sample, out, words, *inputs, vmap_method="sequential"))

    def _checked(self, name: str, parameters: Any, points: Any, context: Any) -> list[Any]:
        """The inputs of the functions, with their dtypes and shapes checked, at the time of tracing."""
        flow, arrays = self._flow, {"parameters": _as_jax("parameters", parameters), name: _as_jax(name, points)}
        if (context is None) != (flow.context_dim == 0):
            expected = f"an array of shape (..., {flow.context_dim})" if flow.context_dim else "None: the flow has no context"
            raise ValueError(f"context must be {expected}, got {'None' if context is None else 'an array'}")
        if context is not None:
            arrays["context"] = _as_jax("context", context)
        for label, array in arrays.items():
            if array.dtype != flow.dtype:
                raise TypeError(f"{label} must have dtype {flow.dtype}, that of the flow, got {array.dtype}")
        leading = arrays[name].shape[:-1]
        expected_shapes = {"parameters": (flow.n_parameters,), name: (*leading, flow.data_dim)}
        expected_shapes["context"] = (*leading, flow.context_dim)
        for label, array in arrays.items():
            if array.shape != expected_shapes[label]:
                raise ValueError(f"{label} must have shape {expected_shapes[label]}, got {array.shape}")
        return list(arrays.values())


def _as_jax(name: str, array: Any) -> Any:
    """An array of JAX, such as a tracer, as it is; others converted."""
    return array if isinstance(array, jax.Array) else jnp.asarray(as_array(name, array))


class _Host:
    """What runs on the host: a function of the flow and its vector-Jacobian product, for arrays with leading dimensions.

    `jax.vmap` adds dimensions in front of all arrays, of size 1 where it does not map over one of them.
    """

    def __init__(self, flow: Flow, name: str) -> None:
        self.flow, self.name = flow, name
        self._own = threading.local()  # JAX may call from several threads

    def call(self, parameters: Any, points: Any, context: Any) -> tuple[Floats, ...]:
        """Points and log-determinants, or log-densities."""
        sets, leading = _aligned(parameters, points, context)
        found = [getattr(self._with(values), self.name)(*rows) for values, *rows in _joined(sets)]
        return _stacked([one if isinstance(one, tuple) else (one,) for one in found], leading)

    def vjp_of_inputs(self, parameters: Any, points: Any, context: Any, *grads: Any) -> tuple[Floats, ...]:
        """Gradients with respect to the points and, if there is one, the context."""
        sets, leading = _aligned(parameters, points, context, *grads)
        found = [self._vjp(*each) for each in _joined(sets)]
        return _stacked([(grad_points, *rest) for grad_points, _, *rest in found], leading)

    def vjp_of_parameters(self, parameters: Any, points: Any, context: Any, *grads: Any) -> Floats:
        """The gradient with respect to the parameters, one for each index of the dimensions that `vmap` has added."""
        sets, leading = _aligned(parameters, points, context, *grads)
        found = np.stack([self._vjp(*each)[1] for each in sets])
        return found.reshape(*leading[: parameters.ndim - 1], -1)

    def sample(self, words: Any, parameters: Any, points: Any, context: Any) -> Floats:
        """Samples by the two words of a key."""
        known = None if context is None else np.asarray(context)
        return self._with(np.asarray(parameters)).sample(len(points), int(words[0]) << 32 | int(words[1]), known)

    def _vjp(self, parameters: Floats, points: Floats, context: Floats | None, *grads: Floats) -> list[Floats]:
        """Gradients with respect to points, parameters and, if there is one, context."""
        flow = self._with(parameters)
        if self.name == "log_prob":
            return [array for array in log_prob_vjp(flow, points, grads[0], context) if array is not None]
        return list(getattr(flow, f"{self.name}_vjp")(points, *grads, context))

    def _with(self, parameters: Floats) -> Flow:
        """This thread's copy of the flow, with these parameters."""
        if not hasattr(self._own, "flow"):
            self._own.flow = self.flow.copy()
        flow: Flow = self._own.flow
        flow.parameters[:] = parameters
        return flow


def _aligned(parameters: Any, points: Any, *others: Any) -> tuple[list[list[Any]], tuple[int, ...]]:
    """The inputs [values (P,), rows (n, D), ...] of each set of parameters, and the leading dimensions of all points."""
    n_added, n_leading = parameters.ndim - 1, points.ndim - 1
    given: list[Any] = [None if a is None else np.asarray(a) for a in (parameters, points, *others)]
    outer = np.broadcast_shapes(*(a.shape[:n_added] for a in given if a is not None))
    full: list[Any] = [None if a is None else np.broadcast_to(a, (*outer, *a.shape[n_added:])) for a in given]
    inner = given[1].shape[n_added:-1]
    n_sets, n_rows = math.prod(outer), math.prod(inner)
    split = [None if a is None else a.reshape(n_sets, n_rows, *a.shape[n_leading:]) for a in full[1:]]
    values = full[0].reshape(n_sets, -1)
    sets = [[values[i], *(None if a is None else a[i] for a in split)] for i in range(n_sets)]
    return sets, (*outer, *inner)


def _joined(sets: list[list[Any]]) -> list[list[Any]]:
    """Sets of equal parameters as one set with the rows of all."""
    first, *_ = sets[0]
    if len(sets) == 1 or not all(np.shares_memory(first, each[0]) or np.array_equal(first, each[0]) for each in sets):
        return sets
    return [[first, *(None if of[0] is None else np.concatenate(of) for of in list(zip(*sets))[1:])]]


def _stacked(found: list[tuple[Floats, ...]], leading: tuple[int, ...]) -> tuple[Floats, ...]:
    """The results of all sets, with the leading dimensions."""
    joined = (np.concatenate(of) for of in zip(*found))
    return tuple(array.reshape((*leading, *array.shape[1:])) for array in joined)


def _differentiable(host: _Host) -> Callable[..., tuple[Any, ...]]:
    """The function of (parameters, points[, context]) for JAX, with its derivative.

    The backward pass computes the gradients that are wanted alone: those of the parameters are one array for each point where
    `jax.vmap` maps over points.
    """
    like = partial(jax.tree.map, lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype))

    def on_host(function: Callable[..., Any], out: Any, *arrays: Any) -> Any:
        return jax.pure_callback(function, out, *arrays, vmap_method="expand_dims")

    @jax.custom_vjp
    def function(*inputs: Any) -> tuple[Any, ...]:
        parameters, points, context = _with_context(inputs)
        scalar = jax.ShapeDtypeStruct(points.shape[:-1], points.dtype)
        out = (scalar,) if host.name == "log_prob" else (like(points), scalar)
        return on_host(host.call, out, parameters, points, context)  # type: ignore[no-any-return]

    def forward(*inputs: Any) -> tuple[tuple[Any, ...], Any]:
        values, wanted = tuple(a.value for a in inputs), [a.perturbed for a in inputs]
        if host.name == "log_prob" and any(wanted[2:]):
            refuse_context_gradient(host.flow)
        # Python values cannot be saved; the structure of a tree can: () and None have no leaves.
        return function(*values), (values, () if wanted[0] else None, () if any(wanted[1:]) else None)

    def backward(saved: Any, grads: Any) -> tuple[Any, ...]:
        values, of_parameters, of_inputs = saved
        arrays = (*_with_context(values), *(_as_array(grad) for grad in grads))
        out = [jnp.zeros_like(a) for a in values]
        if of_parameters is not None:
            out[0] = on_host(host.vjp_of_parameters, like(values[0]), *arrays)
        if of_inputs is not None:
            out[1:] = on_host(host.vjp_of_inputs, like(values[1:]), *arrays)
        return tuple(out)

    function.defvjp(forward, backward, symbolic_zeros=True)
    return function  # type: ignore[no-any-return]


def _with_context(inputs: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    """Parameters, points, and the context or None."""
    parameters, points, context = (*inputs, None)[:3]
    return parameters, points, context


def _as_array(grad: Any) -> Any:
    """The gradient of an output that nothing depends on comes as a symbol."""
    return jnp.zeros(grad.shape, grad.dtype) if isinstance(grad, jax.custom_derivatives.SymbolicZero) else grad
