"""What the page has to know first: the version, and what the studio was opened with."""

from __future__ import annotations

from typing import Any

import convarium
from convarium.studio.desk import Desk


def about(desk: Desk) -> dict[str, Any]:
    """The version, the names of the runs, the data, and how long a file may be."""
    return {
        "version": convarium.__version__,
        "runs": list(desk.folders()),
        "data": desk.data,
        "most_bytes": desk.limits.max_bytes,
    }
