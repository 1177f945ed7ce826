"""Where data lies: the absolute place of what was named, so that it is found from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from convarium.data.names import shown
from convarium.data.shards.places import any_fits

BUILT_IN: Final = ("digits",)


def place_of(source: str) -> str:
    """The absolute path of a file or folder that somebody named; "" for data of another kind."""
    place = os.path.abspath(source) if os.path.exists(source) else ""
    return place if shown(place) == place else ""  # what no settings can hold


def is_there(source: str) -> bool:
    """Whether something can lie where somebody says: a path, a pattern, a built-in name, the Hub.

    >>> is_there("digits"), is_there("hf:mnist"), is_there("nowhere/at/all")
    (True, True, False)
    """
    if source in BUILT_IN or source.startswith("hf:"):
        return True
    return os.path.exists(source) or any_fits(source)


def place_now(data: Mapping[str, Any]) -> str:
    """Where the data of a run is: at its absolute place, else as it was named.

    Args:
        data: the table `data` of a run's settings, or of its card.

    >>> place_now({"source": "digits"}), place_now({"source": "photos", "place": "/gone/photos"})
    ('digits', 'photos')
    """
    place = str(data.get("place", ""))
    return place if place and os.path.exists(place) else str(data.get("source", ""))
