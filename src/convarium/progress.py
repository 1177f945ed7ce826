"""Progress with rate and time left: one rewritten line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from convarium.errors import OptionError


class Progress:
    """Counts work and says how fast it goes and how long it still takes.

    On a terminal the line is rewritten ten times a second; elsewhere one plain line is written
    every `interval` seconds, so that a log stays readable. Nothing is written where the work is
    over before the first line is due, except on a terminal.

    Args:
        total: how many units there are, at least 0.
        label: what is being done.
        unit: the name of a unit.
        stream: where to write; None means standard error.
        enabled: False writes nothing.
        done: units that were done before (the rate leaves them out).
        interval: seconds between plain lines.

    Raises:
        OptionError: total below 0.
    """

    def __init__(
        self,
        total: int,
        label: str,
        *,
        unit: str = "samples",
        stream: TextIO | None = None,
        enabled: bool = True,
        done: int = 0,
        interval: float = 10.0,
    ) -> None:
        if total < 0:
            raise OptionError(f"total (={total}) must be 0 or more.")
        self.total, self.label, self.unit, self.done = total, label, unit, done
        self._stream = sys.stderr if stream is None else stream
        self._terminal = enabled and self._stream.isatty()
        self._enabled = enabled
        self._interval = 0.1 if self._terminal else interval
        self._start = self._last = time.monotonic()
        self._before = done
        self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._terminal:
            self._write(self.line(), end="\n")

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count `n` more units; `note` is shown behind the figures."""
        self.done += n
        now = time.monotonic()
        if self._enabled and now - self._last >= self._interval:
            self._last = now
            self._write(self.line(note), end="" if self._terminal else "\n")

    def line(self, note: str = "") -> str:
        """The line as it stands: label, count, rate, time left, note."""
        rate = (self.done - self._before) / max(time.monotonic() - self._start, 1e-9)
        left = f", {duration((self.total - self.done) / rate)} left" if rate > 0 else ""
        share = f"{self.done}/{self.total}"
        return f"{self.label}: {share}, {rate:.0f} {self.unit}/s{left}" + (note and f", {note}")

    def _write(self, text: str, end: str) -> None:
        if self._terminal:
            padded = text.ljust(self._width)
            self._width = len(text)
            text = "\r" + padded
        self._stream.write(text + end)
        self._stream.flush()


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(9.6), duration(75), duration(3700)
    ('10 s', '1 min 15 s', '1 h 01 min')
    """
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
