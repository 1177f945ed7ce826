"""What a network gets in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

_PLANE = 3  # dimensions of a picture `(C, H, W)`
_LAST = {3: torch.channels_last, 4: torch.channels_last_3d}  # by axes of an input


def memory_order(layout: str, input_shape: Sequence[int]) -> torch.memory_format:
    """The order in which batches of inputs `(C, *S)` and weights lie in memory, by its name.

    >>> memory_order("channels_last", (3, 32, 32)), memory_order("channels_last", (6, 365))
    (torch.channels_last, torch.contiguous_format)
    """
    if layout != "channels_last":
        return torch.contiguous_format
    return _LAST.get(len(input_shape), torch.contiguous_format)


def evaluation_order(input_shape: Sequence[int]) -> torch.memory_format:
    """The order of batches of inputs `(C, *S)` in evaluation: as decoders have colour pictures.

    Sums in a network depend on it, in their last bits, so it is the same wherever a batch is made.

    >>> evaluation_order((3, 32, 32)), evaluation_order((1, 32, 32))
    (torch.channels_last, torch.contiguous_format)
    """
    colour = len(input_shape) == _PLANE and input_shape[0] > 1
    return torch.channels_last if colour else torch.contiguous_format


@dataclass(frozen=True, eq=False)
class Mix:
    """What was mixed into each sample of a batch, by mixup or CutMix.

    Args:
        target: the partners' targets, as `Batch.target` has them.
        share: the sample's own share, float32 `(B,)`, in [0, 1]; the partner has the rest.

    References:
        Zhang et al. (2018), "mixup", arXiv:1710.09412, equation 1; Yun et al. (2019), "CutMix",
        arXiv:1905.04899, equation 1.
    """

    target: Tensor
    share: Tensor

    def at(self, places: slice | Tensor) -> Mix:
        """The samples of some places."""
        return Mix(self.target[places], self.share[places])

    def to(self, device: torch.device | str) -> Mix:
        """The same on `device`."""
        return Mix(
            self.target.to(device, non_blocking=True), self.share.to(device, non_blocking=True)
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch: the tensors of `forward` in order, and what belongs to them by name.

    Args:
        inputs: the network's inputs, in the order of `forward`; for images one float32 tensor.
        target: class numbers, int64 `(B,)`, or None where no labels are known.
        mask: which positions are real; None means all.
        index: sample ids in the root data set, int64 `(B,)`, always on the processor.
        weight: weight of each sample, `(B,)`; None means one.
        mix: what was mixed into the samples for training; None means nothing.
        named: further inputs of `forward` by name, `(B, ...)` each, such as fine fields.

    Shape:
        inputs: `(B, C, *S)` each.
    """

    inputs: tuple[Tensor, ...]
    target: Tensor | None
    mask: Tensor | None
    index: Tensor
    weight: Tensor | None
    mix: Mix | None = None
    named: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def first(self, n: int) -> Batch:
        """The first `n` samples."""
        return self.at(slice(n))

    def at(self, places: slice | Tensor) -> Batch:
        """The samples of some places, which a tensor of numbers may name in any order.

        >>> ids = torch.arange(5)
        >>> whole = Batch(inputs=(ids,), target=ids, mask=None, index=ids, weight=None)
        >>> whole.at(slice(3, 5)).index.tolist(), whole.at(torch.tensor([4, 0, 4])).index.tolist()
        ([3, 4], [4, 0, 4])
        """

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[places]

        return Batch(
            inputs=tuple(each[places] for each in self.inputs),
            target=cut(self.target),
            mask=cut(self.mask),
            index=self.index[places],
            weight=cut(self.weight),
            mix=None if self.mix is None else self.mix.at(places),
            named={name: each[places] for name, each in self.named.items()},
        )

    @property
    def arguments(self) -> tuple[Tensor, ...]:
        """What `forward` takes by place: the inputs, and the mask where there is one."""
        return self.inputs if self.mask is None else (*self.inputs, self.mask)

    def labels(self) -> Batch:
        """The same batch without its inputs."""
        return replace(self, inputs=())

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor but `index` on `device`."""
        return Batch(
            inputs=tuple(each.to(device, non_blocking=True) for each in self.inputs),
            target=_moved(self.target, device),
            mask=_moved(self.mask, device),
            index=self.index,
            weight=_moved(self.weight, device),
            mix=None if self.mix is None else self.mix.to(device),
            named={k: each.to(device, non_blocking=True) for k, each in self.named.items()},
        )


def _moved(tensor: Tensor | None, device: torch.device | str) -> Tensor | None:
    return None if tensor is None else tensor.to(device, non_blocking=True)
