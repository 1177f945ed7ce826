"""How many threads torch computes with, for a while: one number of the process, set by several."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch


class _Inside:
    """How many threads of the process have set a number now, and the number that was before.

    A thread that is new takes the number that was set last, which is not what was before.
    """

    def __init__(self) -> None:
        self.lock, self.count, self.usual = threading.Lock(), 0, 0


_INSIDE = _Inside()


@contextlib.contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Inside, torch computes with so many threads; behind it, with as many as before.

    Several threads of the process may be inside at once, each with a number of its own.

    >>> before = torch.get_num_threads()
    >>> with computing_with(3):
    ...     torch.get_num_threads()
    3
    >>> torch.get_num_threads() == before
    True
    """
    with _INSIDE.lock:
        before = torch.get_num_threads()
        if not _INSIDE.count:
            _INSIDE.usual = before
        _INSIDE.count += 1
        if before != threads:
            torch.set_num_threads(threads)
    try:
        yield
    finally:
        with _INSIDE.lock:
            _INSIDE.count -= 1
            if torch.get_num_threads() != _INSIDE.usual:
                torch.set_num_threads(_INSIDE.usual)
