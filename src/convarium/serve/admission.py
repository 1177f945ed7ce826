"""Who is let in: no more samples than can be answered in time, nor more bytes than there is room.

What is refused is refused before its body is read, so that a flood costs little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from convarium.serve.refusals import busy, too_many

_KEPT: Final = 0.98  # of what was seen, at each answer: the last fifty count
_MARGIN: Final = 0.5  # of the deadline: the pace is a mean, and few may be later than that


class Gate:
    """How many samples are inside, and how long a new one would be.

    With u samples inside that leave every s seconds, a new one leaves after (u + 1) s. It is
    refused where that is over half of the deadline, or the gate is full.

    Args:
        capacity: samples inside at most.
        deadline: seconds that a sample may be inside.
        clock: gives seconds.

    >>> gate = Gate(1, 2.0)
    >>> with gate.inside():
    ...     gate.count
    1
    """

    def __init__(
        self, capacity: int, deadline: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.capacity, self.deadline = capacity, deadline
        self.count = 0
        self._clock = clock
        self._since = 0.0  # since when somebody has been inside without a leaving
        self._answered, self._seconds = 0.0, 0.0

    @property
    def pace(self) -> float:
        """Seconds between two answers while somebody is inside; 0 before the first."""
        return self._seconds / self._answered if self._answered else 0.0

    @contextmanager
    def inside(self) -> Iterator[Ticket]:
        """Room for one sample, and for more once their number is known.

        Raises:
            RefusedError: 503, with Retry-After.
        """
        ticket = Ticket(self)
        ticket.need(1)
        try:
            yield ticket
        except BaseException:
            self.count -= ticket.samples
            raise
        self._leave(ticket.samples)

    def check(self, more: int = 1, *, own: int = 0) -> None:
        """Refuse further samples where they could not come in now.

        Where nobody else is inside they would never come sooner, so the pace refuses none.

        Args:
            more: samples.
            own: samples of the same request that are inside already.

        Raises:
            RefusedError: 503, with Retry-After.
        """
        wait = (self.count + more) * self.pace
        if self.count + more > self.capacity:
            raise busy("full", "Too many requests are waiting; come again later.", wait)
        if self.count > own and wait > _MARGIN * self.deadline:
            raise busy("too_slow", "An answer would come too late; come again later.", wait)

    def admit(self, more: int, *, own: int = 0) -> None:
        """Let further samples in; takes and raises what `check` does."""
        self.check(more, own=own)
        if not self.count:
            self._since = self._clock()
        self.count += more

    def _leave(self, samples: int) -> None:
        """Samples were answered; those that were refused say nothing of the pace."""
        now = self._clock()
        self._answered = _KEPT * self._answered + samples
        self._seconds = _KEPT * self._seconds + now - self._since
        self._since = now
        self.count -= samples


class Ticket:
    """The place of a request in a gate.

    Args:
        gate: that lets it in.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate, self.samples = gate, 0

    def need(self, samples: int) -> None:
        """Take room for so many samples in all.

        Raises:
            RefusedError: 413 where they can never be inside at once; 503 where they cannot be now.
        """
        if samples > self.gate.capacity:
            raise too_many(self.gate.capacity)
        if samples > self.samples:
            self.gate.admit(samples - self.samples, own=self.samples)
            self.samples = samples


class Room:
    """Bytes of bodies in memory.

    Args:
        most: bytes of all of them together.
    """

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, 0

    def take(self, count: int) -> None:
        """Keep so many more bytes.

        Raises:
            RefusedError: 503, with Retry-After.
        """
        if self.taken + count > self.most:
            raise busy("full", "Too much is being sent at once; come again later.", 1.0)
        self.taken += count

    def give(self, count: int) -> None:
        """Let go of so many bytes."""
        self.taken -= count
