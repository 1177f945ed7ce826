"""Samples with their predictions and heatmaps, ready to be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.data import (
    Batch,
    Dataset,
    Part,
    Preprocessing,
    Skipped,
    Volume,
    VolumePreprocessing,
    batches,
)
from convarium.explain import grad_cam
from convarium.report import slices
from convarium.report.pictures import Picture

if TYPE_CHECKING:
    from convarium.predict import Run

_AT_ONCE = 16


@dataclass(frozen=True)
class Explained:
    """Explained samples.

    Args:
        pictures: what the network saw, with the heat over it.
        rows: one mapping a picture: name, prediction, confidence, target, layer, status.
        skipped: what could not be read.
        layer: the layer that the heatmaps are read from.
        ids: of the samples, in the order of the pictures.
        maps: of volumes the heat at the input's size, `(D, H, W)` in [0, 1], in that order.
    """

    pictures: tuple[Picture, ...]
    rows: tuple[Mapping[str, Any], ...]
    skipped: tuple[Skipped, ...]
    layer: str
    ids: tuple[int, ...] = ()
    maps: tuple[NDArray[np.float32], ...] = ()


def explain_samples(
    run: Run,
    data: Part | Dataset,
    *,
    most: int = 48,
    target: int | None = None,
    layer: str | None = None,
) -> Explained:
    """Predict and explain the first samples of `data` by Grad-CAM.

    Args:
        run: an opened run.
        data: images or volumes; labels are shown where they are known.
        most: how many samples at most.
        target: the class to explain; None means each sample's predicted class.
        layer: where to read the maps; None means the network's own choice.

    Raises:
        OptionError: the network has no such layer.
    """
    skipped: list[Skipped] = []
    pictures: list[Picture] = []
    rows: list[Mapping[str, Any]] = []
    ids: list[int] = []
    kept: list[NDArray[np.float32]] = []
    name = layer or run.model.heatmap_layer
    for batch in _first(data, run, most, skipped):
        heat = grad_cam(run.model, batch.inputs[0], target=target, layer=layer)
        name = heat.layer
        maps = heat.display().numpy().astype(np.float32)
        for place, sample in enumerate(_samples(run, data, batch)):
            explained = "" if heat.target is None else sample.classes[heat.target[place]]
            status = heat.status[place]
            note = f"{sample.about}, predicted {sample.prediction}"
            note = note if status == "fine" else f"{note}; {status}"
            pictures.append(_picture(sample, explained, note, maps[place]))
            ids.append(sample.id)
            if isinstance(sample.seen, Volume):
                kept.append(maps[place])
            rows.append(
                {
                    "name": sample.name,
                    "prediction": sample.prediction,
                    "target": explained,
                    "logit": float(heat.logit[place]),
                    "layer": heat.layer,
                    "status": status,
                }
            )
    left_out = tuple(skipped)
    return Explained(tuple(pictures), tuple(rows), left_out, name, tuple(ids), tuple(kept))


def show_samples(run: Run, data: Part | Dataset, *, most: int = 48) -> tuple[Picture, ...]:
    """The first samples of `data` as the network sees them, with their predictions.

    Args:
        run: an opened run.
        data: images or volumes; labels are shown where they are known.
        most: how many samples at most.
    """
    return tuple(
        _picture(sample, sample.prediction, sample.about)
        for batch in _first(data, run, most, [])
        for sample in _samples(run, data, batch)
    )


class _Sample(NamedTuple):
    """One sample: its name, what the network gets, and what the network says of it."""

    id: int
    name: str
    seen: NDArray[np.uint8] | Volume
    prediction: str
    about: str
    classes: Sequence[str]


def _samples(run: Run, data: Part | Dataset, batch: Batch) -> Iterator[_Sample]:
    dataset = data.dataset if isinstance(data, Part) else data
    predictor = run.predictor
    for record in predictor.task.decode(predictor.outputs(batch), batch):
        name = dataset.name(record.id)
        seen = _seen(run.preprocessing, dataset.read(record.id))
        truth = "" if record.target is None else f", truth: {record.target}"
        yield _Sample(
            id=record.id,
            name=name,
            seen=seen,
            prediction=record.sentence(),
            about=f"{PurePath(name).name}{truth}",
            classes=run.card["classes"],
        )


def _seen(preprocessing: Preprocessing, original: Any) -> NDArray[np.uint8] | Volume:
    """A sample on the network's grid: pixels `(H, W, C)`, or a volume with the spacing there."""
    values = preprocessing.apply(original)
    if isinstance(preprocessing, VolumePreprocessing):
        return Volume(values.numpy(), preprocessing.input_spacing(original), original.affine)
    return np.ascontiguousarray(values.permute(1, 2, 0).numpy())


def _picture(
    sample: _Sample, title: str, note: str, heat: NDArray[np.float32] | None = None
) -> Picture:
    """The sample as a picture; of a volume slices through the strongest heat, else the middle."""
    if not isinstance(sample.seen, Volume):
        return Picture(sample.seen, title, note, heat)
    at = slices.middle(sample.seen.size) if heat is None else slices.strongest(heat)
    image = slices.slices_picture(sample.seen, at=at)
    flat = None if heat is None else slices.slices_heat(heat, sample.seen, at)
    return Picture(image, title, "{}; depth {}, height {}, width {}".format(note, *at), flat)


def _first(data: Part | Dataset, run: Run, most: int, skipped: list[Skipped]) -> Iterator[Batch]:
    """Small batches until `most` samples have come."""
    left = most
    for batch in batches(data, run.preprocessing, batch_size=min(_AT_ONCE, most), skipped=skipped):
        yield batch if len(batch) <= left else batch.first(left)
        left -= len(batch)
        if left <= 0:
            return
