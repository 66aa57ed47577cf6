"""nvpflow.integrations.jax: values and gradients under jit, vmap and grad, and errors."""

import numpy as np
import pytest

import nvpflow
from support.flows import make_model

jax = pytest.importorskip("jax", reason="needs JAX: pip install nvpflow[jax]")

import jax.numpy as jnp
from jax.test_util import check_grads

from nvpflow.integrations.jax import JaxFlow


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        yield


def make(context_dim=0, n_components=0, conditional=False):
    """A flow of every kind of layer, its parameters, and points with contexts."""
    model = make_model(context_dim, n_components=n_components, conditional=conditional)
    context = np.random.default_rng(1).normal(size=(4, context_dim)) if context_dim else None
    x = model.sample(4, 1, context)
    flow = JaxFlow(model)
    return model, flow, [flow.parameters, *(jnp.asarray(a) for a in (x, context) if a is not None)]


class TestGradients:
    """Against finite differences, through jit: every parameter, input and context value."""

    @pytest.mark.parametrize("context_dim", [0, 2])
    @pytest.mark.parametrize("name", ["forward", "inverse", "log_prob"])
    def test_normal_base(self, name, context_dim):
        model, flow, (parameters, x, *context) = make(context_dim)
        points = jnp.asarray(model.inverse(x, *context)[0]) if name == "forward" else x
        function = jax.jit(getattr(flow, name))
        check_grads(function, (parameters, points, *context), order=1, modes=["rev"], atol=1e-4, rtol=1e-4, eps=1e-6)

    def test_mixture_bases(self):
        """The weights of the sum have both signs."""
        weight = jnp.asarray([1.0, -2.0, 0.0, 0.5])
        for context_dim, conditional in ((0, False), (2, True)):
            _, flow, (parameters, x, *context) = make(context_dim, 3, conditional)

            def total(parameters, x):
                return (weight * flow.log_prob(parameters, x, *context)).sum()

            check_grads(jax.jit(total), (parameters, x), order=1, modes=["rev"], atol=1e-4, rtol=1e-4, eps=1e-6)
            if conditional:
                with pytest.raises(NotImplementedError, match="ConditionalMixtureBase"):
                    jax.grad(lambda c: flow.log_prob(parameters, x, c).sum())(*context)

    def test_vmap_of_grad(self):
        _, flow, (parameters, x) = make()
        together = jax.grad(lambda x: flow.log_prob(parameters, x).sum())(x)
        for wrap in (jax.jit, lambda function: function):
            alone = wrap(jax.vmap(jax.grad(flow.log_prob, argnums=1), (None, 0)))(parameters, x)
            np.testing.assert_allclose(alone, together, rtol=1e-10)
        each = jax.vmap(jax.grad(flow.log_prob), (None, 0))(parameters, x)  # of the parameters, for each point
        assert each.shape == (4, parameters.size)
        total = jax.grad(lambda parameters: flow.log_prob(parameters, x).sum())(parameters)
        np.testing.assert_allclose(each.sum(axis=0), total, rtol=1e-8, atol=1e-10)

    def test_unwanted_gradients_are_not_computed(self, monkeypatch):
        """They would be one array of parameters for each point."""
        _, flow, (parameters, x) = make()
        monkeypatch.setattr("nvpflow.integrations.jax._Host.vjp_of_parameters", lambda *arrays: 1 / 0)
        jax.vmap(jax.grad(flow.log_prob, argnums=1), (None, 0))(parameters, x)


class TestJaxFlow:
    @pytest.mark.parametrize("context_dim, n_components", [(0, 0), (2, 2)])
    def test_values(self, context_dim, n_components):
        model, flow, (parameters, x, *context) = make(context_dim, n_components)
        for name in ("inverse", "log_prob", "forward"):
            points = jnp.asarray(model.inverse(x, *context)[0]) if name == "forward" else x
            expected = getattr(model, name)(points, *context)
            for function in (getattr(flow, name), jax.jit(getattr(flow, name))):
                found = function(parameters, points, *context)
                jax.tree.map(np.testing.assert_array_equal, found, expected)

    def test_vmap(self):
        """Over points, over both dimensions of points, over parameters, and over contexts."""
        model, flow, (parameters, x, context) = make(2)
        expected = model.log_prob(x, context)
        np.testing.assert_allclose(jax.vmap(flow.log_prob, (None, 0, 0))(parameters, x, context), expected)
        square = jax.vmap(jax.vmap(flow.log_prob, (None, 0, None)), (None, None, 0))(parameters, x, context)
        assert square.shape == (4, 4)
        np.testing.assert_allclose(jnp.diag(square), expected)
        two = jnp.stack([parameters, 1.1 * parameters])
        both = jax.vmap(flow.log_prob, (0, None, None))(two, x, context)
        np.testing.assert_allclose(both[0], expected)
        np.testing.assert_allclose(both[1], flow.flow(1.1 * parameters).log_prob(x, context))
        np.testing.assert_allclose(flow.log_prob(parameters, x[0], context[0]), expected[0])

    def test_fits_a_normal_distribution(self):
        """Gradient steps in one compiled loop find the known answer, the entropy."""
        X = np.random.default_rng(0).normal(size=(2000, 2)) @ [[2.0, 1.0], [0.0, 0.5]]
        flow = JaxFlow(nvpflow.Flow([nvpflow.LULinear(2, dtype="float64"), nvpflow.ActNorm(2, dtype="float64")]))
        value = jax.value_and_grad(lambda parameters: -flow.log_prob(parameters, jnp.asarray(X)).mean())

        def step(parameters, _):
            loss, grad = value(parameters)
            return parameters - 0.1 * grad, loss

        _, losses = jax.jit(lambda start: jax.lax.scan(step, start, length=200))(flow.parameters)
        assert losses[-1] == pytest.approx(np.log(2 * np.pi * np.e), abs=0.04)

    def test_sample(self):
        _, flow, (parameters, _, context) = make(2)
        draw = jax.jit(flow.sample, static_argnums=2)
        keys = jax.random.split(jax.random.key(0))
        x = draw(parameters, keys[0], 4, context)
        assert x.shape == (4, 3) and jnp.array_equal(x, flow.sample(parameters, keys[0], 4, context))
        assert not jnp.array_equal(x, draw(parameters, keys[1], 4, context))

    def test_errors(self):
        model, flow, (parameters, x) = make()
        for wrong, error, match in (
            ((parameters, x.astype("float32")), TypeError, "x must have dtype float64, that of the flow, got float32"),
            ((parameters, x[:, :1]), ValueError, r"x must have shape \(4, 3\), got \(4, 1\)"),
            ((parameters[1:], x), ValueError, "parameters must have shape"),
            ((parameters, x, x), ValueError, "context must be None"),
        ):
            for function in (flow.log_prob, jax.jit(flow.inverse)):
                with pytest.raises(error, match=match):
                    function(*wrong)
        with pytest.raises(ValueError, match=r"parameters must have shape \(\d+,\), got \(1,\)"):
            flow.flow(parameters[:1])
        with pytest.raises(TypeError, match="parameters must be an array of real numbers, got a .*Tracer"):
            jax.jit(lambda p: flow.flow(p).log_prob(x))(parameters)
        with pytest.raises(ValueError, match="context must be an array"):
            make(2)[1].log_prob(*make(2)[2][:2])
        with pytest.raises(TypeError, match="flow must be a nvpflow.Flow"):
            JaxFlow(3)
        with pytest.raises(TypeError, match="x must be an array of real numbers, got a .*Tracer"):
            jax.jit(model.log_prob)(x)  # the flow itself knows no tracers
        with pytest.raises(TypeError, match="forward-mode|jvp"):
            jax.jacfwd(lambda x: flow.log_prob(parameters, x))(x)

    def test_float64_needs_x64(self):
        with jax.enable_x64(False) if hasattr(jax, "enable_x64") else jax.experimental.disable_x64():
            with pytest.raises(ValueError, match="jax_enable_x64"):
                JaxFlow(make_model())
            flow = JaxFlow(make_model(dtype="float32"))
            assert flow.log_prob(flow.parameters, jnp.zeros((2, 3), "float32")).dtype == "float32"
