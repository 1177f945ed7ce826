"""The arithmetic of a forward pass: float32, or bf16 with float32 where bf16 is slow.

Depthwise convolutions with a stride or a kernel above 3 take several times as long to differentiate
in bf16 on a processor as in float32. In a bf16 pass they compute in float32, between two
conversions, and give bf16 as any other convolution does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def slow_in_bf16(model: nn.Module, device: torch.device) -> tuple[nn.Module, ...]:
    """The layers that compute in float32 in a bf16 pass; none on a GPU."""
    if device.type != "cpu":
        return ()
    return tuple(module for module in model.modules() if _is_slow(module))


def _is_slow(module: nn.Module) -> bool:
    if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return False
    depthwise = module.groups == module.in_channels > 1
    return depthwise and (max(module.stride) > 1 or max(module.kernel_size) > 3)


@contextlib.contextmanager
def arithmetic(
    device: torch.device, precision: str, slow: Sequence[nn.Module] = ()
) -> Iterator[None]:
    """Inside, forward passes compute in a precision.

    Args:
        device: where the network is.
        precision: "fp32" or "bf16".
        slow: layers of the network that compute in float32 all the same.
    """
    with contextlib.ExitStack() as closing:
        closing.enter_context(
            torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
        )
        for module in slow if precision == "bf16" else ():
            hooks = _InFloat32(device.type)
            handle = module.register_forward_pre_hook(hooks.before)
            closing.callback(handle.remove)
            handle = module.register_forward_hook(hooks.after, always_call=True)
            closing.callback(handle.remove)
        yield


class _InFloat32:
    """Hooks around a layer's forward pass."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._open: list[torch.autocast] = []

    def before(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Convert what goes in."""
        off = torch.autocast(self._kind, enabled=False)
        off.__enter__()  # type: ignore[no-untyped-call]
        self._open.append(off)
        return tuple(x.float() for x in inputs)

    def after(self, _: nn.Module, inputs: Any, output: Tensor | None) -> Tensor | None:
        """Convert what comes out; there is nothing after an error."""
        self._open.pop().__exit__(None, None, None)
        return None if output is None else output.to(torch.bfloat16)
