"""From the pixels of an image to the input of a network, as steps that a card can carry.

    decode -> resize -> center_crop -> scale -> normalize
    uint8 (H, W, C)      uint8 (C, H, W)        float32 (C, H, W)

Resizing stops where the image covers the input, or at a short side that published weights ask for.

The first three work on 8-bit pixels of one image (`apply`), the last two on a batch (`finish`).
Training, validation, prediction and serving replay the same steps, so one file gives the same bits
everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium.data.batch import evaluation_order
from convarium.data.kinds import steps_class
from convarium.data.normalising import check_moments, normalised
from convarium.data.resizing import (
    FILTERS,
    LONGEST,
    Interpolation,
    center,
    center_even,
    resized,
    with_channels,
    with_room,
)
from convarium.errors import DataError

_LARGEST = 2**14
_MOST = 2**31


@dataclass(frozen=True)
class Preprocessing:
    """The steps from pixels to network input, and the class names.

    Args:
        input_shape: what the network gets, `(C, H, W)`; C is 1 (grey) or 3 (colour).
        mean: mean of each channel in [0, 1], from training data.
        std: standard deviation of each channel, likewise.
        classes: class names, in the order of the class numbers.
        resize: short side of the image in pixels before the crop, as published networks have it;
            None resizes until the image just covers the input.
        interpolation: "bilinear" or "bicubic", both antialiased.

    Raises:
        DataError: a channel count other than 1 and 3, numbers that do not fit it, a short side
            that does not cover the input, or an unknown interpolation.

    >>> steps = Preprocessing((1, 2, 2), mean=(0.5,), std=(0.5,), classes=("a", "b"))
    >>> steps.finish(steps.apply(np.full((4, 6, 1), 255, np.uint8))[None]).tolist()
    [[[[1.0, 1.0], [1.0, 1.0]]]]
    """

    input_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] = ()
    resize: int | None = None
    interpolation: Interpolation = "bilinear"

    kind: ClassVar[str] = "images"  # of samples that `apply` takes
    input_kind: ClassVar[str] = "maps"  # of networks that the result is for
    pixel_type: ClassVar[torch.dtype] = torch.uint8  # of what `apply` gives
    white: ClassVar[float] = 255.0  # the value there that mean and std call 1

    def __post_init__(self) -> None:
        channels = self.input_shape[0]
        if len(self.input_shape) != 3 or channels not in (1, 3) or min(self.input_shape) < 1:
            raise DataError(
                f"input_shape (={self.input_shape}) must be (C, H, W) with C 1 or 3 and sides of 1 "
                "or more."
            )
        if max(self.input_shape) > _LARGEST:
            raise DataError(
                f"input_shape (={self.input_shape}) must have sides of {_LARGEST} or less."
            )
        check_moments(channels, self.mean, self.std)
        longer = max(self.input_shape[1:])
        most = LONGEST * longer
        if self.resize is not None and not (
            type(self.resize) is int and longer <= self.resize <= most
        ):
            raise DataError(
                f"resize (={self.resize!r}) must be None or a whole number of pixels, at least the "
                f"longer side of the input, {longer}, and at most {most}."
            )
        if self.interpolation not in FILTERS:
            raise DataError(
                f"interpolation (={self.interpolation!r}) must be one of {', '.join(FILTERS)}."
            )

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The ordered steps as they stand in the card."""
        size = list(self.input_shape[1:])
        to = {"cover": size} if self.resize is None else {"short_side": self.resize}
        return [
            {"op": "decode", "channels": self.input_shape[0]},
            {"op": "resize", **to, "interpolation": self.interpolation, "antialias": True},
            {"op": "center_crop", "size": size},
            {"op": "scale", "factor": 1 / 255},
            {"op": "normalize", "mean": list(self.mean), "std": list(self.std)},
        ]

    def apply(self, image: NDArray[np.uint8]) -> Tensor:
        """Decode's channels, resize to cover the input or to a short side, crop the centre.

        A side that is more than 16 times the other (times the input's own long side over its short
        one) is cut to that first, around its middle, so that a thin image cannot fill the memory.

        Shape:
            image: uint8 `(H, W, C)`, C 1 or 3. Returns: uint8 `(C, H, W)` of `input_shape`.
        """
        channels, height, width = self.input_shape
        image = with_channels(image, channels)
        if self.resize is not None:
            whole = resized(image, self.resize, self.resize, self.interpolation)
            image = center_even(whole, height, width)
        elif image.shape[:2] != (height, width):
            image = center(resized(image, height, width, self.interpolation), height, width)
        return torch.from_numpy(np.array(image.transpose(2, 0, 1), order="C"))

    @property
    def most_at_once(self) -> int:
        """Samples of a batch in evaluation, at most."""
        return _MOST

    @property
    def network_options(self) -> dict[str, int]:
        """Keywords of a network that follow from its inputs."""
        return {"in_channels": self.input_shape[0]}

    @property
    def head_options(self) -> dict[str, int]:
        """Keywords of a network that follow from what it is to say."""
        return {"num_classes": len(self.classes)}

    def begin(self, network: nn.Module) -> None:
        """Give a new network what it keeps of the training data: of most kinds nothing."""

    def beside(self, count: int = 1) -> dict[str, Tensor]:
        """Examples of what a network reads beside its input, by the names of `forward`."""
        return {}

    def example(self, count: int = 1) -> Tensor:
        """Inputs for a network, all the same, to see what it does with their shape."""
        return torch.zeros(count, *self.input_shape)

    def together(self, samples: Sequence[Tensor]) -> Tensor:
        """What `apply` gave of several samples, as `finish` takes it."""
        return torch.stack([*samples])

    def padded(self, samples: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """What `apply` gave of several samples as evaluation has it, and a mask if there is one."""
        order = evaluation_order(self.input_shape)
        return self.together(samples).contiguous(memory_format=order), None

    @property
    def margin(self) -> int:
        """Pixels by which the resized picture is larger than the input, on each axis at least."""
        return 0 if self.resize is None else self.resize - max(self.input_shape[1:])

    def crops(self, image: NDArray[np.uint8]) -> Tensor:
        """The four corners (upper left, upper right, lower left, lower right) and the centre.

        Corners are cut from the resized picture; the last one is what `apply` gives. Where it just
        covers the input, an axis without room for a sixteenth of the input's side before and after
        it gets that by repeated edge pixels; along that axis the corners are it, shifted.

        Shape:
            image: uint8 `(H, W, C)`. Returns: uint8 `(5, C, H, W)` of `input_shape`.

        Raises:
            DataError: the samples are no pictures.
        """
        if self.kind != "images":
            raise DataError(f"Five crops are for pictures, and these are {self.kind}; use 'none'.")
        channels, height, width = self.input_shape
        own = self.apply(image).numpy()
        sides = (height, width) if self.resize is None else (self.resize, self.resize)
        whole = resized(with_channels(image, channels), *sides, self.interpolation)
        if not self.margin:
            whole = with_room(whole, height, width)
        whole = whole.transpose(2, 0, 1)
        bottom, right = whole.shape[1] - height, whole.shape[2] - width
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
        cut = [whole[:, top : top + height, left : left + width] for top, left in corners]
        return torch.from_numpy(np.stack([*cut, own]))

    def finish(self, pixels: Tensor) -> Tensor:
        """(pixels / 255 - mean) / std, on the device of `pixels`; volumes are not divided by 255.

        Shape:
            pixels: `(B, C, *S)` as `apply` gives it. Returns: float32 of the same shape.
        """
        return normalised(pixels, *self._constants(pixels.device))

    def keeps(self, image_shape: Sequence[int]) -> bool:
        """Whether `apply` leaves pixels of the shape `(C, H, W)` as they are; never other kinds."""
        fits = self.kind == "images" and tuple(image_shape) == self.input_shape
        return fits and self.resize in (None, min(self.input_shape[1:]))

    def same_pixels(self, other: Preprocessing) -> bool:
        """Whether `apply` of the other gives the same pixels; mean, std and classes may differ."""
        return (self.input_shape, self.resize, self.interpolation) == (
            other.input_shape,
            other.resize,
            other.interpolation,
        )

    def to_card(self) -> dict[str, Any]:
        """The entries `classes` and `preprocessing` of a card."""
        return {
            "classes": list(self.classes),
            "preprocessing": {"steps": self.steps, "input_shape": list(self.input_shape)},
        }

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Preprocessing:
        """The steps that a card carries; its other entries are not looked at.

        Which class they are of follows from the first one, as `data.kinds` has it.

        Raises:
            DataError: the card has no such entries, or steps that this version does not know.
        """
        try:
            part = card["preprocessing"]
            by_name = {step["op"]: step for step in part["steps"]}
            own: type[Preprocessing] = steps_class(next(iter(by_name), ""))
            if own is not cls:
                return own.from_card(card)
            shape = tuple(map(int, part["input_shape"]))
            found = cls.from_steps(by_name, shape, tuple(card["classes"]))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"The card's preprocessing is incomplete ({error!r}); use one that `train` wrote."
            ) from error
        if found.steps != part["steps"]:
            raise DataError(
                f"The card's preprocessing of {cls.kind} has steps that this version of convarium "
                f"does not replay ({', '.join(by_name)}); install the version that wrote it."
            )
        return found

    @classmethod
    def from_steps(
        cls, steps: Mapping[str, Any], shape: tuple[int, ...], classes: tuple[str, ...]
    ) -> Preprocessing:
        """The preprocessing of a card's steps by their names, of an input's shape, and classes."""
        resize, moments = steps["resize"], steps["normalize"]
        return cls(
            shape,
            mean=tuple(map(float, moments["mean"])),
            std=tuple(map(float, moments["std"])),
            classes=classes,
            resize=resize.get("short_side"),
            interpolation="bicubic" if resize["interpolation"] == "bicubic" else "bilinear",
        )

    def _constants(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Shift and scale for what `apply` gives, `(C, 1, ...)`; made once for each device."""
        kept: dict[torch.device, tuple[Tensor, Tensor]] = self.__dict__.setdefault("_kept", {})
        if device not in kept:
            mean, std = (torch.tensor(each, dtype=torch.float64) for each in (self.mean, self.std))
            pair = (self.white * mean, self.white * std)
            ones = [1] * (len(self.input_shape) - 1)
            shift, scale = (each.float().view(-1, *ones).to(device) for each in pair)
            kept[device] = (shift, scale)
        return kept[device]
