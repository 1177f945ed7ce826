"""What a library of file formats logs while this thread reads: kept, and not shown."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Kept(logging.Filter):
    """Takes the records of threads that read; what other threads log goes its way."""

    def __init__(self) -> None:
        super().__init__()
        self.mine = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        words: list[str] | None = getattr(self.mine, "words", None)
        if words is None:
            return True
        if record.levelno >= logging.WARNING:
            words.append(" ".join(record.getMessage().split()))
        return False


_KEPT = _Kept()


@contextmanager
def warnings_of(name: str) -> Iterator[list[str]]:
    """Warnings and errors that this thread logs to a logger, as a list that grows.

    Args:
        name: of the logger that they are logged to, whose level stays as it is.

    >>> with warnings_of("some.library") as words:
    ...     logging.getLogger("some.library").warning("half of it is missing")
    >>> words
    ['half of it is missing']
    """
    logging.getLogger(name).addFilter(_KEPT)  # stays, since other threads may be reading
    words: list[str] = []
    _KEPT.mine.words = words
    try:
        yield words
    finally:
        _KEPT.mine.words = None
