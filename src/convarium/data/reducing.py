"""Large JPEGs decoded at a reduced scale, where less is enough for a network's input."""

from __future__ import annotations

import copy
from pathlib import Path

from convarium.data import jpeg
from convarium.data.dataset import Dataset
from convarium.data.decode import opened
from convarium.data.orientation import orientation_of
from convarium.data.preprocessing import Preprocessing
from convarium.data.samples import EncodedSamples
from convarium.errors import OptionError

_SPARE = 2  # times what is needed, so that the resizing evens out what the scale does


def reduced(dataset: Dataset, preprocessing: Preprocessing) -> Dataset:
    """The same data, of which JPEGs of four times the size that is needed and more come smaller.

    They come at the smallest of 1/8, 2/8, 3/8 and 4/8 of their size that has twice the sides which
    the resizing needs, in a fraction of the time. Their inputs differ a little from those of
    training and validation, so what it costs is to be measured: `convarium evaluate --reduced`.
    Every other picture is read as ever.

    Args:
        dataset: of image files; it stays as it is.
        preprocessing: of images, whose size is needed.

    Raises:
        OptionError: its samples are no image files.
    """
    if dataset.kind != "images" or not isinstance(dataset.samples, EncodedSamples):
        raise OptionError(
            f"Only JPEGs have a reduced scale, and {dataset.source} holds no image files; leave it "
            "out."
        )
    found, samples = copy.copy(dataset), copy.copy(dataset.samples)
    samples.enough = enough_for(preprocessing)
    found.samples, found.pictures = samples, None
    return found


def enough_for(preprocessing: Preprocessing) -> tuple[int, int]:
    """Height and width of a picture that are enough for a network's input.

    >>> enough_for(Preprocessing((3, 224, 160), (0.5,) * 3, (0.2,) * 3))
    (448, 320)
    """
    short = preprocessing.resize
    _, height, width = preprocessing.input_shape
    size = (height, width) if short is None else (short, short)
    return _SPARE * size[0], _SPARE * size[1]


def comes_smaller(source: str | Path | bytes, preprocessing: Preprocessing) -> bool:
    """Whether `reduced` changes how an image file is read, from its header alone.

    Raises:
        DataError: the header cannot be read; the text is the reason alone.

    >>> comes_smaller(b"P5 2 1 255 AB", Preprocessing((3, 1, 1), (0.5,) * 3, (0.2,) * 3))
    False
    """
    height, width = enough_for(preprocessing)
    with opened(source) as image:
        lying = orientation_of(image) >= 5
        return jpeg.scales(image, (width, height) if lying else (height, width))
