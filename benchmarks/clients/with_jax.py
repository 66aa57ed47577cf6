"""A flow of ours in a training loop of JAX, beside harmonic's, which is written in JAX: gap to the exact density, milliseconds."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from evidence import PROBLEMS
from harmonic.flows import RQSpline
from report import Clock, compare, options

import nvpflow
from nvpflow.integrations.jax import JaxFlow

N_LAYERS, WIDTH, BINS, BATCH, RATE = 4, 64, 8, 256, 2e-3


def ours(dim, key):
    """Log-density (parameters, x) of spline couplings between halves of the columns, and parameters."""
    masks = [np.arange(dim) % 2 == i % 2 for i in range(N_LAYERS)]
    seeds = [int(seed) for seed in jax.random.randint(key, (N_LAYERS,), 0, 2**31 - 1)]
    make = nvpflow.SplineCoupling
    layers = [make(dim, (WIDTH, WIDTH), mask, n_bins=BINS, random_state=seed) for mask, seed in zip(masks, seeds)]
    flow = JaxFlow(nvpflow.Flow(layers))
    return flow.log_prob, flow.parameters


def of_harmonic(dim, key):
    """The same of harmonic."""
    flow = RQSpline(dim, N_LAYERS, (WIDTH, WIDTH), BINS)  # of one point, or of all through a method of its own
    return partial(flow.apply, method=flow.log_prob), flow.init(key, jnp.zeros(dim))


FLOWS = {"JaxFlow": ours, "harmonic's RQSpline": of_harmonic}


def run(problem, make, seed, chosen):
    """The figures of one training."""
    rng = np.random.default_rng(seed)
    x, fresh = problem.sample(chosen.draws, rng), problem.sample(5000, rng)
    origin, scale = x.mean(axis=0), x.std(axis=0)
    points = jnp.asarray((x - origin) / scale, jnp.float32)
    log_prob, parameters = make(problem.dim, jax.random.PRNGKey(seed))
    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, chosen.steps))

    @jax.jit
    def step(parameters, state, key):
        batch = points[jax.random.randint(key, (BATCH,), 0, len(points))]
        grad = jax.grad(lambda values: -log_prob(values, batch).mean())(parameters)
        changes, state = optimiser.update(grad, state, parameters)
        return optax.apply_updates(parameters, changes), state

    state, compiling, training = optimiser.init(parameters), Clock(), Clock()
    keys = jax.random.split(jax.random.PRNGKey(seed + 1), chosen.steps)
    with compiling:
        parameters, state = jax.block_until_ready(step(parameters, state, keys[0]))
    with training:
        for key in keys[1:]:
            parameters, state = jax.block_until_ready(step(parameters, state, key))
    found = np.asarray(log_prob(parameters, jnp.asarray((fresh - origin) / scale, jnp.float32))) - np.log(scale).sum()
    return {
        "gap": float(np.mean(problem.log_likelihood(fresh) - found)),
        "milliseconds of a step": 1000 * training.seconds / (chosen.steps - 1),
        "seconds to compile": compiling.seconds,
    }


def main():
    chosen = options(__doc__, PROBLEMS, draws=5000, steps=1000)
    warnings.simplefilter("ignore")
    for name in chosen.problems:
        problem = PROBLEMS[name]
        compare(f"JAX, {name}", FLOWS, partial(run, problem, chosen=chosen), chosen.seeds)


if __name__ == "__main__":
    main()
