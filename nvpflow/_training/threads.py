"""Tasks in threads that end with the call. Their warnings and the first exception are those of the calling thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from nvpflow._warnings import KeptWarnings, kept_warnings, warn_user

__all__ = ["in_threads", "run_in_threads"]

T = TypeVar("T")

WAIT = 0.1  # seconds: where a wait for a lock ignores Ctrl-C, as on Windows, it is noticed after this time


def run_in_threads(tasks: Iterable[Callable[[], None]], n_threads: int, interrupt: Callable[[], None]) -> None:
    """Run tasks, in the calling thread if `n_threads` is 1.

    Parameters
    ----------
    tasks : iterable of callable
    n_threads : int
    interrupt : callable
        Ends tasks that run in threads. It is called if one of them, or the calling thread, has an exception. Tasks that
        have not begun are then left out.
    """
    warnings: list[KeptWarnings] = []

    def run(task: Callable[[], None]) -> None:
        with kept_warnings() as kept:
            warnings.append(kept)
            task()

    if n_threads == 1:
        for task in tasks:
            run(task)
    else:
        _run_all(run, list(tasks), n_threads, interrupt)
    for message, category in dict.fromkeys(warning for kept in warnings for warning in kept):
        warn_user(message, category)


def in_threads(tasks: Sequence[Callable[[], T]], n_threads: int) -> list[T]:
    """The results of short tasks, in their order."""
    if n_threads == 1 or len(tasks) < 2:
        return [task() for task in tasks]
    found: dict[int, T] = {}

    def keep(place: int, task: Callable[[], T]) -> None:
        found[place] = task()

    numbered = [partial(keep, place, task) for place, task in enumerate(tasks)]
    run_in_threads(numbered, min(n_threads, len(tasks)), lambda: None)
    return [found[place] for place in range(len(tasks))]


def _run_all(
    run: Callable[[Callable[[], None]], None], tasks: list[Callable[[], None]], n_threads: int, interrupt: Callable[[], None]
) -> None:
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    with ThreadPoolExecutor(n_threads, "nvpflow") as pool:
        try:
            futures = [pool.submit(run, task) for task in tasks]
            pending = set(futures)
            while pending:
                done, pending = wait(pending, WAIT, FIRST_EXCEPTION)
                for future in done:
                    future.result()
        except BaseException:
            interrupt()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
