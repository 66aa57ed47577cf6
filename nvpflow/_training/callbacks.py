"""Callbacks of training: how they stop it, and one that stops on a plateau."""

from __future__ import annotations

from nvpflow._typing import Callback

__all__ = ["stop_on_plateau", "wants_stop"]


def wants_stop(callback: Callback, epoch: int, train_nll: float, validation_nll: float) -> bool:
    """Call the callback of `Flow.fit`. True if it raises StopIteration.

    The return value is ignored, because a lambda returns the result of its expression. (The `update` of a tqdm bar returns
    True each time it draws.)
    """
    try:
        callback(epoch, train_nll, validation_nll)
    except StopIteration:
        return True
    return False


def stop_on_plateau(callback: Callback | None, patience: int, tol: float) -> Callback:
    """A callback that stops when the training NLL has not fallen by more than `tol` for `patience` epochs.

    It first calls `callback`, unless that is None.
    """
    best, since = float("inf"), 0

    def watch(epoch: int, train_nll: float, validation_nll: float) -> None:
        nonlocal best, since
        if callback is not None:
            callback(epoch, train_nll, validation_nll)
        best, since = (train_nll, 0) if train_nll < best - tol else (best, since + 1)
        if since == patience:
            raise StopIteration

    return watch
