"""Samples with their predictions and heatmaps, ready to be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from convarium.data import Batch, Dataset, Part, Skipped, batches
from convarium.explain import grad_cam
from convarium.report.pictures import Picture

if TYPE_CHECKING:
    from convarium.explain import Attribution
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
        pictures += _pictures(run, data, batch, heat)
        rows += _rows(run, data, batch, heat)
    return Explained(tuple(pictures), tuple(rows), tuple(skipped), name)


def _first(data: Part | Dataset, run: Run, most: int, skipped: list[Skipped]) -> Iterator[Batch]:
    """Small batches until `most` samples have come."""
    left = most
    for batch in batches(data, run.preprocessing, batch_size=_AT_ONCE, skipped=skipped):
        chosen = slice(0, left)
        yield Batch(
            inputs=tuple(value[chosen] for value in batch.inputs),
            target=None if batch.target is None else batch.target[chosen],
            mask=None if batch.mask is None else batch.mask[chosen],
            index=batch.index[chosen],
            weight=None,
        )
        left -= len(batch.index)
        if left <= 0:
            return


def _pictures(run: Run, data: Part | Dataset, batch: Batch, heat: Attribution) -> Iterator[Picture]:
    maps = heat.display().numpy()
    dataset = data.dataset if isinstance(data, Part) else data
    for row, (id, record) in enumerate(_records(run, batch)):
        pixels = run.preprocessing.apply(dataset.read(id))
        truth = "" if record.target is None else f"truth: {record.target}, "
        drawn = heat.status[row] == "fine"
        name = PurePath(dataset.name(id)).name
        yield Picture(
            image=np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()),
            title=_target_name(run, heat, row),
            note=f"{name}: {truth}predicted {record.sentence()}"
            + ("" if drawn else f"; {heat.status[row]}"),
            heat=maps[row].astype(np.float32),
        )


def _rows(
    run: Run, data: Part | Dataset, batch: Batch, heat: Attribution
) -> Iterator[Mapping[str, Any]]:
    dataset = data.dataset if isinstance(data, Part) else data
    for row, (id, record) in enumerate(_records(run, batch)):
        yield {
            "name": dataset.name(id),
            "prediction": record.sentence(),
            "target": _target_name(run, heat, row),
            "logit": float(heat.logit[row]),
            "layer": heat.layer,
            "status": heat.status[row],
        }


def _records(run: Run, batch: Batch) -> Sequence[tuple[int, Any]]:
    with torch.no_grad():
        records = run.predictor.task.decode(run.predictor.outputs(batch), batch)
    return list(zip(batch.index.tolist(), records, strict=True))


def _target_name(run: Run, heat: Attribution, row: int) -> str:
    return "" if heat.target is None else str(run.card["classes"][heat.target[row]])
