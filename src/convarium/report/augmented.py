"""A page of training samples: the original beside what training makes of it in several epochs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from convarium import files, seeds
from convarium.data import (
    Augmentation,
    Batch,
    Dataset,
    Part,
    Preprocessing,
    Volume,
    VolumeAugmentation,
    VolumePreprocessing,
    target_in_words,
    training_batches,
)
from convarium.errors import OptionError
from convarium.report import pictures, wording
from convarium.report.raster import svg_as_png
from convarium.report.slices import slices_picture, window_of
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
        original: as it is read, uint8 `(H, W, C)`; of a volume three slices through its middle.
        versions: what the network gets in each epoch, uint8 `(h, w, C)`, with mean and deviation
            put back; of a volume the same slices, black and white where the original has them.
        notes: what was mixed in, for each version; empty texts where nothing was.
    """

    name: str
    label: str
    original: NDArray[np.uint8]
    versions: tuple[NDArray[np.uint8], ...]
    notes: tuple[str, ...]


def augmented_samples(
    dataset: Dataset,
    ids: NDArray[np.int64],
    preprocessing: Preprocessing,
    augmentation: Augmentation | VolumeAugmentation,
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
    seen: dict[int, list[tuple[NDArray[np.uint8], str]]] = {i: [] for i in originals}
    for turn in range(epoch, epoch + versions):
        (batch,) = training_batches(
            Part(dataset, ids),
            preprocessing,
            batch_size=len(ids),
            seed=seed,
            epoch=turn,
            augmentation=augmentation,
        )
        for place, i in enumerate(batch.index.tolist()):
            shown = _shown(batch.inputs[0][place], preprocessing, originals[i])
            seen[i].append((shown, _mixed(dataset, batch, place)))
    return [
        AugmentedSample(
            name=dataset.name(i),
            label=_label(dataset, i),
            original=_original(originals[i]),
            versions=tuple(version for version, _ in pairs),
            notes=tuple(note for _, note in pairs),
        )
        for i, pairs in seen.items()
    ]


def some_of_each_class(
    dataset: Dataset, ids: NDArray[np.int64], count: int, seed: int = 0
) -> NDArray[np.int64]:
    """`count` of the samples `ids`, the classes taking turns, drawn by the seed."""
    drawn = ids[seeds.permutation(len(ids), seed, "shown")]
    targets = dataset.targets
    if targets is None or targets.ndim > 1:
        return drawn[:count]
    labels = targets[drawn]
    turn = np.zeros(len(drawn), np.int64)
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        turn[places] = np.arange(len(places))
    return drawn[np.lexsort((labels, turn))][:count]


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
    heads = ["original", *(f"epoch {epoch + k}" for k in range(columns - 1))]
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
        files.write_text(path, svg + "\n" if kind == ".svg" else _page(svg, title))
    return Path(path)


def check_page_name(path: str | Path) -> None:
    """Refuse a name that does not end in .html, .svg or .png.

    Raises:
        OptionError: so.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise OptionError(f"The page's name (={str(path)!r}) must end in {', '.join(SUFFIXES)}.")


def _page(svg: str, title: str) -> str:
    from convarium.report.templates import environment

    return environment().get_template("augmented.html.jinja").render(title=title, drawing=svg)


def _original(sample: Any) -> NDArray[np.uint8]:
    """The sample as it is read, as a picture."""
    pixels: NDArray[np.uint8] = sample
    return slices_picture(sample) if isinstance(sample, Volume) else pixels


def _shown(inputs: Tensor, preprocessing: Preprocessing, original: Any) -> NDArray[np.uint8]:
    """One input `(C, *S)` as a picture, `(h, w, C)`."""
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


def _label(dataset: Dataset, i: int) -> str:
    return "" if dataset.targets is None else target_in_words(dataset, dataset.targets[i])


def _row(drawing: Drawing, sample: AugmentedSample, top: float, width: float) -> None:
    """Name and label over the pictures, the notes under them."""
    label = _fitted(sample.label or "no label", 0.6 * (width - 2 * _EDGE), 13)
    drawing.words(_EDGE, top + 24, label, size=13, weight=650)
    left = _EDGE + wording.width(label, 13) + 10
    name = _fitted(sample.name, width - _EDGE - left, 12)
    drawing.words(left, top + 24, name, "soft", size=12)
    for column, image in enumerate((sample.original, *sample.versions)):
        x, y = _EDGE + column * (_CELL + _GAP), top + _NAME
        tall, wide = (_CELL * side / max(image.shape[:2]) for side in image.shape[:2])
        box = (x + (_CELL - wide) / 2, y + (_CELL - tall) / 2, wide, tall)
        drawing.rectangle((x, y, _CELL, _CELL), "line", strength=0.45)
        drawing.picture(box, pictures.address(_small(image)))
        if column and sample.notes[column - 1]:
            note = _fitted(sample.notes[column - 1], _CELL + _GAP - 2, 10)
            drawing.words(x, y + _CELL + 12, note, "soft", size=10)


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
