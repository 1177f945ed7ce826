"""Which path of the studio is answered by which function; a view's rows stand together.

A function is named by its file and its name, so that its file is loaded when it is first asked.
Its arguments are found by their names: `desk` is the studio's `Desk`, `content` and `media` the
body of a request that sends a file, and all others come from the query or from a body in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Route(NamedTuple):
    """A row of the table.

    Args:
        method: GET, or POST for what takes a body or changes something.
        path: below `/api/`.
        function: `file:name` in this room; it gives what JSON can hold, or an `Answer`.
        slow: whether it runs networks, which is done one at a time; none that tells how far work
            is, since its questions must not wait.
    """

    method: str
    path: str
    function: str
    slow: bool = False


ROUTES: Final = (
    Route("GET", "/api/about", "about:about"),
    Route("GET", "/api/look/about", "look:about", slow=True),
    Route("POST", "/api/look/show", "look:show", slow=True),
    Route("GET", "/api/look/heat", "look:heat", slow=True),
    Route("POST", "/api/look/fields", "look_fields:show_fields", slow=True),
    Route("GET", "/api/look/cell", "fine_cells:cell", slow=True),
    Route("GET", "/api/look/curves", "closer:curves"),
    Route("GET", "/api/look/field", "closer:field", slow=True),
    Route("GET", "/api/runs/list", "runs:listed"),
    Route("GET", "/api/runs/history", "runs:history"),
    Route("GET", "/api/runs/settings", "runs:settings"),
    Route("GET", "/api/runs/report", "runs:report"),
    Route("GET", "/api/runs/matrix", "outcomes:matrix"),
    Route("GET", "/api/runs/samples", "outcomes:samples"),
    Route("GET", "/api/runs/corrections", "relabel:corrections"),
    Route("POST", "/api/runs/correct", "relabel:correct"),
    Route("GET", "/api/audit/list", "audits:listed"),
    Route("GET", "/api/audit/audit", "audits:audit"),
    Route("GET", "/api/audit/page", "audits:page"),
    Route("GET", "/api/networks/every", "networks:every"),
    Route("POST", "/api/networks/network", "networks:network"),
    Route("POST", "/api/networks/side_by_side", "networks:side_by_side"),
    Route("GET", "/api/networks/form", "choosing:form"),
    Route("POST", "/api/networks/choose", "choosing:chosen"),
    Route("POST", "/api/learn/slid", "learn:slid"),
    Route("GET", "/api/learn/moved", "moving:moved"),
    Route("GET", "/api/learn/follows", "moving:follows"),
    Route("GET", "/api/learn/costs", "learn:costs"),
    Route("GET", "/api/learn/tree", "learn:tree"),
    Route("GET", "/api/learn/scaling", "learn:scaling"),
    Route("GET", "/api/learn/gradients", "depth:gradients"),
    Route("GET", "/api/data/sources", "samples:sources"),
    Route("GET", "/api/data/overview", "samples:overview"),
    Route("GET", "/api/data/page", "samples:page"),
    Route("GET", "/api/data/picture", "samples:picture"),
    Route("GET", "/api/data/trained_on", "training:trained_on", slow=True),
)

#: The rows by method and path.
TABLE: Final[Mapping[tuple[str, str], Route]] = MappingProxyType(
    {(row.method, row.path): row for row in ROUTES}
)
