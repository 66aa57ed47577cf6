"""What a callback says to the training that calls it."""

__all__ = ["wants_stop"]


def wants_stop(callback, epoch, train_nll, validation_nll):
    """Call the callback of `Flow.fit`. True if it raises StopIteration.

    What it returns says nothing: a lambda returns whatever its one call gives, which is not meant for a training. (The
    `update` of a bar of tqdm returns True each time it draws.)
    """
    try:
        callback(epoch, train_nll, validation_nll)
    except StopIteration:
        return True
    return False
