"""A closer look at one sample: whether its heatmap is faithful, and what a position sees."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium.data import TextPreprocessing
from convarium.errors import OptionError
from convarium.explain import Attribution, RemovalCurve
from convarium.explain.methods import removals
from convarium.measure import EffectiveField, ReceptiveField, effective_receptive_field
from convarium.predict import Run, open_run
from convarium.progress import Progress
from convarium.report import draw_effective_field
from convarium.report.faithful import scored
from convarium.report.pictures import address
from convarium.report.texts import SHOWN, token_pieces
from convarium.studio.desk import Desk
from convarium.studio.given import Given
from convarium.studio.look import field_of, given_before, heat_of, inputs_of

_STEPS: Final = 16
_MOST, _AT_ONCE = 32, 4_000_000  # inputs at a time, and numbers in them: volumes are large
_NEAR: Final = 16  # positions on each side of a clicked token
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

    Pixels, time steps and voxels are removed, or the tokens of a text, which have no edges. Of a
    volume that takes minutes: the answer says how far it is, and it ends where nobody asks.

    Args:
        desk: keeps the sample.
        run: its name.
        sample: of `look.show`.
        method, layer, target: of the heatmap.
    """
    given, asked = given_before(desk, run, sample), (method, layer, target)

    def work(progress: Progress) -> dict[str, Any]:
        own = open_run(desk.folder(run))  # a network that nobody else runs meanwhile
        heat = heat_of(desk, run, sample, *asked, own=own)
        return _removed(own, inputs_of(own, given), heat, progress)

    return desk.jobs.ask(("curves", run, sample, *asked), work, version=desk.version(run))


def _removed(run: Run, x: Tensor, heat: Attribution, progress: Progress) -> dict[str, Any]:
    """The curves of a heatmap; every batch is told to `progress`."""
    steps, orders = min(_STEPS, math.prod(heat.input_size)), 3 if x.is_floating_point() else 2
    progress.total += 2 * (2 + orders * (steps - 1))
    run.model.register_forward_pre_hook(lambda _, inputs: progress.advance(len(inputs[0])))
    output = scored(run)
    found = removals(
        run.model,
        x,
        heat,
        output=output,
        steps=steps,
        batch_size=max(1, min(_MOST, _AT_ONCE // x.numel())),
    )
    return {
        **{name: _curve(each) for name, each in found.items()},
        "output": output,
        "method": heat.method,
        "target": None if heat.target is None else run.card["classes"][heat.target[0]],
    }


def field(
    desk: Desk,
    run: str,
    sample: str,
    column: int,
    row: int | None = None,
    depth: int | None = None,
    layer: str | None = None,
    token: int | None = None,
) -> dict[str, Any]:
    """What a position of a layer sees of a sample: its field, and the weight inside it.

    Args:
        desk: keeps the sample.
        run: its name.
        sample: of `look.show`.
        column: of the layer's map; along a series or a text the only number.
        row: of the map of an image or a volume.
        depth: of the map of a volume.
        layer: dotted name; None takes the network's own choice for heatmaps.
        token: of a text, that was clicked; where nothing moves the position, as at a text's ends,
            the nearest one that reads this token is shown.
    """
    opened, given = desk.opened(run), given_before(desk, run, sample)
    x = inputs_of(opened, given)
    layer = layer or getattr(opened.model, "heatmap_layer", None)
    place = [each for each in (depth, row, column) if each is not None]
    found = _found(opened.model, x, layer, place, token)
    whole = field_of(desk, run, tuple(x.shape))
    own = whole.at(found.layer)
    return {
        "layer": found.layer,
        "position": list(found.position),
        "map": list(own.shape[2:]),
        "status": own.status,
        "size": list(own.size),
        "box": [[each.start, each.stop] for each in found.box],
        "sentence": found.sentence(),
        "area_50": found.area_50,
        "area_95": found.area_95,
        "deviation": list(found.deviation),
        **_WEIGHT[given.kind](opened, given, found, whole),
    }


def _found(
    model: nn.Module, x: Tensor, layer: str | None, place: Sequence[int], token: int | None
) -> EffectiveField:
    """The field of a position, or of one near it that reads a token.

    Raises:
        OptionError: nothing moves it, nor one near it.
    """
    seen = partial(effective_receptive_field, model, x, layer=layer)
    near = range(max(0, place[-1] - _NEAR), place[-1] + _NEAR)
    for column in () if token is None else sorted(near, key=lambda k: abs(k - place[-1])):
        with contextlib.suppress(OptionError):
            found = seen(position=[column])
            if any(token in side for side in found.box):
                return found
    return seen(position=place)


def weight_picture(values: NDArray[np.floating]) -> str:
    """The weight of each place as a picture to lie over another: the root of it, in cyan.

    Shape:
        values: `(H, W)`, 0 or more.
    """
    inks = np.empty((*values.shape, 4), np.uint8)
    inks[..., :3] = _COLOUR
    inks[..., 3] = np.rint(235 * np.sqrt(values / float(values.max())))
    return address(inks, quick=True)


def _over(run: Run, given: Given, found: EffectiveField, whole: ReceptiveField) -> dict[str, Any]:
    """The weight over an image."""
    return {"picture": weight_picture(found.values.numpy())}


def _drawn(run: Run, given: Given, found: EffectiveField, whole: ReceptiveField) -> dict[str, Any]:
    """The weight along a series as a curve, and of a volume summed along each axis."""
    name = run.card.get("model", {}).get("name", "the network")
    return {"drawing": draw_effective_field(found, whole, name)}


def _tokens(run: Run, given: Given, found: EffectiveField, whole: ReceptiveField) -> dict[str, Any]:
    """The tokens of a text, each with the root of its weight, around the field."""
    pieces = token_pieces(cast("TextPreprocessing", run.preprocessing), given.value)
    (seen,) = found.box or (range(len(pieces)),)
    first = max(0, min((seen.start + seen.stop - SHOWN) // 2, len(pieces) - SHOWN))
    weight = np.sqrt(found.values.numpy() / float(found.values.max()))
    last = first + SHOWN
    return {
        "tokens": pieces[first:last],
        "weight": weight[first:last].round(4).tolist(),
        "first": first,
    }


#: How the weight is shown over a sample of each kind.
_WEIGHT: Final[Mapping[str, Callable[..., dict[str, Any]]]] = {
    "images": _over,
    "series": _drawn,
    "volumes": _drawn,
    "texts": _tokens,
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
