"""Training curves: in the form for users, and in the form for files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nvpflow._typing import Floats, History

__all__ = ["every_epoch", "joined", "validated"]


def validated(history: Mapping[str, Floats], first_epoch: int = 1) -> History:
    """Convert curves to the form for users: "validation_nll" has only the epochs in "validation_epoch".

    Parameters
    ----------
    history : dict
        "train_nll" and perhaps "validation_nll": ndarrays with one entry per epoch, NaN for epochs without validation.
    first_epoch : int, default 1
        The number of the first epoch.

    Returns
    -------
    dict of str to ndarray
    """
    curves: History = {"train_nll": history["train_nll"]}
    if "validation_nll" in history:
        measured = np.flatnonzero(~np.isnan(history["validation_nll"]))
        curves["validation_epoch"] = measured + first_epoch
        curves["validation_nll"] = history["validation_nll"][measured]
    return curves


def every_epoch(history: History) -> dict[str, Floats]:
    """Undo `validated`: one entry per epoch, for files."""
    curves: dict[str, Floats] = {"train_nll": np.asarray(history["train_nll"], np.float64)}
    if "validation_nll" in history:
        curves["validation_nll"] = np.full(len(curves["train_nll"]), np.nan)
        curves["validation_nll"][np.asarray(history["validation_epoch"]) - 1] = history["validation_nll"]
    return curves


def joined(histories: Sequence[History]) -> History:
    """Concatenate the curves of an ensemble's members. Epochs are counted on; "member" has the member of each epoch."""
    lengths = [len(history["train_nll"]) for history in histories]
    curves: History = {
        "train_nll": np.concatenate([history["train_nll"] for history in histories]),
        "member": np.repeat(np.arange(len(histories)), lengths),
    }
    validated = [(sum(lengths[:k]), history) for k, history in enumerate(histories) if "validation_nll" in history]
    if validated:
        curves["validation_epoch"] = np.concatenate([first + history["validation_epoch"] for first, history in validated])
        curves["validation_nll"] = np.concatenate([history["validation_nll"] for _, history in validated])
    return curves
