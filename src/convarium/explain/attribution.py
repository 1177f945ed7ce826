"""The result of every heatmap method: raw signed values, and how to show them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.errors import OptionError, ShapeError
from convarium.explain.resizing import Extent, resized, resized_each

#: What can be said about the map of a sample. Of several that hold, the first is said.
STATUSES = (
    "not finite",
    "not connected",
    "no spatial extent",
    "zero gradient",
    "all negative",
    "fine",
)

#: In these a map says nothing, so that it has no say in a mean, and no faithfulness.
SILENT = frozenset({"not finite", "not connected", "no spatial extent", "zero gradient"})


@dataclass(frozen=True, eq=False)
class Attribution:
    """Heatmaps of a batch, as computed: signed, at the resolution of the layer.

    Attributes:
        values: (B, *S) float32; before the final ReLU, so what speaks against the class is there
            too. Zero where the status is "not connected".
        layer: dotted name of the layer that was read.
        target: the class explained, one per sample; None where the target was a callable.
        logit: (B,) the scores explained: logits, or what the callable returned.
        status: one word per sample.
            "fine"; "all negative": no position speaks for the class, so the shown map is empty;
            "zero gradient": the score does not change with the layer here (saturated); without a
            gradient: none of the method's changes moved the score;
            "no spatial extent": the layer has one position only, so there is nothing to locate;
            "not connected": the score was not computed from this layer, or under `no_grad`;
            "not finite": NaN or infinity in the map or in the score.
        input_size: spatial size of the input.
        method: name of the function that made it.
        note: what should be known about the way, as sentences; mostly empty.
        channels: (B, C, *S) of methods at the input, of which `values` is the sum over channels.
        extents: of a padded batch, or of samples shorter than the network reads, where each stands;
            behind it there are zeros. None: each map covers the whole input.
    """

    values: Tensor
    layer: str
    target: tuple[int, ...] | None
    logit: Tensor
    status: tuple[str, ...]
    input_size: tuple[int, ...]
    method: str = ""
    note: str = ""
    channels: Tensor | None = None
    extents: tuple[Extent, ...] | None = None

    def display(self, size: Sequence[int] | int | None = None, *, shared: bool = False) -> Tensor:
        """Maps to look at: ReLU, linear upsampling, divided by the maximum of each sample.

        Args:
            size: spatial size of the result, one number for all axes; None means the input's.
            shared: divide by the maximum of the whole batch, so that samples can be compared.

        Shape: (B, *size), in [0, 1]; an empty map is all zeros.

        Raises:
            OptionError: a size with a wrong number of axes, below 1, or of no whole numbers.

        >>> maps = torch.tensor([[[-1.0, 2.0], [0.0, 4.0]]])
        >>> result = Attribution(maps, "conv", (3,), torch.ones(1), ("fine",), (2, 2))
        >>> result.display()
        tensor([[[0.0000, 0.5000], [0.0000, 1.0000]]])
        """
        rank = self.values.ndim - 1
        sides = self.input_size if size is None else _sides(size, rank)
        maps = self.resized(self._finite().relu(), sides)
        highest = maps.flatten(1).amax(1).reshape(-1, *[1] * rank)
        highest = highest.amax(0, keepdim=True) if shared else highest
        return torch.where(highest > 0, maps / highest, torch.zeros_like(maps)).clamp_(max=1)

    def signed(self, size: Sequence[int] | int | None = None, *, shared: bool = False) -> Tensor:
        """Maps with what speaks against the class too, divided by the largest absolute value.

        Args:
            size, shared: as of `display`.

        Shape: (B, *size), in [-1, 1].

        >>> maps = torch.tensor([[[-2.0, 1.0]]])
        >>> result = Attribution(maps, "conv", (3,), torch.ones(1), ("fine",), (1, 2))
        >>> result.signed()
        tensor([[[-1.0000,  0.5000]]])
        """
        rank = self.values.ndim - 1
        sides = self.input_size if size is None else _sides(size, rank)
        maps = self.resized(self._finite(), sides)
        highest = maps.abs().flatten(1).amax(1).reshape(-1, *[1] * rank)
        highest = highest.amax(0, keepdim=True) if shared else highest
        return torch.where(highest > 0, maps / highest, torch.zeros_like(maps)).clamp_(-1, 1)

    def overlay(
        self,
        image: Any,
        size: Sequence[int] | int | None = None,
        *,
        sample: int | None = None,
        classes: Sequence[str] | None = None,
        signed: bool = False,
        shared: bool = False,
    ) -> NDArray[np.uint8]:
        """One map over its picture, with the name of the class and a bar of the colours.

        Args:
            image: what the network saw, before it was normalised: an array, tensor or Pillow image
                `(H, W)`, `(H, W, C)` or `(C, H, W)`, C 1 or 3, uint8 or floating-point in [0, 1].
            size: height and width of the picture, or one number for both; None: the image's own,
                and small ones by a whole factor larger.
            sample: which one of the batch; None: the only one.
            classes: names, in the order of the logits; without them the class has its number.
            signed: show what speaks against the class too, in blue; the map is divided by its
                largest absolute value. Otherwise it is that of `display`.
            shared: divide by the largest of the whole batch.

        Shape: `(H', W', 3)`, uint8; W' is the width of the picture, H' its height and the frame's.

        Raises:
            OptionError: no such sample or class, or an image of other numbers.
            ShapeError: what is no image, or maps that are not of two axes.

        >>> heat = Attribution(torch.ones(1, 2, 2), "conv", (1,), torch.ones(1), ("fine",), (8, 8))
        >>> heat.overlay(torch.zeros(3, 64, 96), size=(192, 288), classes=["cat", "dog"]).shape
        (240, 288, 3)
        """
        from convarium.explain import painting

        if self.values.ndim != 3:
            raise ShapeError(
                f"values has shape {tuple(self.values.shape)}; overlay draws maps of two axes, "
                "(B, H, W); for others take display()."
            )
        row = _row(sample, len(self.values))
        label = self._label(row, classes)
        pixels = painting.pixels_of(image)
        sides = painting.shown_size(pixels.shape[:2]) if size is None else _sides(size, 2)
        maps = self.signed(sides, shared=shared) if signed else self.display(sides, shared=shared)
        heat = maps[row].cpu().numpy()
        return painting.heated(pixels, heat, label, size=(sides[0], sides[1]), signed=signed)

    def resized(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        """Maps as `values` are, `(B, *S)`, linearly at another size, each sample as it is alone."""
        if self.extents is None:
            return resized(maps, size)
        return resized_each(maps, size, self.extents, self.input_size)

    def _finite(self) -> Tensor:
        return self.values.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)

    def _label(self, row: int, classes: Sequence[str] | None) -> str:
        """The class of a sample, and its status where it is not fine."""
        if self.target is None:
            name = f"score {float(self.logit[row]):.3g}"
        elif classes is None:
            name = f"class {self.target[row]}"
        elif self.target[row] < len(classes):
            name = str(classes[self.target[row]])
        else:
            raise OptionError(
                f"classes has {len(classes)} names, and class {self.target[row]} is explained; "
                "give a name for each of the model's outputs."
            )
        return name if self.status[row] == "fine" else f"{name}: {self.status[row]}"


def _row(sample: int | None, samples: int) -> int:
    """Which sample is asked for."""
    if sample is None and samples == 1:
        return 0
    if type(sample) is not int or not -samples <= sample < samples:
        raise OptionError(
            f"sample (={sample!r}) must be a whole number below {samples}, the batch."
        )
    return sample % samples


def at_input(heat: Attribution | Tensor, size: Sequence[int]) -> Tensor:
    """A heatmap as signed numbers at the input's size, for rankings: (B, *size).

    Args:
        heat: an attribution, brought to the size linearly, before any ReLU; or a tensor that has
            the size already.
        size: spatial size of the input.

    Raises:
        ShapeError: a tensor of another size, or an attribution of another rank.
    """
    values = heat.values if isinstance(heat, Attribution) else heat
    fits = values.ndim == 1 + len(size)
    if not isinstance(heat, Attribution):
        fits = fits and tuple(values.shape[1:]) == tuple(size)
    if not fits:
        raise ShapeError(
            f"heat has shape {tuple(values.shape)}; it must be (B, {', '.join(map(str, size))}), "
            "one map a sample at the input's size, or the Attribution itself."
        )
    return heat.resized(values, size) if isinstance(heat, Attribution) else values


def _sides(size: Sequence[int] | int, rank: int) -> tuple[int, ...]:
    """One whole number for each axis."""
    try:
        each = size if isinstance(size, Iterable) else (size,) * rank
        sides = tuple(operator.index(side) for side in each)
    except TypeError:
        sides = ()
    if len(sides) != rank or min(sides) < 1:
        raise OptionError(
            f"size (={size!r}) must have {rank} axes of 1 or more, as the maps have, "
            "or be one whole number for all."
        )
    return sides


def describe(
    values: Tensor, gradient: Tensor | None, activation_size: Sequence[int], score: Tensor
) -> tuple[str, ...]:
    """The status of each sample of a batch of maps.

    Args:
        values: (B, *S) the maps.
        gradient: (B, C, ...) of the score with respect to the layer, or how the score moved; None:
            not connected.
        activation_size: S, the spatial size of the layer.
        score: (B,) what was explained.
    """
    finite = (values.isfinite().flatten(1).all(1) & score.isfinite()).tolist()
    positive = (values > 0).flatten(1).any(1).tolist()
    moved = [False] * len(values)
    if gradient is not None:
        moved = (gradient != 0).flatten(1).any(1).tolist()
    point = all(length == 1 for length in activation_size)

    def status(row: int) -> str:
        facts = (
            not finite[row],
            gradient is None,
            point,
            not moved[row],
            not positive[row],
            True,
        )
        return STATUSES[facts.index(True)]

    return tuple(status(row) for row in range(len(values)))


def spatial_size(x: Tensor) -> tuple[int, ...]:
    """Spatial size of a batch: (B, C, *S) of numbers, or (B, T) of token ids.

    Raises:
        ShapeError: no sample, or no spatial axis.
    """
    tokens = not x.is_floating_point() and x.ndim == 2
    size = tuple(x.shape[1:] if tokens else x.shape[2:])
    if not 1 <= len(size) <= 3:
        raise ShapeError(
            f"x has shape {tuple(x.shape)}; it must be a batch (B, C, *S) with 1 to 3 spatial "
            "axes, or (B, T) token ids; give one sample its batch axis: x.unsqueeze(0)."
        )
    if 0 in x.shape:
        raise ShapeError(f"x has shape {tuple(x.shape)}; none of its axes may be empty.")
    return size
