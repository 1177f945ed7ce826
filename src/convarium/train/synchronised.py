"""Batch norms that see the samples of every process. torch has them on GPUs only."""

from __future__ import annotations

import torch
from torch import nn

from convarium.processes import World


def sees_all(device: torch.device, world: World) -> bool:
    """Whether the batch norms of a job's processes can work together."""
    return not world.alone and device.type == "cuda"


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
                    synced = nn.SyncBatchNorm.convert_sync_batchnorm(child)  # type: ignore[no-untyped-call]
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
