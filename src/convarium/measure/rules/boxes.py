"""Which part of a tensor a view of the same memory is, from their steps in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convarium.graph import Value


@dataclass(frozen=True)
class Box:
    """Positions of a tensor, a range along each of its dimensions.

    Attributes:
        ranges: of positions, one a dimension.
        dims: of the view, by those of the tensor; None where the view has no dimension, or one of
            size 1.
    """

    ranges: tuple[range, ...]
    dims: tuple[int | None, ...]

    def part_of(self, shape: Sequence[int]) -> list[int]:
        """The dimensions along which it is not all of a tensor of this shape."""
        return [d for d, r in enumerate(self.ranges) if len(r) != shape[d]]

    def apart(self, other: Box) -> bool:
        """Whether no position is in both."""
        pairs = zip(self.ranges, other.ranges, strict=True)
        return any(set(one).isdisjoint(two) for one, two in pairs)


def layout(value: Value) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Where its elements are in its memory."""
    return value.span[0], value.shape, value.steps


def plain(value: Value) -> bool:
    """Whether each of its elements has a place of its own, in the order of its steps."""
    length = 1
    for step, n in sorted(zip(value.steps, value.shape, strict=True)):
        if n > 1:
            if step < length:
                return False
            length = step * (n - 1) + length
    return 0 not in value.shape


def box(whole: Value, view: Value) -> Box | None:
    """What `view` is of `whole`; None where it is no box, as after dimensions were merged."""
    if len(view.steps) != len(view.shape) or not plain(whole) or not plain(view):
        return None
    order = sorted((step, d) for d, step in enumerate(whole.steps) if whole.shape[d] > 1)
    starts, left = [0] * len(whole.shape), view.span[0] - whole.span[0]
    for step, d in reversed(order):
        starts[d], left = divmod(left, step)
    if left:
        return None
    ranges = [range(at, at + 1) for at in starts]
    dims: list[int | None] = [None] * len(starts)
    for k, (n, step) in enumerate(zip(view.shape, view.steps, strict=True)):
        if n == 1:
            continue
        d = next((d for least, d in reversed(order) if least <= step), -1)
        if d < 0 or dims[d] is not None or step % whole.steps[d]:
            return None
        stride = step // whole.steps[d]
        ranges[d], dims[d] = range(starts[d], starts[d] + stride * (n - 1) + 1, stride), k
    inside = all(r.start >= 0 and r[-1] < n for r, n in zip(ranges, whole.shape, strict=True))
    return Box(tuple(ranges), tuple(dims)) if inside else None
