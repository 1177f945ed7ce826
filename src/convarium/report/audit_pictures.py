"""The pictures of an audit: mean heatmaps with their places, samples before and after a change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convarium.data import Volume
from convarium.explain.auditing.boxes import Box
from convarium.explain.auditing.results import Cluster, Example
from convarium.report import pictures, slices

_FRAME = (0, 229, 255)  # cyan, which neither the heat's colours nor grey have
_SPACING = (1.0, 1.0, 1.0)

Pixels = NDArray[np.uint8]


def figure(example: Example, box: Box | None = None) -> dict[str, Any]:
    """A sample, and the heat over it where it has one, for the template.

    Args:
        example: the sample.
        box: what the slices of a volume go through; None is the strongest heat.
    """
    at = _place(example.heat) if box is None else _middle(box)
    image = picture(example.image, at)
    overlay = None
    if example.heat is not None:
        overlay = pictures.fit(pictures.blend(image, flat(example.heat, at)))
    return _told(pictures.fit(image), overlay, example.title, example.note, image)


def row(examples: Sequence[Example], box: Box | None = None) -> list[dict[str, Any]]:
    """Versions of one sample, side by side."""
    return [figure(example, box) for example in examples]


def cluster_figure(cluster: Cluster) -> dict[str, Any]:
    """The mean sample of a cluster, its mean heat over it, and the place in a frame on both."""
    at = _place(cluster.mean)
    image = picture(cluster.average, at)
    heated = pictures.blend(image, flat(cluster.mean, at))
    title = f"{cluster.label}, cluster {cluster.number + 1}"
    note = (
        f"{cluster.n} maps, {cluster.share:.0%} of this prediction; {cluster.purity.value:.0%} are "
        f"right; {cluster.heat:.0%} of the heat in the frame, {cluster.box.share:.1%} of the input"
    )
    return _told(framed(image, cluster.box), framed(heated, cluster.box), title, note, image)


def picture(image: Tensor, at: tuple[int, int, int] | None = None) -> Pixels:
    """A sample (C, *S) in [0, 1] as a picture; a volume as three slices."""
    values = image.detach().cpu().float().numpy()
    if values.ndim == 4:
        scaled = Volume((255 * values).round().astype(np.float32), _SPACING, None)
        return slices.slices_picture(scaled, at=at, window=slices.Window(0.0, 255.0))
    chosen = values if len(values) == 3 else values[:1]
    pixels: Pixels = np.rint(255 * chosen).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def flat(heat: Tensor, at: tuple[int, int, int] | None = None) -> NDArray[np.float32]:
    """A map (*S) in [0, 1] as it lies over `picture`."""
    values = heat.detach().cpu().float().clamp(0, 1).numpy()
    if values.ndim == 3:
        volume = Volume(np.zeros((1, *values.shape), np.float32), _SPACING, None)
        return slices.slices_heat(values, volume, at or slices.middle(values.shape)).clip(0, 1)
    return values


def framed(image: Pixels, box: Box) -> Pixels:
    """A picture at the page's size with a frame around a place; volumes are drawn without."""
    shown = np.array(pictures.colour(pictures.fit(image)))
    if len(box.size) == 3:
        return shown
    scale = [side / own for side, own in zip(shown.shape, image.shape, strict=False)]
    ends = [first + side for first, side in zip(box.start, box.size, strict=True)]
    top, left = (round(a * k) for a, k in zip(box.start, scale, strict=False))
    low, right = (round(a * k) for a, k in zip(ends, scale, strict=False))
    thick = max(2, min(shown.shape[:2]) // 60)
    inside = np.zeros(shown.shape[:2], np.bool_)
    inside[top:low, left:right] = True
    inside[top + thick : low - thick, left + thick : right - thick] = False
    shown[inside] = _FRAME
    return shown


def _place(heat: Tensor | None) -> tuple[int, int, int] | None:
    """Where the slices of a volume go through: the strongest heat."""
    if heat is None or heat.ndim != 3:
        return None
    return slices.strongest(heat.detach().cpu().float().numpy())


def _middle(box: Box) -> tuple[int, int, int] | None:
    """Of a volume's place."""
    if len(box.size) != 3:
        return None
    depth, height, width = (a + n // 2 for a, n in zip(box.start, box.size, strict=True))
    return depth, height, width


def _told(
    shown: Pixels, overlay: Pixels | None, title: str, note: str, original: Pixels
) -> dict[str, Any]:
    """What the templates' macros know of a picture."""
    return {
        "title": title,
        "note": note,
        "image": pictures.address(shown),
        "overlay": None if overlay is None else pictures.address(overlay),
        "width": shown.shape[1],
        "height": shown.shape[0],
        "enlarged": shown.shape[0] > original.shape[0],
    }
