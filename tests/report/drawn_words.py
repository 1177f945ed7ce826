"""Where the words of a drawing stand, by the widths that the report reckons; whether they meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from convarium.report import wording

SVG = "{http://www.w3.org/2000/svg}"
Box = tuple[float, float, float, float]


def box(element: ElementTree.Element) -> Box:
    """Left, top, right and bottom of a line of text."""
    size = float(element.attrib["font-size"])
    wide = wording.width(element.text or "", size)
    shift = {"start": 0.0, "middle": 0.5, "end": 1.0}[element.attrib["text-anchor"]]
    left, y = float(element.attrib["x"]) - shift * wide, float(element.attrib["y"])
    return left, y - 0.8 * size, left + wide, y + 0.2 * size


def words(svg: str | ElementTree.Element) -> list[tuple[str, float, float, float, float]]:
    """Text, left, top, right and bottom of every line of text."""
    root = ElementTree.fromstring(svg) if isinstance(svg, str) else svg
    return [(element.text or "", *box(element)) for element in root.iter(f"{SVG}text")]


def meet(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two boxes, which may have their text in front, share more than an edge."""
    (left, top, right, bottom), (begin, high, end, low) = one[-4:], other[-4:]
    across = left < end - 0.01 and begin < right - 0.01
    return across and top < low - 0.01 and high < bottom - 0.01
