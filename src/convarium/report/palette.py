"""The colours of every page and drawing, once for light and once for dark surroundings.

A colour is used by its name, as `var(--ink)`; the reader's setting decides which value it has.
"""

from __future__ import annotations

from collections.abc import Mapping

# Text colours reach a contrast of 4.5 on `paper` and on `card` (tested). A name like `black-white`
# is the colour of text on a tinted cell: black on light paper, white on dark.
LIGHT: Mapping[str, str] = {
    "paper": "#f7f7f4",
    "card": "#ffffff",
    "ink": "#1b222b",
    "soft": "#5a6572",
    "line": "#e1e2dd",
    "accent": "#1d5f8a",
    "band": "#bcd6e6",
    "hit": "#1d5f8a",
    "miss": "#d8692b",
    "black-black": "#000000",
    "black-white": "#000000",
    "white-black": "#ffffff",
    "white-white": "#ffffff",
}
DARK: Mapping[str, str] = {
    "paper": "#101418",
    "card": "#171c22",
    "ink": "#e7eaee",
    "soft": "#9ba7b4",
    "line": "#2b333c",
    "accent": "#7cbbe4",
    "band": "#2b5570",
    "hit": "#6aaedb",
    "miss": "#f0894a",
    "black-black": "#000000",
    "black-white": "#ffffff",
    "white-black": "#000000",
    "white-white": "#ffffff",
}

FONT = (
    'ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, '
    '"Noto Sans", "DejaVu Sans", sans-serif'
)


def variables(selector: str) -> str:
    """CSS that gives the colours to `selector`, following the reader's light or dark setting."""
    light = ";".join(f"--{name}:{value}" for name, value in LIGHT.items())
    dark = ";".join(f"--{name}:{value}" for name, value in DARK.items())
    return f"{selector}{{{light}}}@media (prefers-color-scheme:dark){{{selector}{{{dark}}}}}"


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, from 1 (equal) to 21 (black on white).

    >>> round(contrast("#000000", "#ffffff"))
    21

    References:
        Web Content Accessibility Guidelines 2.2, "contrast ratio" and "relative luminance".
    """
    low, high = sorted([_luminance(one), _luminance(other)])
    return (high + 0.05) / (low + 0.05)


def tinted(theme: Mapping[str, str], colour: str, strength: float) -> str:
    """What is seen where `colour` lies on the card with an opacity of `strength`."""
    over, under = _channels(theme[colour]), _channels(theme["card"])
    mixed = (strength * a + (1 - strength) * b for a, b in zip(over, under, strict=True))
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in mixed)


def text_on(colour: str, strength: float) -> str:
    """The name of the text colour that is read best on `colour` at an opacity of `strength`.

    >>> text_on("hit", 0.1), text_on("hit", 1.0)
    ('black-white', 'white-black')
    """
    return f"{_best(LIGHT, colour, strength)}-{_best(DARK, colour, strength)}"


def _best(theme: Mapping[str, str], colour: str, strength: float) -> str:
    ground = tinted(theme, colour, strength)
    return "black" if contrast("#000000", ground) >= contrast("#ffffff", ground) else "white"


def _channels(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue


def _luminance(colour: str) -> float:
    linear = [
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in _channels(colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
