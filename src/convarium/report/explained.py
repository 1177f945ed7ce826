"""Samples with their predictions and heatmaps, ready to be drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

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
from convarium.errors import OptionError
from convarium.explain import Attribution
from convarium.explain.controls import Controlled
from convarium.explain.looking import device_of
from convarium.explain.methods import attributed, faithfulness
from convarium.report import slices
from convarium.report.faithful import scored, with_scores
from convarium.report.pictures import Picture

if TYPE_CHECKING:
    from convarium.predict import Run
    from convarium.tasks import Record

_AT_ONCE = 16


@dataclass(frozen=True)
class Explained:
    """Explained samples.

    Args:
        pictures: what the network saw, with the heat over it.
        rows: one mapping a picture: name, prediction, target, logit, method, layer, status, note,
            and where it was asked for faithfulness.
        skipped: what could not be read.
        layer: the layer that the heatmaps are read from.
        ids: of the samples, in the order of the pictures.
        maps: of volumes the heat at the input's size, `(D, H, W)` in [0, 1], in that order.
        method: name of the function that made the heatmaps.
        shared: whether all pictures have one scale.
        scores: of each measure of faithfulness, over the samples; empty where not asked for.
    """

    pictures: tuple[Picture, ...]
    rows: tuple[Mapping[str, Any], ...]
    skipped: tuple[Skipped, ...]
    layer: str
    ids: tuple[int, ...] = ()
    maps: tuple[NDArray[np.float32], ...] = ()
    method: str = "grad_cam"
    shared: bool = False
    scores: Mapping[str, Controlled] = field(default_factory=dict)


@dataclass
class _Gathered:
    """What grows batch by batch."""

    pictures: list[Picture] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    maps: list[NDArray[np.float32]] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    scores: list[dict[str, Controlled]] = field(default_factory=list)


def explain_samples(
    run: Run,
    data: Part | Dataset,
    *,
    most: int = 48,
    target: int | None = None,
    layer: str | Sequence[str] | None = None,
    method: str = "grad_cam",
    shared: bool = False,
    faithful: bool = False,
) -> Explained:
    """Predict and explain the first samples of `data`.

    Args:
        run: an opened run.
        data: images or volumes; labels are shown where they are known.
        most: how many samples at most.
        target: the class to explain; None means each sample's predicted class.
        layer: where to read the maps; None means the network's own choice; several are fused.
        method: name of a method of `convarium.explain`.
        shared: one scale for all samples, so that their heat can be compared.
        faithful: measure deletion, insertion and average drop too, with their controls.

    Raises:
        OptionError: the network has no such layer, there is no such method, or several layers are
            to share a scale.
    """
    layers = checked_layers(layer, shared)
    name = " + ".join(layers) or run.model.heatmap_layer
    device = device_of(run.model)
    found = _Gathered()
    for batch in first_batches(data, run, most, found.skipped):
        x = batch.inputs[0].to(device)
        heat = attributed(run.model, x, method=method, target=target, layers=layers)
        name = heat.layer
        if faithful:
            found.scores.append(faithfulness(run.model, x, heat, output=scored(run)))
        _gather(run, _samples(run, data, batch), heat, found)
    scores = with_scores(found.rows, found.scores)
    if shared:
        _on_one_scale(found)
    return Explained(
        pictures=tuple(found.pictures),
        rows=tuple(found.rows),
        skipped=tuple(found.skipped),
        layer=name,
        ids=tuple(found.ids),
        maps=tuple(found.maps),
        method=method,
        shared=shared,
        scores=scores,
    )


def checked_layers(layer: str | Sequence[str] | None, shared: bool) -> tuple[str, ...]:
    """The layers that are read; none means the network's own choice.

    Raises:
        OptionError: several layers are to share a scale.
    """
    layers = (layer,) if isinstance(layer, str) else tuple(layer or ())
    if shared and len(layers) > 1:
        raise OptionError(
            "shared (=True): fused maps have been divided by their own maxima, so they cannot be "
            "compared; name one layer, or leave the shared scale out."
        )
    return layers


def _gather(run: Run, samples: Iterator[_Sample], heat: Attribution, found: _Gathered) -> None:
    """Pictures and rows of one batch."""
    maps = heat.display().cpu().numpy().astype(np.float32)
    found.peaks += peaks(heat).tolist()
    for place, sample in enumerate(samples):
        row, note = row_of(heat, place, sample.classes, (sample.name, sample.prediction))
        note = f"{sample.about}, {note}"
        found.pictures.append(_picture(run, sample, row["target"], note, maps[place]))
        found.ids.append(sample.id)
        if isinstance(sample.seen, Volume):
            found.maps.append(maps[place])
        found.rows.append(row)


def row_of(
    heat: Attribution, place: int, classes: Sequence[str], told: tuple[str, str]
) -> tuple[dict[str, Any], str]:
    """What a program is told of one explained sample, and a person of the answer.

    Args:
        heat: of a batch.
        place: of the sample in it.
        classes: their names.
        told: the sample's name, and its prediction in words.
    """
    name, prediction = told
    logit, status = float(heat.logit[place]), heat.status[place]
    row = {
        "name": name,
        "prediction": prediction,
        "target": "" if heat.target is None else classes[heat.target[place]],
        "logit": logit if math.isfinite(logit) else None,
        "method": heat.method,
        "layer": heat.layer,
        "status": status,
        "note": heat.note,
    }
    return row, f"predicted {prediction}" + (f"; {status}" if status != "fine" else "")


def _on_one_scale(found: _Gathered) -> None:
    """Divide by the largest value of all pictures instead of each one's own."""
    highest = max(found.peaks, default=0) or 1
    parts = [np.float32(peak / highest) for peak in found.peaks]
    found.maps = [part * each for part, each in zip(parts, found.maps, strict=False)]
    found.pictures = [
        replace(picture, heat=part * cast("NDArray[np.float32]", picture.heat))
        for part, picture in zip(parts, found.pictures, strict=True)
    ]


def peaks(heat: Attribution) -> Tensor:
    """The largest value of each map as it is displayed, before it is divided by that, (B,)."""
    positive = heat.values.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).relu()
    return heat.resized(positive, heat.input_size).flatten(1).amax(1)


def show_samples(run: Run, data: Part | Dataset, *, most: int = 48) -> tuple[Picture, ...]:
    """The first samples of `data` as the network sees them, with their predictions.

    Args:
        run: an opened run.
        data: images or volumes; labels are shown where they are known.
        most: how many samples at most.
    """
    return tuple(
        _picture(run, sample, sample.prediction, sample.about)
        for batch in first_batches(data, run, most, [])
        for sample in _samples(run, data, batch)
    )


class _Sample(NamedTuple):
    """One sample: its name, what the network gets of it, and what the network says of it."""

    id: int
    name: str
    seen: NDArray[np.uint8] | Volume
    original: Any
    prediction: str
    about: str
    classes: Sequence[str]


def _samples(run: Run, data: Part | Dataset, batch: Batch) -> Iterator[_Sample]:
    dataset = data.dataset if isinstance(data, Part) else data
    for record, name in records_of(run, data, batch):
        original = dataset.read(record.id)
        known = record.target is not None
        told = PurePath(name).name if known else "/".join(name.split("/")[-2:])
        yield _Sample(
            id=record.id,
            name=name,
            seen=seen_by(run.preprocessing, original),
            original=original,
            prediction=record.sentence(),
            about=about(record, told),
            classes=run.card["classes"],
        )


def seen_by(preprocessing: Preprocessing, original: Any) -> NDArray[np.uint8] | Volume:
    """A sample on the network's grid: pixels `(H, W, C)`, or a volume with the spacing there."""
    values = preprocessing.apply(original)
    if isinstance(preprocessing, VolumePreprocessing):
        return Volume(values.numpy(), preprocessing.input_spacing(original), original.affine)
    return np.ascontiguousarray(values.permute(1, 2, 0).numpy())


def _picture(
    run: Run, sample: _Sample, title: str, note: str, heat: NDArray[np.float32] | None = None
) -> Picture:
    """The sample as a picture; of a volume slices through the strongest heat, else the middle.

    The note has the voxel of the volume that they go through, counted from 0.
    """
    if not isinstance(sample.seen, Volume):
        return Picture(sample.seen, title, note, heat)
    at = slices.middle(sample.seen.size) if heat is None else slices.strongest(heat)
    image = slices.slices_picture(sample.seen, at=at)
    flat = None if heat is None else slices.slices_heat(heat, sample.seen, at)
    where = cast("VolumePreprocessing", run.preprocessing).voxel(at, sample.original)
    return Picture(image, title, "{}; depth {}, height {}, width {}".format(note, *where), flat)


def first_batches(
    data: Part | Dataset, run: Run, most: int, skipped: list[Skipped]
) -> Iterator[Batch]:
    """Small batches until `most` samples have come."""
    left = most
    for batch in batches(data, run.preprocessing, batch_size=min(_AT_ONCE, most), skipped=skipped):
        yield batch if len(batch) <= left else batch.first(left)
        left -= len(batch)
        if left <= 0:
            return


def records_of(run: Run, data: Part | Dataset, batch: Batch) -> Iterator[tuple[Record, str]]:
    """What the run says of each sample of a batch, and the sample's name."""
    dataset = data.dataset if isinstance(data, Part) else data
    for record in run.predictor.task.decode(run.predictor.outputs(batch), batch):
        yield record, dataset.name(record.id)


def about(record: Record, name: str) -> str:
    """A sample's name, and what is true of it where that is known."""
    return name if record.target is None else f"{name}, truth: {record.target}"
