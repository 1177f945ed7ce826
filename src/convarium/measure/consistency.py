"""Shift consistency: does a classifier stay with its answer when the image moves a little?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium import seeds
from convarium.errors import OptionError, ShapeError
from convarium.intervals import Interval, wilson
from convarium.measure.arguments import batch, one_of, whole
from convarium.measure.leaves import looking
from convarium.measure.running import ready

Shifting = Literal["roll", "crop"]

_Pairs = NDArray[np.int64]

_MOST_PAIRS = 10**9


@dataclass(frozen=True)
class ShiftConsistency:
    """How often a classifier gives one image the same class in two places.

    Attributes:
        share: of the pairs whose two predicted classes agree.
        interval: 95 % interval of the share (Wilson), with as many trials as there are images.
        n: number of pairs.
        images: number of images that they were made from.
        agreed: number of pairs that agree.
        max_shift: largest distance between the two places, in positions along each axis.
        shifts: "roll" or "crop".
        input_size: spatial size of what the model saw.
        seed: that the shifts were drawn with.
    """

    share: float
    interval: Interval
    n: int
    images: int
    agreed: int
    max_shift: int
    shifts: Shifting
    input_size: tuple[int, ...]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """The result as values for JSON."""
        return {**asdict(self), "interval": list(self.interval)}


def shift_consistency(
    model: nn.Module,
    x: Tensor,
    *,
    max_shift: int | None = None,
    n: int | None = None,
    shifts: Shifting = "roll",
    seed: int = 0,
    batch_size: int = 128,
) -> ShiftConsistency:
    """The share of (image, two shifts) for which the predicted class is the same.

    E [ argmax f(Shift_1(x)) = argmax f(Shift_2(x)) ]

    The two shifts of a pair differ; along each axis both are drawn evenly from 0 to `max_shift`.
    They are a function of the seed and the number of the pair; torch's random streams are not
    touched. The model runs in eval mode and is afterwards as before.

    Pairs of one image say less than pairs of as many images. So the interval counts images: beyond
    one pair an image, more pairs make the share steadier and leave the interval's width.

    Args:
        model: any classifier, (B, C, *S) to (B, classes).
        x: (B, C, *S), preprocessed as the model needs it.
        max_shift: in positions; None means an eighth of the shortest axis, at least 1.
        n: number of pairs, the images taken in turn; None means one for each image.
        shifts: "roll": what leaves at one end comes in at the other. "crop": the model sees windows
            of `x` that are `max_shift` shorter along each axis; give larger or padded images.
        seed: of the shifts.
        batch_size: pairs that run together.

    Shape:
        (B, C, *S), 1 to 3 spatial axes

    Raises:
        ShapeError: x is not such a batch, or the model's output is not (B, classes).
        OptionError: an option is out of range, or the outputs are not finite.

    Example:
        >>> brightest = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
        >>> x = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> result = shift_consistency(brightest, x, max_shift=3)
        >>> result.share, result.n, round(result.interval.low, 2)
        (1.0, 20, 0.84)

    References:
        Zhang 2019, "Making convolutional networks shift-invariant again", arXiv:1904.11486,
        section 4.1 (classification consistency). Differs from the paper: the two shifts of a pair
        are never equal, which would agree whatever the network does.
    """
    network = ready(model)
    size = tuple(batch(x, 3, 5).shape[2:])
    one_of(get_args(Shifting), shifts=shifts)
    count = whole(1, _MOST_PAIRS, n=len(x) if n is None else n)
    largest = _largest(max_shift, size, shifts)
    seed, together = whole(0, seed=seed), whole(1, batch_size=batch_size)
    agreed = 0
    with looking(network, x, gradients=False) as x:
        for start in range(0, count, together):
            block = range(start, min(start + together, count))
            pairs = _draw(block, largest, size, seed, wraps=shifts == "roll")
            agreed += _agreed(network, list(_moved(x, block, pairs, largest, shifts)))
    images = min(count, len(x))
    crop = 0 if shifts == "roll" else largest
    return ShiftConsistency(
        share=agreed / count,
        interval=wilson(round(agreed / count * images), images),
        n=count,
        images=images,
        agreed=agreed,
        max_shift=largest,
        shifts=shifts,
        input_size=tuple(side - crop for side in size),
        seed=seed,
    )


def _largest(max_shift: int | None, size: tuple[int, ...], shifts: Shifting) -> int:
    """The largest shift along an axis.

    Raises:
        OptionError: it is no whole number, or too large for the input.
    """
    largest = max(1, min(size) // 8) if max_shift is None else whole(1, max_shift=max_shift)
    longest = max(size) if shifts == "roll" else min(size)
    if largest >= longest:
        raise OptionError(
            f"max_shift (={largest}) must be below {longest} for inputs of the size {size}; "
            "give a smaller one, or larger inputs."
        )
    return largest


def _draw(block: range, largest: int, size: Sequence[int], seed: int, *, wraps: bool) -> _Pairs:
    """Two different shifts for each pair of a block, (n, 2, axes).

    All shifts are counted; the second is 1 or more places behind the first in that circle. Where
    what leaves comes in again, an axis has no more shifts than positions.
    """
    counts = [min(largest + 1, side) if wraps else largest + 1 for side in size]
    every = math.prod(counts)
    ids = np.arange(block.start, block.stop, dtype=np.int64)
    one, distance = (seeds.uniform(ids, seed, "shift", k) for k in range(2))
    first = np.minimum((one * every).astype(np.int64), every - 1)
    ahead = 1 + np.minimum((distance * (every - 1)).astype(np.int64), every - 2)
    both = np.stack([first, (first + ahead) % every], axis=1)
    return np.stack(np.unravel_index(both, counts), axis=-1).astype(np.int64)


def _moved(
    x: Tensor, block: range, pairs: _Pairs, largest: int, shifts: Shifting
) -> Iterator[Tensor]:
    """The two inputs of each pair of a block, (C, *S) each."""
    dims = tuple(range(1, x.ndim - 1))
    for k, pair in zip(block, pairs.tolist(), strict=True):
        image = x[k % len(x)]
        for shift in pair:
            if shifts == "roll":
                yield torch.roll(image, shift, dims)
                continue
            window = image
            for dim, start in zip(dims, shift, strict=True):
                window = window.narrow(dim, start, image.shape[dim] - largest)
            yield window


def _agreed(network: nn.Module, inputs: list[Tensor]) -> int:
    """How many neighbours among the inputs get the same class."""
    output = network(torch.stack(inputs))
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != len(inputs):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ShapeError(
            f"The model returns {shape} for {len(inputs)} inputs; it must return one row of "
            "logits for each, (B, classes); wrap it in a module that does."
        )
    if not output.isfinite().all():
        raise OptionError("The model's outputs are not finite; check the model and its input x.")
    classes = output.argmax(1).reshape(-1, 2)
    return int((classes[:, 0] == classes[:, 1]).sum())
