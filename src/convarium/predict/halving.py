"""A batch that a GPU's memory does not hold at once goes through the network in halves."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from convarium.data import Batch
from convarium.errors import ConvariumError


class NoSampleFitsError(ConvariumError):
    """The memory of a device ends with one sample."""


def in_memory(compute: Callable[[Batch], Tensor], batch: Batch, device: torch.device) -> Tensor:
    """What a device computes of a batch; where its memory ends, of one half and then the other.

    Training chooses how many samples learn at once; answers take the batches that they always
    take, so that they have the same bits wherever those fit.

    Shape:
        -> (B, ...), on the processor

    Raises:
        NoSampleFitsError: not even one sample fits.
    """
    try:
        return compute(batch.to(device)).to("cpu")
    except torch.OutOfMemoryError as error:
        # which holds all that was computed until then, and would hold it through the halves
        short = error.with_traceback(None)
    if len(batch) < 2:
        raise NoSampleFitsError(
            "Not even one sample fits into the memory of the device; choose smaller samples or a "
            "smaller network, or compute on the processor."
        ) from short
    half = len(batch) // 2
    parts = (batch.at(slice(half)), batch.at(slice(half, None)))
    return torch.cat([in_memory(compute, part, device) for part in parts])
