"""Batch norms that see the samples of every process. torch has them on GPUs only.

Those of padded sequences, which torch does not have, add up the counts and sums of real steps.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, distributed, nn

from convarium.layers import MaskedBatchNorm1d
from convarium.processes import World


def sees_all(device: torch.device, world: World) -> bool:
    """Whether the batch norms of a job's processes can work together."""
    return not world.alone and device.type == "cuda"


class SyncedMaskedNorm(MaskedBatchNorm1d):
    """A `MaskedBatchNorm1d` over the real steps of every process.

    Shape:
        (B, C, T), (B, T) -> (B, C, T)
    """

    @classmethod
    def of(cls, norm: MaskedBatchNorm1d) -> Self:
        """One with the parameters and statistics of a norm."""
        synced = cls(norm.num_features, norm.eps, norm.momentum, device="meta")
        synced.training = norm.training
        for name, parameter in norm.named_parameters():
            setattr(synced, name, parameter)
        for name, buffer in norm.named_buffers():
            setattr(synced, name, buffer)
        return synced

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise `x`; without a mask all steps are real."""
        if mask is None and self.training:
            mask = torch.ones(x.shape[0], x.shape[-1], dtype=torch.bool, device=x.device)
        return super().forward(x, mask)

    def total(self, part: Tensor) -> Tensor:
        """The sum over the processes, through which gradients go back to each of them."""
        total: Tensor = _Total.apply(part)  # type: ignore[no-untyped-call]
        return total


class _Total(torch.autograd.Function):
    """The sum over the processes; what moves it in one of them moves the outputs of all."""

    @staticmethod
    def forward(_: Any, part: Tensor) -> Tensor:
        """Add up."""
        total = part.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        """Add the processes' gradients up."""
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


class SyncedNorms:
    """A network's batch norms, replaced by ones with the same parameters and statistics.

    Args:
        model: is changed in place, and put back by `lift`.
        active: whether anything is replaced.
    """

    def __init__(self, model: nn.Module, *, active: bool) -> None:
        self._replaced: list[tuple[nn.Module, str, nn.Module]] = []
        for parent in list(model.modules()) if active else ():
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                    synced = _synced(child)
                    setattr(parent, name, synced)
                    self._replaced.append((parent, name, child))

    def __bool__(self) -> bool:
        return bool(self._replaced)

    def lift(self) -> None:
        """Put the network's own norms back; they have learnt what the others did."""
        for parent, name, child in self._replaced:
            child.train(getattr(parent, name).training)
            setattr(parent, name, child)
        self._replaced.clear()


def _synced(norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) -> nn.Module:
    if isinstance(norm, MaskedBatchNorm1d):
        return SyncedMaskedNorm.of(norm)
    synced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)  # type: ignore[no-untyped-call]
    return synced
