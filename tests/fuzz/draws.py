"""Strategies that draw random inputs: the few of Hypothesis that the targets need, many times faster and without shrinking.

A strategy is a function of a `random.Random`. The number of an input seeds it, so that each input can be made again alone.
"""

import functools


def sampled_from(values):
    values = list(values)
    return lambda rng: values[int(rng.random() * len(values))]


def integers(least, most):
    return lambda rng: least + int(rng.random() * (most - least + 1))


def booleans():
    return lambda rng: rng.random() < 0.5


def binary(min_size=0, max_size=8):
    size = integers(min_size, max_size)
    return lambda rng: rng.randbytes(size(rng))


def lists(values, min_size=0, max_size=4):
    size = integers(min_size, max_size)
    return lambda rng: [values(rng) for _ in range(size(rng))]


def one_of(*strategies):
    return lambda rng: strategies[int(rng.random() * len(strategies))](rng)


def none():
    return lambda rng: None


def fixed_dictionaries(strategies):
    return lambda rng: {name: strategy(rng) for name, strategy in strategies.items()}


def composite(function):
    """`function(draw, ...)` becomes a function of its other arguments that returns a strategy."""

    @functools.wraps(function)
    def make(*arguments):
        return lambda rng: function(lambda strategy: strategy(rng), *arguments)

    return make
