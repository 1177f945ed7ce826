"""The three parts: their numbers, their words, and the names in folders and cells for them."""

from __future__ import annotations

TRAIN, VALIDATION, TEST = 0, 1, 2
PARTS = ("train", "validation", "test")

_USUAL = {"training": TRAIN, "val": VALIDATION, "valid": VALIDATION, "testing": TEST}
_NUMBERS = {word: number for number, word in enumerate(PARTS)} | _USUAL


def part_number(word: str) -> int | None:
    """The part that a folder or a table's cell names, in any case of letters; None for another.

    >>> part_number("Valid"), part_number("photos")
    (1, None)
    """
    return _NUMBERS.get(word.lower())
