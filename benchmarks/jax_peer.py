"""The article's flow as people write it in JAX: parameters in a list, jit around the whole training with scan."""

import jax
import jax.numpy as jnp


def network(parameters, x):
    (w1, b1), (w2, b2) = parameters
    return jax.nn.relu(x @ w1.T + b1) @ w2.T + b2


def log_prob(parameters, masks, x):
    log_det = 0.0
    for (s_net, b_net), mask in zip(reversed(parameters), reversed(masks)):
        identity = mask * x
        s, b = network(s_net, identity), network(b_net, identity)
        x = identity + (1 - mask) * ((x - b) * jnp.exp(-s))
        log_det = log_det - ((1 - mask) * s).sum(axis=1)
    return log_det - 0.5 * (x**2).sum(axis=1) - 0.5 * x.shape[1] * jnp.log(2 * jnp.pi)


def forward(parameters, masks, z):
    for (s_net, b_net), mask in zip(parameters, masks):
        identity = mask * z
        s, b = network(s_net, identity), network(b_net, identity)
        z = identity + (1 - mask) * (z * jnp.exp(s) + b)
    return z


def from_state(state, n_layers):
    """Parameters and masks of a two-dimensional flow from a PyTorch state dict of arrays."""

    def linear(name):
        return jnp.asarray(state[f"{name}.weight"]), jnp.asarray(state[f"{name}.bias"])

    nets = [[(linear(f"{i}.{net}.0"), linear(f"{i}.{net}.2")) for net in ("s_net", "b_net")] for i in range(n_layers)]
    masks = [jnp.array([1.0, 0.0] if i % 2 == 0 else [0.0, 1.0]) for i in range(n_layers)]
    return nets, masks


def make_training(masks, epochs, learning_rate=1e-3):
    """A compiled function of parameters and data: the losses of all epochs of full-batch Adam, and the parameters."""

    def loss(parameters, x):
        return -log_prob(parameters, masks, x).mean()

    def step(carry, t):
        parameters, m, v, x = carry
        value, grad = jax.value_and_grad(loss)(parameters, x)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grad)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grad)
        rate, root = learning_rate / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
        parameters = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) * root + 1e-8), parameters, m, v)
        return (parameters, m, v, x), value

    @jax.jit
    def train(parameters, x):
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        (parameters, *_), losses = jax.lax.scan(step, (parameters, zeros, zeros, x), jnp.arange(1.0, epochs + 1))
        return losses, parameters

    return train
