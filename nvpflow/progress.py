"""Progress of training: a bar in a terminal or a notebook, lines elsewhere."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import numpy as np

from nvpflow._typing import Callback

__all__ = ["progress"]


@contextmanager
def progress(n_epochs: int, verbose: int = 1, file: TextIO | None = None) -> Iterator[Callback]:
    """A callback for `fit` that shows the progress, with the training and the validation NLL.

    It is a tqdm bar in a terminal or a notebook, if tqdm is installed. Elsewhere it prints about ten lines times `verbose`.

    Parameters
    ----------
    n_epochs : int
        The largest number of epochs.
    verbose : int, default 1
        0 shows nothing.
    file : text file, optional
        Default: ``sys.stderr``. A bar is shown if this is a terminal.

    Yields
    ------
    callable
        ``callback(epoch, train_nll, validation_nll)``, in nats; validation_nll is NaN without validation data. It never stops
        training. To stop, call it in your own callback, which raises StopIteration.

    Examples
    --------
    >>> import sys
    >>> from nvpflow.progress import progress
    >>> with progress(20, file=sys.stdout) as callback:
    ...     for epoch in range(1, 5):
    ...         callback(epoch, 2 - epoch / 4, float("nan"))
    epoch 2/20: training NLL 1.5000
    epoch 4/20: training NLL 1.0000
    """
    file = sys.stderr if file is None else file
    bar = progress_bar(n_epochs, file) if verbose else None
    parts = 10 * verbose

    validation = np.nan  # the latest: not every epoch is validated

    def show(epoch: int, train_nll: float, validation_nll: float) -> None:
        nonlocal validation
        validation = validation if np.isnan(validation_nll) else validation_nll
        if bar is not None:
            bar.set_postfix_str(_scores(train_nll, validation), refresh=False)
            bar.update()
        elif epoch * parts // n_epochs != (epoch - 1) * parts // n_epochs:
            print(f"epoch {epoch}/{n_epochs}: {_scores(train_nll, validation)}", file=file, flush=True)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def _scores(train_nll: float, validation_nll: float) -> str:
    validation = "" if np.isnan(validation_nll) else f", validation NLL {validation_nll:.4f}"
    return f"training NLL {train_nll:.4f}{validation}"


def progress_bar(total: int | None, file: TextIO, unit: str = " epochs", **options: Any) -> Any:
    """A tqdm bar, or None outside of terminals and notebooks, or without tqdm."""
    if not (_is_terminal(file) or _in_notebook()):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in a notebook without widgets, tqdm recommends them
            from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=total, unit=unit, dynamic_ncols=True, file=file, **options)


def _is_terminal(file: TextIO) -> bool:
    return hasattr(file, "isatty") and file.isatty()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and "IPKernelApp" in shell.config
