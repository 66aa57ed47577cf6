"""What a callback says to the training that calls it."""

import numpy as np

__all__ = ["wants_stop"]


def wants_stop(callback, epoch, train_nll, validation_nll):
    """Call the callback of `Flow.fit`. True if it returns True or raises StopIteration.

    Other results say nothing: many functions return something true that is not meant for a training.
    """
    try:
        answer = callback(epoch, train_nll, validation_nll)
    except StopIteration:
        return True
    return isinstance(answer, (bool, np.bool_)) and bool(answer)
