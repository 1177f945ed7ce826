"""Logs: one JSON object a line, with what happened and never what was sent.

No body, path, query, file name or message of an error is written: a client chooses those. Of an
error that nobody foresaw there is its kind and where in the code it arose.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import time
import traceback
from pathlib import PurePath
from typing import Any, TextIO


class Journal:
    """Writes events, from any thread.

    Args:
        stream: takes the lines; None writes to standard error.

    >>> import io
    >>> journal = Journal(io.StringIO())
    >>> journal.write("reloaded", run="photos")
    >>> json.loads(journal.stream.getvalue())["run"]
    'photos'
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._given = stream
        self._lock = threading.Lock()

    @property
    def stream(self) -> TextIO:
        """Where lines go."""
        return sys.stderr if self._given is None else self._given

    def write(self, event: str, **facts: Any) -> None:
        """One line: the time (UTC), the event, and what is known of it.

        Where it cannot be written, as on a full disk, it is lost, and requests are answered.
        """
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e3):03}Z"
        line = json.dumps({"time": stamp, "event": event, **facts}, allow_nan=False)
        with self._lock, contextlib.suppress(OSError, ValueError):
            self.stream.write(line + "\n")
            self.stream.flush()

    def failure(self, event: str, error: BaseException, **facts: Any) -> None:
        """An error that nobody foresaw: its kind and the places it came through, the last first."""
        frames = traceback.extract_tb(error.__traceback__)[-8:]
        places = [f"{PurePath(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames)]
        self.write(event, error=type(error).__name__, at=places, **facts)


class Forwarding(logging.Handler):
    """What the HTTP server itself logs, as lines of a journal, without tracebacks.

    Args:
        journal: takes them.
    """

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self.journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record: its first line as it stands in the code, and the kind of an error."""
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        told = {} if kind is None else {"error": kind}
        first = str(record.msg).strip().partition("\n")[0]
        self.journal.write("http", words=first, **told)
