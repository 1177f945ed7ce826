"""What a file is made from: the network as it is written, and the inputs that it is proven on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from convarium.data import Preprocessing
from convarium.deploy.pictures import Front
from convarium.deploy.pixels import PICTURES, PixelInput
from convarium.deploy.verification import SINGLES, reference
from convarium.errors import OptionError, ShapeError

_SERIES: Final = 3  # dimensions of a batch of them, (N, C, T)


class Given:
    """The network as it is written, and what it is verified on."""

    front: Front | None
    pictures: Tensor
    own: Tensor  # of pictures, what the preprocessing itself makes of them

    def __init__(
        self,
        network: nn.Module,
        samples: Tensor,
        preprocessing: Preprocessing | None,
        pixels: str | None,
        dynamic_size: bool,
    ) -> None:
        self.network, self.inside, self.front = network, None, None
        if pixels is not None and preprocessing is None:
            raise OptionError(f"pixels (={pixels!r}) needs the preprocessing of the samples.")
        if pixels == PICTURES and preprocessing is not None:
            if dynamic_size:
                raise OptionError("pixels (='pictures') takes one size; leave dynamic_size out.")
            self.pictures, pixels = samples, "channels_last"
            self.front = Front(preprocessing, samples)
            seen = self.front.pixels(samples).movedim(-1, 1)
            own = [preprocessing.apply(picture.numpy()) for picture in samples]
            self.own = preprocessing.finish(preprocessing.together(own))
            samples = preprocessing.finish(seen)
        axes = range(min(2, samples.ndim - 1), samples.ndim)
        self.batches = [samples]
        if dynamic_size:
            some = samples[:SINGLES]
            self.batches += [_longer(some, axes), *_shorter(network, some)]
        self.free: Sequence[int] = axes if dynamic_size else ()
        if pixels is not None and preprocessing is not None:
            self.inside = PixelInput(network, preprocessing, pixels)
            self.network = self.inside
            if dynamic_size and self.inside.last:
                self.free = [axis - 1 for axis in axes]

    def laid(self, batch: Tensor) -> Tensor:
        """A batch as the written network takes it."""
        return batch if self.inside is None else self.inside.pixels_of(batch)

    def as_file(self, batch: Tensor) -> Tensor:
        """The first samples of a batch as the file takes them."""
        return self.laid(batch) if self.front is None else self.pictures[: len(batch)]


def expected_of(network: nn.Module, batch: Tensor, samples: Tensor) -> Tensor:
    """What the network gives for a batch.

    Raises:
        OptionError: it does not take the size.
    """
    try:
        return reference(network, batch)
    except (RuntimeError, ShapeError) as error:
        if batch is samples:
            raise
        raise OptionError(
            f"{type(network).__name__} does not take inputs of {tuple(batch.shape[1:])}, so the "
            "size of its inputs cannot be left free; leave dynamic_size out."
        ) from error


def _longer(samples: Tensor, axes: Sequence[int]) -> Tensor:
    """Samples that begin again behind their end, a quarter longer along each axis."""
    for axis in axes:
        n = samples.shape[axis]
        samples = samples.index_select(axis, torch.arange(n + max(1, n // 4)) % n)
    return samples


def _shorter(network: nn.Module, samples: Tensor) -> list[Tensor]:
    """Series half as long, or as short as the network takes them; none of pictures."""
    length = max(getattr(network, "smallest_input", 1), samples.shape[-1] // 2)
    series = samples.ndim == _SERIES and length < samples.shape[-1]
    return [samples[..., :length].contiguous()] if series else []
