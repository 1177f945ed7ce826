"""The last steps of the preprocessing inside the exported network: 8-bit pixels in.

uint8 (N, C, *S) or (N, *S, C) -> float32 -> (pixels - 255 mean) / (255 std) -> network
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from convarium.data import Preprocessing
from convarium.errors import OptionError, did_you_mean

Layout = Literal["channels_first", "channels_last"]
LAYOUTS: Final[tuple[str, ...]] = get_args(Layout)
#: Whole pictures of one size, which are resized and cropped in the file too.
PICTURES: Final = "pictures"


class PixelInput(nn.Module):
    """A network behind the steps from 8-bit pixels to its input.

    Args:
        network: takes what `preprocessing.finish` gives.
        preprocessing: of images.
        layout: "channels_first", (N, C, *S), or "channels_last", (N, *S, C), as decoders give.

    Raises:
        OptionError: an unknown layout, or samples that are no 8-bit pixels.

    Shape:
        uint8 (N, C, *S) or (N, *S, C) -> what the network returns
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, layout: str) -> None:
        super().__init__()
        if layout not in LAYOUTS:
            raise OptionError(
                f"pixels (={layout!r}) must be one of {', '.join((*LAYOUTS, PICTURES))}."
                + did_you_mean(layout, (*LAYOUTS, PICTURES))
            )
        if preprocessing.pixel_type != torch.uint8:
            raise OptionError(
                f"pixels (={layout!r}) are for images of 8-bit pixels, and these are "
                f"{preprocessing.kind}; leave it out."
            )
        self.network = network
        ones = [1] * (len(preprocessing.input_shape) - 1)
        for name, moments in (("shift", preprocessing.mean), ("scale", preprocessing.std)):
            exact = preprocessing.white * torch.tensor(moments, dtype=torch.float64)
            self.register_buffer(name, exact.float().view(-1, *ones))
        self.last = layout == "channels_last"

    def forward(self, pixels: Tensor) -> Tensor:
        """What the network returns for the image of these pixels."""
        x = pixels.movedim(-1, 1) if self.last else pixels
        y: Tensor = self.network((x.float() - self.shift) / self.scale)
        return y

    def pixels_of(self, samples: Tensor) -> Tensor:
        """The pixels that preprocessed samples were made from, as `forward` takes them.

        Raises:
            OptionError: they were made otherwise.
        """
        shift, scale = self.shift.cpu(), self.scale.cpu()
        exact = samples.cpu() * scale + shift
        pixels = exact.round().clamp(0, 255).to(torch.uint8)
        if not torch.allclose(exact, pixels.float(), rtol=0, atol=1e-2):
            raise OptionError(
                "samples were not made from 8-bit pixels by this preprocessing; give those that "
                "its finish() gives."
            )
        return pixels.movedim(1, -1).contiguous() if self.last else pixels
