"""Guided ReLUs: of what comes back through a ReLU, only what is positive passes."""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_NEW: Final = frozenset({torch.relu, Tensor.relu})
_IN_PLACE: Final = frozenset({torch.relu_, Tensor.relu_})


class Guided(TorchFunctionMode):
    """Within it, every ReLU is guided, whether a module calls it or a function.

    Attributes:
        met: how many ReLUs ran.
    """

    def __init__(self) -> None:
        super().__init__()
        self.met = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one of torch's functions."""
        kwargs = kwargs or {}
        in_place = func in _IN_PLACE
        if func is F.relu:
            in_place = bool(kwargs.get("inplace", args[1] if len(args) > 1 else False))
        elif func not in _NEW and not in_place:
            return func(*args, **kwargs)
        self.met += 1
        x = args[0] if args else kwargs["input"]
        result = _GuidedReLU.apply(x.clone() if in_place else x)  # type: ignore[no-untyped-call]
        return x.copy_(result) if in_place else result


class _GuidedReLU(torch.autograd.Function):
    """max(x, 0), whose gradient is max(g, 0) where x is positive."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        result = x.relu()
        context.save_for_backward(result)
        return result

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (result,) = context.saved_tensors
        return torch.where(result > 0, gradient.relu(), 0)
