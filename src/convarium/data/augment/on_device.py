"""Flips and padded crops of tensors that are on a GPU; on the processor NumPy's way is faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional


def flip(samples: Tensor, chosen: NDArray[np.bool_], axis: int) -> Tensor:
    """The `chosen` samples mirrored along an axis, and the others as they are."""
    mirrored = torch.from_numpy(chosen).to(samples.device).view(-1, *[1] * (samples.ndim - 1))
    return torch.where(mirrored, samples.flip(axis), samples)


def padded_crop(
    samples: Tensor, pads: Sequence[int], starts: Sequence[NDArray[np.int64]]
) -> Tensor:
    """Each sample cut, at its old size, from itself with zeros around it.

    Args:
        samples: `(n, C, *S)`.
        pads: zeros on each side of each axis of S.
        starts: first place of each sample's cut along each axis of S, `(n,)` each, in the padded
            sample; 0 to 2 pad.
    """
    windows = functional.pad(samples, [pad for each in reversed(pads) for pad in (each, each)])
    for axis in range(2, samples.ndim):
        windows = windows.unfold(axis, samples.shape[axis], 1)
    places = [torch.from_numpy(each).to(samples.device) for each in starts]
    first = torch.arange(len(samples), device=samples.device)
    chosen: tuple[Any, ...] = (first, slice(None), *places)
    return windows[chosen]
