"""Padding around a circle as slices and joins, which every runtime has; some lack ONNX's `wrap`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class PlainWrapping(TorchFunctionMode):
    """Inside, `torch.nn.functional.pad` goes around a circle by slices of what it is given.

    >>> x = torch.arange(6.0).view(1, 2, 3)
    >>> with PlainWrapping():
    ...     torch.nn.functional.pad(x, (2, 1), mode="circular")[0, 0].tolist()
    [1.0, 2.0, 0.0, 1.0, 2.0, 0.0]
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        kinds: Sequence[type],
        given: Sequence[Any] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        """Do the one call in another way."""
        words = dict(named or {})
        if function is torch.nn.functional.pad:
            bound = {**dict(zip(_KEYS, given, strict=False)), **words}
            if bound.get("mode") == "circular":
                return _around(bound["input"], bound["pad"])
        return function(*given, **words)


_KEYS = ("input", "pad", "mode")


def _around(x: Tensor, pads: Sequence[int]) -> Tensor:
    """The first two of the pads are those of the last axis, and so on."""
    for k in range(len(pads) // 2):
        axis = x.ndim - 1 - k
        left, right = pads[2 * k : 2 * k + 2]
        parts = [x.narrow(axis, x.shape[axis] - left, left), x, x.narrow(axis, 0, right)]
        x = torch.cat([part for part, n in zip(parts, (left, 1, right), strict=True) if n], axis)
    return x
