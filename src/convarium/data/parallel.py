"""Work in threads whose results come back in order, so that their number changes nothing."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from convarium.errors import OptionError

T = TypeVar("T")
R = TypeVar("R")


def ordered(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """`map(function, items)` in `workers` threads; never more than two results ahead of each.

    With 0 workers the work is done where the result is asked for. An error comes out in the place
    of its result; an iterator that is closed early stops its threads.

    Raises:
        OptionError: workers below 0.

    >>> list(ordered(abs, [-3, -1, -2], workers=2))
    [3, 1, 2]
    """
    if workers < 0:
        raise OptionError(f"workers (={workers}) must be 0 (no threads) or more.")
    if workers == 0:
        return map(function, items)
    return _threaded(function, items, workers)


def _threaded(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(
        workers, thread_name_prefix="convarium-data", initializer=_without_helpers
    )
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _without_helpers() -> None:
    """Let torch compute in this thread alone.

    Otherwise OpenMP gives it a team of its own; and where a process has more threads in teams than
    processors, those of the training no longer spin when they wait for one another but sleep: a
    step of DenseNet-121 then takes 1.6 times as long. `torch.set_num_threads` would also change
    what is set for the other threads.
    """
    import torch

    torch.get_num_threads()  # sets the number for a new thread, which would overwrite ours later
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another kind of OpenMP
        ctypes.CDLL(None).omp_set_num_threads(1)


def processors() -> int:
    """How many processors this process may use, at most 16."""
    if hasattr(os, "sched_getaffinity"):
        return min(16, len(os.sched_getaffinity(0)))
    return min(16, os.cpu_count() or 1)
