"""Samples with their predictions and heatmaps, ready to be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convarium.data import Batch, Dataset, Part, Skipped, batches
from convarium.explain import grad_cam
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
    """

    pictures: tuple[Picture, ...]
    rows: tuple[Mapping[str, Any], ...]
    skipped: tuple[Skipped, ...]
    layer: str


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
        data: images; labels are shown where they are known.
        most: how many samples at most.
        target: the class to explain; None means each sample's predicted class.
        layer: where to read the maps; None means the network's own choice.

    Raises:
        OptionError: the network has no such layer.
    """
    skipped: list[Skipped] = []
    pictures: list[Picture] = []
    rows: list[Mapping[str, Any]] = []
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
            pictures.append(Picture(sample.image, explained, note, maps[place]))
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
    return Explained(tuple(pictures), tuple(rows), tuple(skipped), name)


def show_samples(run: Run, data: Part | Dataset, *, most: int = 48) -> tuple[Picture, ...]:
    """The first samples of `data` as the network sees them, with their predictions.

    Args:
        run: an opened run.
        data: images; labels are shown where they are known.
        most: how many samples at most.
    """
    return tuple(
        Picture(sample.image, sample.prediction, sample.about)
        for batch in _first(data, run, most, [])
        for sample in _samples(run, data, batch)
    )


class _Sample(NamedTuple):
    """One sample: its name, its pixels, and what the network says of it."""

    name: str
    image: NDArray[np.uint8]
    prediction: str
    about: str
    classes: Sequence[str]


def _samples(run: Run, data: Part | Dataset, batch: Batch) -> Iterator[_Sample]:
    dataset = data.dataset if isinstance(data, Part) else data
    predictor = run.predictor
    for record in predictor.task.decode(predictor.outputs(batch), batch):
        name = dataset.name(record.id)
        pixels = run.preprocessing.apply(dataset.read(record.id))
        truth = "" if record.target is None else f", truth: {record.target}"
        yield _Sample(
            name=name,
            image=np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()),
            prediction=record.sentence(),
            about=f"{PurePath(name).name}{truth}",
            classes=run.card["classes"],
        )


def _first(data: Part | Dataset, run: Run, most: int, skipped: list[Skipped]) -> Iterator[Batch]:
    """Small batches until `most` samples have come."""
    left = most
    for batch in batches(data, run.preprocessing, batch_size=min(_AT_ONCE, most), skipped=skipped):
        yield batch if len(batch) <= left else batch.first(left)
        left -= len(batch)
        if left <= 0:
            return
