"""Muon for filter banks: the momentum's nearest orthogonal matrix as the update, AdamW elsewhere.

    gradient (C_out, C_in, *K) -> momentum -> matrix (C_out, C_in prod K) -> Newton-Schulz -> update

References:
    Jordan et al. (2024), "Muon: an optimizer for hidden layers in neural networks",
    kellerjordan.github.io/posts/muon (the update; filters as matrices; input and output layers to
    AdamW); Liu et al. (2025), "Muon is scalable for LLM training", arXiv:2502.16982, equation 4
    (the scale, which lets one learning rate and one decay serve both rules).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from convarium.models import Network

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5
_SMALL = 1e-7


def orthogonalised(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T: its singular values become about 1 (0.68 to 1.13).

    X <- X / |X|, then five times X <- a X + (b X X^T + c (X X^T)^2) X. In float32 on the processor,
    in bfloat16 on a GPU.

    Shape:
        (M, N) -> (M, N)
    """
    a, b, c = _COEFFICIENTS
    x = matrix.bfloat16() if matrix.is_cuda else matrix.float()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / x.norm().clamp(min=_SMALL)
    for _ in range(_STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


def filter_banks(model: nn.Module) -> set[int]:
    """Ids of the parameters that are matrices of a hidden layer.

    These are the weights of convolutions without groups and of linear layers, but for the network's
    first such layer and its head (for a module without a head: its last such layer).
    """
    layers = [
        module
        for module in _in_order(model)
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
        and isinstance(module._parameters.get("weight"), nn.Parameter)
    ]
    head = getattr(model, "head", None)
    outer = {id(m) for m in head.modules()} if isinstance(head, nn.Module) else set()
    outer |= {id(module) for module in layers[:1]}
    outer |= set() if isinstance(head, nn.Module) else {id(module) for module in layers[-1:]}
    return {
        id(module.weight)
        for module in layers
        if id(module) not in outer and getattr(module, "groups", 1) == 1
    }


def _in_order(model: nn.Module) -> list[nn.Module]:
    """All modules in the order of the data's flow, as far as the network tells it."""
    if not isinstance(model, Network):
        return list(model.modules())
    return [module for child in model.in_order().values() for module in child.modules()]


class Muon(torch.optim.Optimizer):
    """Muon for the groups whose `filters` is true, AdamW for the others; one rate for both.

    m <- mu m + (1 - mu) g;  u = (1 - mu) g + mu m with Nesterov's form, else m;
    w <- w - lr decay w - lr 0.2 sqrt(max(M, N)) orthogonalised(u), with w as an (M, N) matrix

    Args:
        groups: parameter groups with `filters` and `weight_decay`.
        lr: the learning rate.
        momentum: mu.
        nesterov: whether u looks ahead.
        betas, eps: of AdamW.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.95,
        nesterov: bool = True,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-5,
    ) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "nesterov": nesterov})
        others = [dict(group) for group in self.param_groups if not group["filters"]]
        self._adamw = (
            torch.optim.AdamW(others, lr=lr, betas=betas, eps=eps, fused=True) if others else None
        )
        if self._adamw is not None:
            self._adamw.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["filters"]:
                for parameter in group["params"]:
                    self._update(parameter, group)
        if self._adamw is not None:
            self._adamw.state = self.state  # loading a state replaces it
            others = [group for group in self.param_groups if not group["filters"]]
            for own, group in zip(self._adamw.param_groups, others, strict=True):
                own.update(lr=group["lr"], weight_decay=group["weight_decay"])
            self._adamw.step()
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        if parameter.grad is None:
            return
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        mu, gradient = group["momentum"], parameter.grad
        buffer: Tensor = state["momentum_buffer"].lerp_(gradient, 1 - mu)
        update = gradient.lerp(buffer, mu) if group["nesterov"] else buffer
        rows = orthogonalised(update.flatten(1))
        scale = 0.2 * math.sqrt(max(rows.shape))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(rows.view(update.shape), alpha=-group["lr"] * scale)
