"""Costs, fields, networks, histories and attributions as tables and pictures in a notebook.

`%load_ext convarium` registers them. Nothing is computed to be shown: no forward pass is made, and
of many rows or maps the first are shown and the rest is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.report import palette, pictures, wording
from convarium.report.learning import curves
from convarium.report.network import shape_words
from convarium.report.templates import environment

if TYPE_CHECKING:
    from convarium.explain import Attribution
    from convarium.measure import Cost, ReceptiveField
    from convarium.models.contract import Network
    from convarium.train import History

_ROWS, _MAPS, _SIDE = 24, 8, 128


class Told(NamedTuple):
    """What a notebook shows of an object: a title, a sentence, and a table or pictures.

    Attributes:
        title: what the object is.
        lead: it in words.
        heads: of the table's columns.
        rows: of the table.
        words: columns of the table that are words; the others stand to the right.
        more: rows or pictures that are left out.
        drawing: an SVG, or nothing.
        pictures: by address and caption.
    """

    title: str
    lead: str
    heads: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()
    words: int = 0
    more: int = 0
    drawing: str = ""
    pictures: Sequence[tuple[str, str]] = ()


def load_ipython_extension(shell: Any) -> None:
    """Let a notebook or an IPython shell render the objects of this library.

    Called by `%load_ext convarium`.

    Args:
        shell: as IPython gives it; its formatter of `text/html` is told the classes by name, so
            that none of them is imported here.
    """
    formatter = shell.display_formatter.formatters["text/html"]
    for (module, name), told in _TOLD.items():
        formatter.for_type_by_name(module, name, _drawn(told))


def unload_ipython_extension(shell: Any) -> None:
    """Undo it; called by `%unload_ext convarium`."""
    formatter = shell.display_formatter.formatters["text/html"]
    for module, name in _TOLD:
        formatter.pop(f"{module}.{name}", None)


def cost(found: Cost) -> Told:
    """Parameters, multiply-adds and memory, and the layers that take the most of them."""
    first = sorted(found.rows, key=lambda row: (row.macs, row.parameters), reverse=True)[:_ROWS]
    rows = [
        (
            row.layer,
            row.kind,
            shape_words(row.shape),
            wording.count(row.parameters),
            wording.short(row.macs),
            _share(row.macs, found.macs),
        )
        for row in first
    ]
    lead = (
        f"{wording.short(found.parameters)} parameters and {wording.short(found.macs)} multiply-"
        f"adds for {_shapes(found.input_shape)}; {_bytes(found.forward_bytes)} at once without "
        f"gradients, {_bytes(found.training_bytes)} in training. The dearest layers first:"
    )
    heads = ("layer", "kind", "shape", "parameters", "MACs", "share")
    return Told("Cost", lead, heads, rows, words=3, more=len(found.rows) - len(rows))


def field(found: ReceptiveField) -> Told:
    """The field in words, and of each layer."""
    rows = [
        (
            row.layer,
            row.kind,
            shape_words(row.shape),
            wording.axes(row.size) if row.size else row.status,
            wording.axes(row.stride) if row.stride else "",
            wording.axes(row.start) if row.start else "",
        )
        for row in found.rows[-_ROWS:]
    ]
    more = len(found.rows) - len(rows)
    heads = ("layer", "kind", "shape", "size", "stride", "start")
    return Told("Receptive field", found.sentence(), heads, rows, words=3, more=more)


def network(found: Network) -> Told:
    """Name, options and stages."""
    numbers = sum(each.numel() for each in found.parameters())
    given = {key: value for key, value in found.config.items() if value is not None}
    rows = [
        (stage.name, wording.count(stage.channels), wording.count(stage.reduction))
        for stage in found.stages
    ]
    lead = (
        f"{wording.short(numbers)} parameters; it reads {found.input_kind}, and heatmaps are read "
        f"from {found.heatmap_layer}. {wording.setting(given)}"
    )
    heads = ("stage", "channels", "inputs a position")
    title = found.name or type(found).__name__
    return Told(title, lead, heads, rows[:_ROWS], words=1, more=max(0, len(rows) - _ROWS))


def history(found: History) -> Told:
    """The curves, and the epoch whose weights were kept."""
    best, key = found.best, f"val_{found.metric}"
    quantity = {"acc": "accuracy", "f1": "F1", "r2": "R2"}.get(found.metric)
    shown = ("loss", quantity, "learning rate") if quantity else ("loss", "learning rate")
    lead = (
        f"{len(found.rows)} epochs; the weights of epoch {found.best_epoch} were kept, with a "
        f"validation loss of {wording.number(best['val_loss'])} and {key} "
        f"{wording.number(best.get(key))}."
    )
    return Told("History", lead, drawing=curves(found.rows, shown, kept=found.best_epoch))


def attribution(found: Attribution) -> Told:
    """The heatmaps as `display` gives them, from 0 to 1, with class and status."""
    extents = found.extents and found.extents[:_MAPS]
    first = replace(found, values=found.values[:_MAPS], channels=None, extents=extents)
    maps = first.display(_picture_size(found)).numpy()
    shown = [
        (pictures.address(_coloured(each)), _caption(found, row)) for row, each in enumerate(maps)
    ]
    more = len(found.values) - len(shown)
    lead = f"Maps of {shape_words(found.values.shape[1:])} at {found.layer}, each from 0 to 1."
    return Told("Attribution", lead, pictures=shown, more=more)


def html(told: Told) -> str:
    """It as a piece of a page, in colours of its own."""
    style = palette.variables(".convarium")
    return environment().get_template("notebook.html.jinja").render(told=told, style=style)


_TOLD: dict[tuple[str, str], Callable[[Any], Told]] = {
    ("convarium.measure.costs", "Cost"): cost,
    ("convarium.measure.field", "ReceptiveField"): field,
    ("convarium.models.contract", "Network"): network,
    ("convarium.train.history", "History"): history,
    ("convarium.explain.attribution", "Attribution"): attribution,
}


def _drawn(told: Callable[[Any], Told]) -> Callable[[Any], str]:
    return lambda found: html(told(found))


def _picture_size(found: Attribution) -> tuple[int, ...]:
    """Of pictures the input's size, made small; of others the layer's."""
    if len(found.input_size) != 2:
        return tuple(found.values.shape[1:])
    times = min(1.0, _SIDE / max(found.input_size))
    return tuple(max(1, round(times * side)) for side in found.input_size)


def _coloured(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A map in colours, enlarged: a series as a band, of a volume the most along its depth."""
    flat = heat.max(0) if heat.ndim == 3 else heat if heat.ndim == 2 else heat[None].repeat(8, 0)
    times = max(1, _SIDE // max(flat.shape))
    colours = pictures.heat_colours(flat.repeat(times, 0).repeat(times, 1))
    return np.rint(255 * colours).astype(np.uint8)


def _caption(found: Attribution, row: int) -> str:
    name = "a callable" if found.target is None else f"class {found.target[row]}"
    return name if found.status[row] == "fine" else f"{name}: {found.status[row]}"


def _shapes(shape: Sequence[Any]) -> str:
    several = bool(shape) and isinstance(shape[0], tuple)
    return " and ".join(map(shape_words, shape)) if several else shape_words(shape)


def _bytes(n: int) -> str:
    return f"{wording.short(n)}B"


def _share(part: int, whole: int) -> str:
    return wording.percent(part / whole) if whole else ""
