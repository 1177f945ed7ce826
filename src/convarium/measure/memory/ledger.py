"""What lies in memory at once: bytes that stay, and bytes that grow with the batch."""

from __future__ import annotations

from torch import Tensor

from convarium.graph import Value

Line = tuple[int, int]  # bytes that stay, and bytes that grow with the batch


class Ledger:
    """What is alive now, and all that was alive at once."""

    def __init__(self) -> None:
        self.stays = self.grows = 0
        self.lines: set[Line] = set()

    def add(self, size: Line, sign: int = 1) -> None:
        """Something is made, or with -1 as the sign, let go of."""
        self.stays += sign * size[0]
        self.grows += sign * size[1]

    def mark(self, beside: Line = (0, 0)) -> None:
        """All this is alive at once, and some more for the moment."""
        self.lines.add((self.stays + beside[0], self.grows + beside[1]))

    def largest(self) -> list[Line]:
        """Without those that another one is never below."""
        found: list[Line] = []
        for line in sorted(self.lines, reverse=True):
            if not found or line[1] > found[-1][1]:
                found.append(line)
        return found or [(0, 0)]


def size_of(x: Value | Tensor) -> Line:
    """Bytes of a tensor: those of a constant do not grow with the batch."""
    return (0, x.bytes) if isinstance(x, Value) else (x.nbytes, 0)


def storage_of(x: Tensor) -> int:
    """What is the same for all tensors that share memory."""
    return int(x.untyped_storage()._cdata)
