"""Where data lies: the absolute place of what was named, so that it is found from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from convarium.data.names import shown


def place_of(source: str) -> str:
    """The absolute path of a file or folder that somebody named; "" for data of another kind."""
    place = os.path.abspath(source) if os.path.exists(source) else ""
    return place if shown(place) == place else ""  # what no settings can hold


def place_now(data: Mapping[str, Any]) -> str:
    """Where the data of a run is: at its absolute place, else as it was named.

    Args:
        data: the table `data` of a run's settings, or of its card.

    >>> place_now({"source": "digits"}), place_now({"source": "photos", "place": "/gone/photos"})
    ('digits', 'photos')
    """
    place = str(data.get("place", ""))
    return place if place and os.path.exists(place) else str(data.get("source", ""))
