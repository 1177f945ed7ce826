"""What was left out, and why: a list that stays small where a million files are left out."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

from convarium.data.names import shown


class _NameAndReason(NamedTuple):
    name: str
    reason: str


class Skipped(_NameAndReason):
    r"""Something that was left out, and why; bytes that are not UTF-8 are kept as `\xff`.

    >>> Skipped("a/notes.txt", "neither an image nor a volume by its name").name
    'a/notes.txt'
    """

    __slots__ = ()

    def __new__(cls, name: str, reason: str) -> Skipped:
        """Both texts are cleaned, so that they can be stored and printed."""
        return super().__new__(cls, shown(name), shown(reason))


class SkipList(Sequence[Skipped]):
    """A growing list of `Skipped`: the bytes of each name, its end, and the number of its reason.

    Args:
        items: what it starts with.

    >>> skipped = SkipList([Skipped("a.txt", "hidden"), Skipped("b.txt", "hidden")])
    >>> len(skipped), skipped[1].name
    (2, 'b.txt')
    """

    def __init__(self, items: Iterable[Skipped] = ()) -> None:
        self._names = bytearray()
        self._ends = array("q")
        self._reasons: dict[str, int] = {}
        self._texts: list[str] = []
        self._numbers = array("i")
        self.extend(items)

    def append(self, item: Skipped) -> None:
        """Add one."""
        number = self._reasons.setdefault(item.reason, len(self._texts))
        if number == len(self._texts):
            self._texts.append(item.reason)
        self._names += item.name.encode("utf-8")
        self._ends.append(len(self._names))
        self._numbers.append(number)

    def extend(self, items: Iterable[Skipped]) -> None:
        """Add several."""
        for item in items:
            self.append(item)

    def copy(self) -> SkipList:
        """A list of its own with the same items."""
        other = SkipList()
        other._names, other._ends = self._names[:], self._ends[:]
        other._reasons, other._texts = dict(self._reasons), self._texts[:]
        other._numbers = self._numbers[:]
        return other

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> Skipped: ...

    @overload
    def __getitem__(self, place: slice) -> list[Skipped]: ...

    def __getitem__(self, place: int | slice) -> Skipped | list[Skipped]:
        if isinstance(place, slice):
            return [self._item(k) for k in range(*place.indices(len(self)))]
        return self._item(range(len(self))[place])

    def __iter__(self) -> Iterator[Skipped]:
        return map(self._item, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        first = ", ".join(map(repr, self[:3]))
        return f"SkipList([{first}{', ...' if len(self) > 3 else ''}], {len(self)} in all)"

    def _item(self, k: int) -> Skipped:
        start = self._ends[k - 1] if k else 0
        name = self._names[start : self._ends[k]].decode("utf-8")
        return Skipped(name, self._texts[self._numbers[k]])
