"""Modules made by hand, and all of a module that must not change while it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Forward(nn.Module):
    """A module whose forward is a function of itself and x."""

    def __init__(self, forward: Callable[..., Any], **children: nn.Module) -> None:
        super().__init__()
        self.call = forward
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x: torch.Tensor) -> Any:
        return self.call(self, x)


def state_of(model: nn.Module) -> list[Any]:
    """Random stream, gradient mode, attributes, identity and values of tensors, and gradients."""
    found: list[Any] = [torch.get_rng_state().tolist(), torch.is_grad_enabled()]
    for module in model.modules():
        found.append({k: repr(v) for k, v in vars(module).items() if k != "_modules"})
    for tensor in [*model.parameters(), *model.buffers()]:
        grad = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        found.append((id(tensor), tensor.tolist(), tensor.requires_grad, grad))
    return found
