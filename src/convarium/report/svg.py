"""A small pen for SVG: elements with escaped text, readable on light and on dark paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

from convarium.report import palette
from convarium.report.wording import clean


class Drawing:
    """One SVG picture that grows by lines, rectangles, dots and words; `text()` gives the file.

    Colours are names of the palette. Positions and sizes are pixels, from the upper left corner.

    Args:
        width: full width in pixels; a page may show the picture smaller.
        height: full height in pixels.
        label: what the picture shows, for those who cannot see it.
        least: the smallest share of its width at which it can still be read; a page does not
            shrink it further.
    """

    def __init__(self, width: float, height: float, label: str, *, least: float = 0.0) -> None:
        self.width = width
        self.height = height
        self.root = ElementTree.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "class": "drawing",
                "viewBox": f"0 0 {_short(width)} {_short(height)}",
                "width": _short(width),
                "height": _short(height),
                "role": "img",
                "aria-label": clean(label),
            },
        )
        if least:
            self.root.set("style", f"min-width:{_short(least * width)}px")
        style = ElementTree.SubElement(self.root, "style")
        style.text = palette.variables(".drawing") + (
            f".drawing text{{font-family:{palette.FONT};font-variant-numeric:tabular-nums}}"
        )

    def line(
        self,
        points: Sequence[tuple[float, float]],
        colour: str,
        *,
        thick: float = 1.0,
        dashes: str = "",
        strength: float = 1.0,
    ) -> None:
        """Draw a line through the points, at a `strength` in [0, 1]."""
        attributes = {
            "points": " ".join(f"{_short(x)},{_short(y)}" for x, y in points),
            "fill": "none",
            "stroke": f"var(--{colour})",
            "stroke-width": _short(thick),
            "stroke-linejoin": "round",
            "stroke-linecap": "round",
        }
        if dashes:
            attributes["stroke-dasharray"] = dashes
        if strength < 1:
            attributes["stroke-opacity"] = _short(strength)
        ElementTree.SubElement(self.root, "polyline", attributes)

    def area(
        self, points: Sequence[tuple[float, float]], colour: str, *, strength: float = 1.0
    ) -> None:
        """Fill the outline through the points at a `strength` in [0, 1]."""
        outline = " ".join(f"{_short(x)},{_short(y)}" for x, y in points)
        attributes = {"points": outline, "fill": f"var(--{colour})"}
        if strength < 1:
            attributes["fill-opacity"] = _short(strength)
        ElementTree.SubElement(self.root, "polygon", attributes)

    def dot(self, x: float, y: float, colour: str, radius: float = 3.0) -> None:
        """Draw a filled circle around (x, y)."""
        attributes = {"cx": _short(x), "cy": _short(y), "r": _short(radius)}
        ElementTree.SubElement(self.root, "circle", attributes | {"fill": f"var(--{colour})"})

    def rectangle(
        self,
        box: tuple[float, float, float, float],
        colour: str,
        *,
        strength: float = 1.0,
        tip: str = "",
        corner: float = 0.0,
    ) -> None:
        """Fill the box (x, y, width, height) at a `strength` in [0, 1]; `tip` shows on hover."""
        x, y, wide, high = box
        attributes = {"x": _short(x), "y": _short(y), "width": _short(wide)}
        attributes |= {"height": _short(high), "fill": f"var(--{colour})"}
        if strength < 1:
            attributes["fill-opacity"] = _short(strength)
        if corner:
            attributes["rx"] = _short(corner)
        element = ElementTree.SubElement(self.root, "rect", attributes)
        if tip:
            ElementTree.SubElement(element, "title").text = clean(tip)

    def words(
        self,
        x: float,
        y: float,
        text: str,
        colour: str = "ink",
        *,
        size: float = 12.0,
        anchor: str = "start",
        weight: int = 400,
        turn: float = 0.0,
        tip: str = "",
    ) -> None:
        """Write a line of text with its baseline at (x, y), turned by `turn` degrees."""
        attributes = {"x": _short(x), "y": _short(y), "font-size": _short(size)}
        attributes |= {"fill": f"var(--{colour})", "text-anchor": anchor}
        if weight != 400:
            attributes["font-weight"] = str(weight)
        if turn:
            attributes["transform"] = f"rotate({_short(turn)} {_short(x)} {_short(y)})"
        element = ElementTree.SubElement(self.root, "text", attributes)
        element.text = clean(text)
        if tip:
            ElementTree.SubElement(element, "title").text = clean(tip)

    def picture(self, box: tuple[float, float, float, float], address: str) -> None:
        """Place a picture, given as a `data:` address, in the box; its pixels stay square."""
        x, y, wide, high = box
        attributes = {"x": _short(x), "y": _short(y), "width": _short(wide)}
        attributes |= {"height": _short(high), "preserveAspectRatio": "none", "href": address}
        ElementTree.SubElement(
            self.root, "image", attributes | {"style": "image-rendering:pixelated"}
        )

    def place(self, other: Drawing, x: float, y: float) -> None:
        """Put another drawing into this one with its upper left corner at (x, y)."""
        inner = {key: value for key, value in other.root.attrib.items() if key != "xmlns"}
        element = ElementTree.SubElement(self.root, "svg", inner | {"x": _short(x), "y": _short(y)})
        element.extend([child for child in other.root if child.tag != "style"])

    def text(self) -> str:
        """The drawing as SVG text."""
        return ElementTree.tostring(self.root, encoding="unicode")


class Axis:
    """A straight or logarithmic map from values to pixels, with round tick values.

    Args:
        low: smallest value; must be positive on a logarithmic axis.
        high: largest value.
        start: pixel of `low`.
        end: pixel of `high`.
        logarithmic: equal factors take equal room.
    """

    def __init__(
        self, low: float, high: float, start: float, end: float, *, logarithmic: bool = False
    ) -> None:
        self.low, self.high = low, high
        self._start, self._end = start, end
        self._warp: Callable[[float], float] = math.log10 if logarithmic else float
        self.logarithmic = logarithmic

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high = self._warp(self.low), self._warp(self.high)
        share = (self._warp(value) - low) / (high - low) if high > low else 0.5
        return self._start + share * (self._end - self._start)

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values on the axis, about `wanted` of them."""
        if not self.logarithmic:
            return round_values(self.low, self.high, wanted)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for leads in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            values = [lead * 10.0**power for power in decades for lead in leads]
            values = [value for value in values if self.low <= value <= self.high]
            if len(values) <= wanted + 2:
                break
        if len(values) < 4:  # so narrow that equal steps do
            return round_values(self.low, self.high, wanted)
        return values[:: max(1, -(-len(values) // (wanted + 2)))]


def round_values(low: float, high: float, wanted: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, both included if round.

    >>> round_values(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / wanted
    power = math.floor(math.log10(rough))
    # Written as a quotient where the power is negative, so that 0.2 is the float 0.2.
    step, unit = min(
        ((lead * 10.0 ** max(power, 0), 10.0 ** max(-power, 0)) for lead in (1, 2, 5, 10)),
        key=lambda candidate: abs(math.log(candidate[0] / candidate[1] / rough)),
    )
    first = math.ceil(low * unit / step - 1e-9)
    last = math.floor(high * unit / step + 1e-9)
    return [index * step / unit for index in range(first, last + 1)]


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
