"""Guided ReLUs: of what comes back through a ReLU, only what is positive passes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_NEW: Final = frozenset({torch.relu, Tensor.relu})
_IN_PLACE: Final = frozenset({torch.relu_, Tensor.relu_})
#: Activations that let through what a guided ReLU would not, by the functions that run them.
_OTHERS: Final[Mapping[Any, str]] = {
    getattr(F, name): name
    for name in (
        *("leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "prelu"),
        *("rrelu", "softplus", "hardtanh", "threshold"),
    )
}


class Guided(TorchFunctionMode):
    """Within it, every ReLU and ReLU6 is guided, whether a module calls it or a function.

    Attributes:
        met: how many ran.
        others: names of the other activations that ran, which are not guided.
    """

    def __init__(self) -> None:
        super().__init__()
        self.met = 0
        self.others: set[str] = set()

    @property
    def note(self) -> str:
        """What should be known about it, as a sentence; mostly empty."""
        if not self.met:
            return "The network has no ReLU, so nothing was guided: this is its gradient."
        names = ", ".join(sorted(self.others))
        return f"Not guided, since they are no ReLUs: {names}." if names else ""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run one of torch's functions."""
        kwargs = kwargs or {}
        found = _rectifier(func, args, kwargs)
        if found is None:
            if func in _OTHERS:
                self.others.add(_OTHERS[func])
            return func(*args, **kwargs)
        self.met += 1
        top, in_place = found
        x = args[0] if args else kwargs["input"]
        result = _GuidedReLU.apply(x.clone() if in_place else x, top)  # type: ignore[no-untyped-call]
        return x.copy_(result) if in_place else result


def _rectifier(
    func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[float, bool] | None:
    """The upper end of a ReLU, and whether it runs in place; None for another function."""

    def given(place: int, name: str, default: Any) -> Any:
        return args[place] if len(args) > place else kwargs.get(name, default)

    if func in _NEW or func in _IN_PLACE:
        return math.inf, func in _IN_PLACE
    if func is F.relu:
        return math.inf, bool(given(1, "inplace", False))
    if func is F.relu6:
        return 6.0, bool(given(1, "inplace", False))
    if func is F.hardtanh and given(1, "min_val", -1.0) == 0:  # as nn.ReLU6 calls it
        return float(given(2, "max_val", 1.0)), bool(given(3, "inplace", False))
    return None


class _GuidedReLU(torch.autograd.Function):
    """min(max(x, 0), top), whose gradient is max(g, 0) where x lies between."""

    @staticmethod
    def forward(context: Any, x: Tensor, top: float) -> Tensor:
        result = x.relu() if top == math.inf else x.clamp(0, top)
        context.save_for_backward(result)
        context.top = top
        return result

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (result,) = context.saved_tensors
        return torch.where((result > 0) & (result < context.top), gradient.relu(), 0), None
