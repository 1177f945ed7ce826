"""Regions that people have marked, brought to the network's input by the steps of its images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.data import Dataset, Preprocessing, read_mask
from convarium.errors import DataError, OptionError, ShapeError

Masks = str | Path | Sequence[str | Path | None] | NDArray[Any] | Tensor

_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jpg", ".jpeg")


def check_masks(regions: Masks | None, samples: int, preprocessing: Preprocessing) -> None:
    """Refuse what cannot be the masks of some samples, before anything is computed; None is none.

    Raises:
        DataError: there is no such folder.
        OptionError: files of masks for volumes.
        ShapeError: not one mask a sample.
    """
    if regions is None:
        return
    if isinstance(regions, np.ndarray | Tensor):
        size = preprocessing.input_shape[1:]
        if regions.ndim != 1 + len(size) or len(regions) != samples:
            wanted = ", ".join([str(samples), *"DHW"[-len(size) :]])
            raise ShapeError(
                f"regions has shape {tuple(regions.shape)}; it must be ({wanted}), a mask for each "
                "sample."
            )
    elif preprocessing.kind != "images":
        raise OptionError(
            "regions (files) are for images; for volumes give regions as numbers (N, *S), one mask "
            "a sample at the network's input size."
        )
    elif isinstance(regions, str | Path):
        if not Path(regions).is_dir():
            raise DataError(f"There is no folder {regions} of masks; check its name.")
    elif len(regions) != samples:
        raise ShapeError(
            f"regions has {len(regions)} masks for {samples} samples; give one for each sample."
        )


def read_masks(
    regions: Masks,
    dataset: Dataset,
    places: NDArray[np.int64],
    ids: NDArray[np.int64],
    preprocessing: Preprocessing,
) -> list[Tensor | None]:
    """A mask (*S) of truths at the input's size for each drawn sample, or None where it has none.

    Args:
        regions: a folder with a mask for each image, under the image's relative name, with its
            suffix or another one; or a path a sample, empty or None where it has no mask; or
            numbers (N, *S), one mask a sample. What is not 0 is the region; files as
            `data.read_mask` has them.
        dataset: of the samples.
        places: of the drawn samples among the audited ones, of which `regions` has one each.
        ids: of the drawn samples in the data set.
        preprocessing: of the run.

    Raises:
        DataError: no drawn sample has a mask, or one cannot be read or has another size than its
            image.
    """

    def fitted(mask: NDArray[np.bool_], name: str, i: int) -> Tensor:
        return _fitted(mask, name, dataset, i, preprocessing)

    numbers = regions.detach().cpu().numpy() if isinstance(regions, Tensor) else regions
    if isinstance(numbers, np.ndarray):
        pairs = zip(numbers[places] != 0, ids.tolist(), strict=True)
        return [fitted(mask, "its mask", i) for mask, i in pairs]
    paths = [_path(numbers, dataset, place, i) for place, i in zip(places, ids, strict=True)]
    if not any(paths):
        hint = "regions has a mask"
        if isinstance(numbers, str | Path):
            first = next(_candidates(Path(numbers), dataset.name(int(ids[0])), dataset.source))
            hint = f"the folder {numbers} has a mask, such as {first}"
        raise DataError(f"For none of the {len(ids)} drawn samples {hint}.")
    return [
        None if path is None else fitted(_read(path), str(path), i)
        for path, i in zip(paths, ids.tolist(), strict=True)
    ]


def marks_a_part(mask: Tensor | None) -> bool:
    """Whether there is a mask, neither of nothing nor of everything."""
    return mask is not None and bool(mask.any()) and not bool(mask.all())


def check_marked(masks: Sequence[Tensor | None]) -> None:
    """Refuse masks that mark too little.

    Raises:
        DataError: fewer than two mark a part of their samples.
    """
    parts = sum(map(marks_a_part, masks))
    if parts < 2:
        raise DataError(
            f"{parts} of {len(masks)} drawn samples have a region that marks a part of them; an "
            "audit of regions needs more: what is not 0 in a mask is the region."
        )


def _fitted(
    mask: NDArray[np.bool_], name: str, dataset: Dataset, i: int, preprocessing: Preprocessing
) -> Tensor:
    """A mask by the steps of its image: resized and cut as that is."""
    size = tuple(preprocessing.input_shape[1:])
    images = preprocessing.kind == "images"
    if mask.shape == size and (not images or preprocessing.keeps(preprocessing.input_shape)):
        return torch.from_numpy(mask)
    own = dataset.read(i).shape[:2] if images else size
    if mask.shape == own:  # also where that is the input's, which the steps may still enlarge
        pixels = np.where(mask, np.uint8(255), np.uint8(0))[..., None]
        return preprocessing.apply(pixels)[0] > 127
    if mask.shape == size:
        return torch.from_numpy(mask)
    found, wanted = (" x ".join(map(str, shape)) for shape in (mask.shape, own))
    raise DataError(
        f"{name} is {found}, and {dataset.name(i)} is {wanted}; a mask must have the size of its "
        "image, or that of the network's input."
    )


def _read(path: Path) -> NDArray[np.bool_]:
    try:
        return read_mask(path)
    except DataError as error:
        raise DataError(f"Cannot read the mask {path}: {error}.") from error


def _path(
    regions: str | Path | Sequence[str | Path | None], dataset: Dataset, place: int, i: int
) -> Path | None:
    """The mask's file of a sample: as it is named, or in the folder."""
    if not isinstance(regions, str | Path):
        named = regions[place]
        return Path(named) if named else None
    found = _candidates(Path(regions), dataset.name(int(i)), dataset.source)
    return next((path for path in found if path.is_file()), None)


def _candidates(folder: Path, name: str, source: str) -> Iterator[Path]:
    own = PurePath(name)
    if own.is_absolute():
        root = Path(source).resolve()
        root = root if root.is_dir() else root.parent
        own = own.relative_to(root) if own.is_relative_to(root) else PurePath(own.name)
    yield folder / own
    yield from (folder / own.with_suffix(suffix) for suffix in _SUFFIXES)
