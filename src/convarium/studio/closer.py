"""A closer look at one image: whether its heatmap is faithful, and what a position sees."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from convarium.errors import OptionError
from convarium.explain import RemovalCurve, deletion, insertion
from convarium.measure import effective_receptive_field
from convarium.report.pictures import address
from convarium.studio.desk import Desk
from convarium.studio.look import field_of, given_before, heat_of, inputs_of

_STEPS: Final = 16
_COLOUR: Final = (0, 229, 255)  # cyan, which neither the heat's colours nor grey have


def curves(
    desk: Desk,
    run: str,
    sample: str,
    method: str | None = None,
    layer: str | None = None,
    target: str | None = None,
) -> dict[str, Any]:
    """Deletion and insertion of the heatmap, beside a random order and an edge detector's.

    Args:
        desk: keeps the sample.
        run: its name.
        sample: of `look.show`.
        method, layer, target: of the heatmap.
    """
    opened, given = desk.opened(run), given_before(desk, run, sample)
    _check_image(given.kind)
    heat = heat_of(desk, run, sample, method, layer, target)
    x = inputs_of(opened, given)
    output: Any = "probability" if opened.card["task"] == "classification" else "score"
    settings: dict[str, Any] = {"steps": min(_STEPS, x[0, 0].numel()), "output": output}
    return {
        "deletion": _curve(deletion(opened.model, x, heat, **settings)),
        "insertion": _curve(insertion(opened.model, x, heat, **settings)),
        "output": output,
        "method": heat.method,
        "target": None if heat.target is None else opened.card["classes"][heat.target[0]],
    }


def field(
    desk: Desk, run: str, sample: str, row: int, column: int, layer: str | None = None
) -> dict[str, Any]:
    """What a position of a layer sees of an image: its field as a box, and the weight inside it.

    Args:
        desk: keeps the sample.
        run: its name.
        sample: of `look.show`.
        row, column: of the layer's map.
        layer: dotted name; None takes the network's own choice for heatmaps.
    """
    opened, given = desk.opened(run), given_before(desk, run, sample)
    _check_image(given.kind)
    x = inputs_of(opened, given)
    layer = layer or getattr(opened.model, "heatmap_layer", None)
    found = effective_receptive_field(opened.model, x, layer=layer, position=(row, column))
    whole = field_of(desk, run)
    own = whole.at(found.layer)
    weight = np.sqrt(found.values.numpy() / float(found.values.max()))
    inks = np.empty((*weight.shape, 4), np.uint8)
    inks[..., :3] = _COLOUR
    inks[..., 3] = np.rint(235 * weight)
    return {
        "layer": found.layer,
        "position": [row, column],
        "map": list(own.shape[2:]),
        "status": own.status,
        "size": list(own.size),
        "box": [[each.start, each.stop] for each in own.box(found.position, x.shape[2:])],
        "picture": address(inks, quick=True),
        "sentence": found.sentence(),
        "area_50": found.area_50,
        "area_95": found.area_95,
        "deviation": list(found.deviation),
    }


def _curve(found: RemovalCurve) -> dict[str, Any]:
    """A curve with its controls, and the area below each."""
    edges = found.edge_values
    return {
        "better": found.better,
        "fractions": found.fractions.tolist(),
        "heat": found.values[0].tolist(),
        "random": found.random_values[0].tolist(),
        "edges": None if edges is None else edges[0].tolist(),
        "area": float(found.score[0]),
        "area_random": float(found.random[0]),
        "area_edges": None if found.edges is None else float(found.edges[0]),
    }


def _check_image(kind: str) -> None:
    if kind != "images":
        raise OptionError(f"This is measured for images, and the run takes {kind}.")
