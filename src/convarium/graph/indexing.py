"""Fixed indices, kept as numbers: the shape of what they pick, and its places, depend on them."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor


def fixed_lists(key: Any) -> Any:
    """What stands in brackets after a tensor, its lists as tensors with values.

    Torch makes them on the device of what is indexed, where they would have none.

    >>> fixed_lists((slice(None), [0, 3, 4]))
    (slice(None, None, None), tensor([0, 3, 4]))
    """
    if isinstance(key, tuple):
        return tuple(map(_tensor, key))
    nested = isinstance(key, list) and any(isinstance(x, list | tuple) for x in key)
    return key if nested else _tensor(key)  # torch may take a list of lists for a tuple


def _tensor(place: Any) -> Any:
    """A list or array of whole or truth values as a tensor; anything else as it is."""
    numpy: Any = sys.modules.get("numpy")
    array = numpy is not None and isinstance(place, numpy.ndarray)
    if not array and not isinstance(place, list | tuple | range):
        return place
    try:
        found = torch.tensor(place, device="cpu")
    except (TypeError, ValueError):
        return place
    return found if found.dtype in (torch.int64, torch.int32, torch.bool) else place


def numbers(index: Any) -> list[Any]:
    """A fixed mask as the positions that it picks along each of its dimensions."""
    if not isinstance(index, Tensor) or index.is_meta or index.dtype != torch.bool:
        return [index]
    return [*index.nonzero().unbind(1)] if index.ndim else [index]
