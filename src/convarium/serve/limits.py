"""What one request, and all of them together, may take of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from convarium.options import check_options, option

#: Bodies of so many requests of the largest size are held in memory, at most.
BODIES: Final = 8
#: A series may have so many times the steps of the longest training series.
LONGEST: Final = 16
#: Characters of a text, at most.
LONGEST_TEXT: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a server; each is a flag of `convarium serve`.

    Args:
        max_bytes: of a request's body.
        max_pixels: of an image, or voxels of a volume, read from its header before it is decoded.
        max_cells: fine cells of a request, over all times and variables.
        batch_size: samples that are computed at once, at most.
        wait_ms: how long a batch that is not full waits for more; 0 takes what is there.
        deadline_ms: when an answer must be there, from when the request's body is.
        queue: samples that wait or are worked on, at most.
        connections: that are open at once, at most.
        timeout: seconds for a body to arrive, and for a connection on which nothing moves.
        linger: how long a server that is told to end goes on listening, so that those who send
            requests to it see it in `/readyz` first.
        workers: threads that decode.

    Raises:
        OptionError: a value is of the wrong type or outside its limits.

    >>> Limits(queue=8).batch_size
    16
    """

    max_bytes: int = option(16 * 2**20, "bytes of a request at most (16777216)", low=1)
    max_pixels: int = option(50_000_000, "pixels of an image, or voxels, at most (50000000)", low=1)
    max_cells: int = option(2**24, "fine cells of a request at most (16777216)", low=1)
    batch_size: int = option(16, "samples that are computed at once, at most (16)", low=1)
    wait_ms: float = option(0.0, "how long a batch that is not full waits for more (0)", low=0)
    deadline_ms: float = option(2000.0, "when an answer must be there (2000)", above=0)
    queue: int = option(64, "samples that wait or are worked on, at most (64)", low=1)
    connections: int = option(256, "connections at once, at most (256)", low=1)
    timeout: float = option(
        10.0,
        "for a body to arrive, and for a connection on which nothing moves (10s)",
        above=0,
        unit="seconds",
    )
    linger: float = option(
        1.0, "how long a server that is to end goes on listening (1s)", low=0, unit="seconds"
    )
    workers: int = option(2, "threads that decode (2)", low=1)

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def deadline(self) -> float:
        """Seconds from the end of a request's body to its answer."""
        return self.deadline_ms / 1000
