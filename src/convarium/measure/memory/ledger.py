"""What lies in memory at once: bytes that stay, and bytes that grow with the batch."""

from __future__ import annotations

from typing import Final

from torch import Tensor

from convarium.graph import Value

Line = tuple[int, int]  # bytes that stay, and bytes that grow with the batch
Lines = tuple[tuple[Line, ...], ...]  # candidates for the most, for each of `SAMPLES`
Rooms = tuple[list[Line], ...]  # bytes beside others for a moment, for each of `SAMPLES`

SAMPLES: Final = (1, 2, 16)  # in a batch, from which on torch takes other kernels
NO_ROOM: Final[Rooms] = ([(0, 0)],) * len(SAMPLES)


class Ledger:
    """What is alive now, and all that was alive at once."""

    def __init__(self) -> None:
        self.stays = self.grows = 0
        self.common: set[Line] = set()
        self.lines: list[set[Line]] = [set() for _ in SAMPLES]

    def add(self, size: Line, sign: int = 1) -> None:
        """Something is made, or with -1 as the sign, let go of."""
        self.stays += sign * size[0]
        self.grows += sign * size[1]

    def mark(self, rooms: Rooms = NO_ROOM, more: int = 0) -> None:
        """All this is alive at once, and some more for the moment."""
        if rooms is NO_ROOM:
            self.common.add((self.stays, self.grows + more))
            return
        for lines, room in zip(self.lines, rooms, strict=True):
            for stays, grows in room:
                lines.add((self.stays + stays, self.grows + grows + more))

    def largest(self) -> Lines:
        """Without those that another one is never below."""
        return tuple(_largest(lines | self.common) for lines in self.lines)


def always(*lines: Line) -> Rooms:
    """The same for each number of samples."""
    return ([*lines],) * len(SAMPLES)


def size_of(x: Value | Tensor) -> Line:
    """Bytes of a tensor: those of a constant do not grow with the batch."""
    return (0, x.bytes) if isinstance(x, Value) else (x.nbytes, 0)


def storage_of(x: Tensor) -> int:
    """What is the same for all tensors that share memory."""
    return int(x.untyped_storage()._cdata)


def _largest(lines: set[Line]) -> tuple[Line, ...]:
    found: list[Line] = []
    for line in sorted(lines, reverse=True):
        if not found or line[1] > found[-1][1]:
            found.append(line)
    return tuple(found) or ((0, 0),)
