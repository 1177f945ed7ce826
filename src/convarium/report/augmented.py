"""A page of training samples: the original beside what training makes of it in several epochs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convarium import files
from convarium.data import (
    Batch,
    Dataset,
    Preprocessing,
    Series,
    Volume,
    VolumePreprocessing,
    target_in_words,
)
from convarium.data.batching import Changes
from convarium.errors import OptionError
from convarium.report import pictures, wording
from convarium.report.raster import svg_as_png
from convarium.report.seen import label_of, seen_batch
from convarium.report.slices import slices_picture, window_of
from convarium.report.small_curves import Limits, draw_curves, shared_limits
from convarium.report.svg import Drawing

SUFFIXES = (".html", ".svg", ".png")
_CELL, _GAP, _EDGE = 120.0, 12.0, 24.0  # pixels: a picture's room, between pictures, around all
_NAME, _NOTE = 34.0, 15.0  # above a row, below it
_SHARPEST = 2  # pixels of a picture to one of the drawing, at most


@dataclass(frozen=True, eq=False)
class AugmentedSample:
    """A sample and its versions.

    Args:
        name: of the sample.
        label: its target in words; empty where there is none.
        original: as it is read, uint8 `(H, W, C)`; of a volume three slices through its middle; of
            a series what the network gets without a change, float32 `(C, T)`.
        versions: what the network gets in each epoch, uint8 `(h, w, C)`, with mean and deviation
            put back; of a volume the same slices, black and white where the original has them; of a
            series float32 `(C, T)`.
        notes: what was mixed in, for each version; empty texts where nothing was.
    """

    name: str
    label: str
    original: NDArray[Any]
    versions: tuple[NDArray[Any], ...]
    notes: tuple[str, ...]


def augmented_samples(
    dataset: Dataset,
    ids: NDArray[np.int64],
    preprocessing: Preprocessing,
    augmentation: Changes,
    *,
    seed: int = 0,
    epoch: int = 0,
    versions: int = 5,
) -> list[AugmentedSample]:
    """Samples as `training_batches` gives them, all in one batch, in epochs that follow each other.

    Args:
        dataset: of the samples.
        ids: sample ids in it.
        preprocessing: the steps to the network's input.
        augmentation: what is changed at random.
        seed: of the run.
        epoch: the first one.
        versions: how many epochs.

    Raises:
        DataError: a sample cannot be read.
    """
    originals = {i: dataset.read(i) for i in ids.tolist()}
    seen: dict[int, list[tuple[NDArray[Any], str]]] = {i: [] for i in originals}
    for turn in range(epoch, epoch + versions):
        batch = seen_batch(dataset, ids, preprocessing, augmentation, seed=seed, epoch=turn)
        for place, i in enumerate(batch.index.tolist()):
            shown = _shown(batch, place, preprocessing, originals[i])
            seen[i].append((shown, _mixed(dataset, batch, place)))
    return [
        AugmentedSample(
            name=dataset.name(i),
            label=label_of(dataset, i),
            original=_original(originals[i], preprocessing),
            versions=tuple(version for version, _ in pairs),
            notes=tuple(note for _, note in pairs),
        )
        for i, pairs in seen.items()
    ]


def draw_augmented(
    samples: Sequence[AugmentedSample], settings: Sequence[str], *, title: str, epoch: int = 0
) -> str:
    """The page as an SVG: a row a sample, the original first, then an epoch a column.

    Args:
        samples: at least one.
        settings: what is done, in words.
        title: heading of the page.
        epoch: number of the first version.

    Raises:
        OptionError: there is no sample.
    """
    if not samples:
        raise OptionError("samples (=[]) must hold at least one sample.")
    columns = 1 + len(samples[0].versions)
    noted = any(any(sample.notes) for sample in samples)
    row = _NAME + _CELL + (_NOTE if noted else 0) + _GAP
    width = 2 * _EDGE + columns * (_CELL + _GAP) - _GAP
    lines = _wrapped("; ".join(settings) or "nothing is changed at random", width - 2 * _EDGE)
    top = _EDGE + 44 + 17 * len(lines)
    label = f"{title}: {'; '.join(settings)}"
    drawing = Drawing(width, top + 24 + len(samples) * row, label, least=0.6)
    drawing.words(_EDGE, _EDGE + 16, _fitted(title, width - 2 * _EDGE, 18), size=18, weight=650)
    for number, line in enumerate(lines):
        drawing.words(_EDGE, _EDGE + 42 + 17 * number, line, "soft", size=13)
    first = "unchanged" if _is_series(samples) else "original"
    heads = [first, *(f"epoch {epoch + k}" for k in range(columns - 1))]
    for column, head in enumerate(heads):
        x = _EDGE + column * (_CELL + _GAP)
        drawing.words(x, top + 12, head, "accent" if column else "soft", size=12, weight=600)
    for number, sample in enumerate(samples):
        _row(drawing, sample, top + 24 + number * row, width)
    return drawing.text()


def write_augmented(
    path: str | Path,
    samples: Sequence[AugmentedSample],
    settings: Sequence[str],
    *,
    title: str,
    epoch: int = 0,
) -> Path:
    """Write the page as HTML, SVG or PNG, as the name ends, atomically.

    Args:
        path: ends in .html, .svg or .png.
        samples: at least one.
        settings: what is done, in words.
        title: heading of the page.
        epoch: number of the first version.

    Raises:
        OptionError: the name ends in something else, or there is no sample.
        RunError: the file cannot be written.
    """
    check_page_name(path)
    svg = draw_augmented(samples, settings, title=title, epoch=epoch)
    kind = Path(path).suffix.lower()
    if kind == ".png":
        files.write_bytes(path, svg_as_png(svg))
    else:
        page = _page(svg, title, series=_is_series(samples))
        files.write_text(path, svg + "\n" if kind == ".svg" else page)
    return Path(path)


def check_page_name(path: str | Path) -> None:
    """Refuse a name that does not end in .html, .svg or .png.

    Raises:
        OptionError: so.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise OptionError(f"The page's name (={str(path)!r}) must end in {', '.join(SUFFIXES)}.")


def _page(svg: str, title: str, *, series: bool) -> str:
    from convarium.report.templates import environment

    template = environment().get_template("augmented.html.jinja")
    return template.render(title=title, drawing=svg, series=series)


def _is_series(samples: Sequence[AugmentedSample]) -> bool:
    return bool(samples[0].original.dtype == np.float32)


def _original(sample: Any, preprocessing: Preprocessing) -> NDArray[Any]:
    """The sample as it is read, as a picture; of a series what the network gets."""
    if preprocessing.kind == "series":
        values: NDArray[np.float32] = preprocessing.apply(sample).numpy()
        return values
    pixels: NDArray[np.uint8] = sample
    return slices_picture(sample) if isinstance(sample, Volume) else pixels


def _shown(batch: Batch, place: int, preprocessing: Preprocessing, original: Any) -> NDArray[Any]:
    """One input `(C, *S)` as a picture, `(h, w, C)`; of a series its own steps, `(C, T)`."""
    inputs = batch.inputs[0][place]
    if isinstance(original, Series):
        own = inputs if batch.mask is None else inputs[:, batch.mask[place]]
        values_along: NDArray[np.float32] = own.numpy()
        return values_along
    channels_last = inputs.movedim(0, -1).double().numpy()
    values = channels_last * np.array(preprocessing.std) + np.array(preprocessing.mean)
    if isinstance(preprocessing, VolumePreprocessing):
        spacing = preprocessing.input_spacing(original)
        seen = Volume(np.moveaxis(values, -1, 0), spacing, original.affine)
        return slices_picture(seen, window=window_of(original.values))
    return np.asarray((255 * values).round().clip(0, 255), np.uint8)


def _mixed(dataset: Dataset, batch: Batch, place: int) -> str:
    if batch.mix is None:
        return ""
    share = float(batch.mix.share[place])
    partner = target_in_words(dataset, batch.mix.target[place].numpy())
    return f"{share:.0%} own, {1 - share:.0%} {partner}" if share < 1 else "unmixed"


def _row(drawing: Drawing, sample: AugmentedSample, top: float, width: float) -> None:
    """Name and label over the pictures, the notes under them."""
    label = _fitted(sample.label or "no label", 0.6 * (width - 2 * _EDGE), 13)
    drawing.words(_EDGE, top + 24, label, size=13, weight=650)
    left = _EDGE + wording.width(label, 13) + 10
    shown = (sample.original, *sample.versions)
    limits = shared_limits(shown) if _is_series([sample]) else ()
    fewer = 0 < len(limits) < len(sample.original)
    said = f"{len(limits)} of {len(sample.original)} channels; " if fewer else ""
    name = _fitted(said + sample.name, width - _EDGE - left, 12)
    drawing.words(left, top + 24, name, "soft", size=12)
    for column, each in enumerate(shown):
        x, y = _EDGE + column * (_CELL + _GAP), top + _NAME
        drawing.rectangle((x, y, _CELL, _CELL), "line", strength=0.45)
        _cell(drawing, each, limits, (x, y))
        if column and sample.notes[column - 1]:
            note = _fitted(sample.notes[column - 1], _CELL + _GAP - 2, 10)
            drawing.words(x, y + _CELL + 12, note, "soft", size=10)


def _cell(
    drawing: Drawing, shown: NDArray[Any], limits: Limits, corner: tuple[float, float]
) -> None:
    """A picture in its room, or curves on the scales that their row shares."""
    x, y = corner
    if limits:
        draw_curves(drawing, shown, limits, (x, y, _CELL, _CELL))
        return
    tall, wide = (_CELL * side / max(shown.shape[:2]) for side in shown.shape[:2])
    box = (x + (_CELL - wide) / 2, y + (_CELL - tall) / 2, wide, tall)
    drawing.picture(box, pictures.address(_small(shown)))


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with no more pixels than the drawing shows."""
    from PIL import Image

    longest = _SHARPEST * _CELL
    if max(image.shape[:2]) <= longest:
        return image
    height, width = (max(1, round(n * longest / max(image.shape[:2]))) for n in image.shape[:2])
    whole = Image.fromarray(pictures.colour(image))
    return np.asarray(whole.resize((width, height), Image.Resampling.BILINEAR))


def _wrapped(text: str, width: float) -> list[str]:
    """Lines of the settings' size that fit into a width."""
    return textwrap.wrap(text, int(width / wording.width("x", 13)))


def _fitted(text: str, room: float, size: float) -> str:
    """As much of the text as has room at a font size."""
    return wording.shorten(text, int(room / wording.width("x", size)))
