"""Test-time augmentation: several views of each sample, whose answers are averaged.

References:
    Krizhevsky, Sutskever, Hinton (2012), "ImageNet Classification with Deep Convolutional Neural
    Networks", section 4.1 (five crops and their mirror images, probabilities averaged).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from convarium.data import Batch, Dataset, Preprocessing
from convarium.data.parallel import ordered
from convarium.errors import OptionError, did_you_mean

TTA = ("none", "flip", "five_crops", "flip_five_crops")


class Views:
    """The views of a batch: itself, its mirror image, its corners.

    Args:
        tta: one of `TTA`.
        preprocessing: of the card.

    Raises:
        OptionError: an unknown word, or views of samples that do not have them.
    """

    def __init__(self, tta: str, preprocessing: Preprocessing) -> None:
        if tta not in TTA:
            raise OptionError(
                f"tta (={tta!r}) must be one of {', '.join(TTA)}.{did_you_mean(tta, TTA)}"
            )
        if tta != "none" and preprocessing.kind not in ("images", "volumes"):
            raise OptionError(
                f"tta (={tta!r}) is for images and volumes, and these are {preprocessing.kind}; "
                "use 'none'."
            )
        self._flip, self._crops = "flip" in tta, "five_crops" in tta
        self._preprocessing = preprocessing
        if self._crops and preprocessing.kind != "images":
            raise OptionError(
                f"tta (={tta!r}) cuts corners of images, and these are {preprocessing.kind}; use "
                "'flip' or 'none'."
            )

    def of(self, batch: Batch, dataset: Dataset, workers: int) -> Iterator[Batch]:
        """The batch itself, then its other views; pictures are read again for their corners.

        Args:
            batch: as `data.batches` gives it.
            dataset: that it comes from.
            workers: threads that decode.
        """
        yield from self._with_mirrored(batch)
        if not self._crops:
            return
        preprocessing = self._preprocessing

        def corners(i: int) -> torch.Tensor:
            return preprocessing.crops(dataset.read(i))[:4]

        read = torch.stack(list(ordered(corners, batch.index.tolist(), workers)), dim=1)
        for pixels in read:
            yield from self._with_mirrored(replace(batch, inputs=(preprocessing.finish(pixels),)))

    def _with_mirrored(self, batch: Batch) -> Iterator[Batch]:
        yield batch
        if self._flip:
            yield replace(batch, inputs=tuple(each.flip(-1) for each in batch.inputs))
