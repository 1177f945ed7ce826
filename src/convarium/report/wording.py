"""How numbers and foreign names are written: rounded honestly, short, and safe to print."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

NO_BREAK = "\N{NO-BREAK SPACE}"
MISSING = "\N{EN DASH}"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Marks that reorder the text around them; a name that holds one could disguise the whole line.
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean(text: str) -> str:
    r"""The text without what HTML, XML and UTF-8 cannot hold: control marks, lone surrogates.

    >>> clean("a\x00b\ud800c")
    'a�b�c'
    >>> clean("two\nlines")
    'two lines'
    """
    if text.isprintable():  # most texts, at once
        return text
    return "".join(_printable(letter) for letter in text)


def _printable(letter: str) -> str:
    if letter in "\t\n\r":
        return " "
    category = unicodedata.category(letter)
    broken = category in ("Cc", "Cs") or letter in _REORDERING or letter in "\ufffe\uffff"
    return _REPLACEMENT if broken else letter


def shorten(text: str, length: int) -> str:
    """At most `length` columns of the text (wide letters take two), the cut marked by an ellipsis.

    >>> shorten("golden retriever", 10)
    'golden re…'
    """
    text = clean(text)
    if columns(text) <= length:
        return text
    while columns(text) > length - 1:
        text = text[: -max(1, (columns(text) - length + 1) // 2)]
    return text.rstrip() + "…"


def columns(text: str) -> int:
    """How many columns the text takes: one a letter, two for the wide letters of East Asia."""
    return len(text) + sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)


def width(text: str, size: float) -> float:
    """About how many pixels a line of text takes at a font size of `size` pixels."""
    return 0.62 * size * columns(text)


def count(n: int) -> str:
    """A whole number with commas: `count(60000)` is 60,000."""
    return f"{n:,}"


def counted(n: int, plural: str) -> str:
    """A number of things, one of them in the singular.

    >>> counted(1, "classes"), counted(1, "variables"), counted(1200, "outputs")
    ('1 class', '1 variable', '1,200 outputs')
    """
    one = plural.removesuffix("es") if plural.endswith("sses") else plural.removesuffix("s")
    return f"{count(n)} {one if n == 1 else plural}"


def short(n: float) -> str:
    """A number with three digits and a unit: `short(4_089_184_256)` is 4.09 G.

    >>> short(386_000_000), short(999_600), short(18_000), short(71)
    ('386 M', '1.00 M', '18.0 k', '71')
    """
    if n < 1000:
        return f"{n:g}"
    value, units = n / 1000, "kMGTP"
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f} {units[0]}"


def axes(numbers: Sequence[float]) -> str:
    """One number where all axes have the same: `axes((7, 7))` is 7 and `axes((1, 9))` is 1x9."""
    shown = [str(int(n)) if n == int(n) else f"{n:g}" for n in numbers]
    return shown[0] if len({*shown}) == 1 else "x".join(shown)


def percent(share: float | None, n: int = 0) -> str:
    r"""A share in per cent, with as many decimals as `n` samples justify.

    What is not all is never rounded up to 100 %, and what is not nothing never down to 0 %.

    >>> percent(0.9852, 270), percent(0.99996, 270), percent(0.9331, 10_000)
    ('98.5\xa0%', '99.9\xa0%', '93.31\xa0%')
    """
    if share is None or not math.isfinite(share):
        return MISSING
    decimals = 1 if n < 5000 else 2
    smallest = 10.0**-decimals
    value = round(100 * share, decimals)
    if share < 1:
        value = min(value, 100 - smallest)
    if share > 0:
        value = max(value, smallest)
    return f"{value:.{decimals}f}{NO_BREAK}%"


def number(value: float | None) -> str:
    """A measured number with three or four significant digits: 0.0831, 2.31, 1.2e-05."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def setting(value: Any) -> str:
    """A value of a recipe or a card in words: yes, no, none, 0.1, `a, b`, `size 32, pad 1`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {setting(item)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        shown = ", ".join(setting(item) for item in value[:8]) or "none"
        return shown if len(value) <= 8 else f"{shown} … ({count(len(value))} in all)"
    return str(value)


def flatten(values: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """Rows (name, value in words) of a nested mapping; `{"a": {"b": 1}}` gives `a.b`."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping) and value:
            rows += flatten(value, f"{name}.")
        else:
            rows.append((name, setting(value)))
    return rows
