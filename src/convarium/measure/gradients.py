"""Gradients as numbers, and those that do not arrive told from those that are 0."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

#: Why a gradient does not reach what it should.
CUT_OFF: Final = (
    "something cuts it off, such as detach(), torch.no_grad(), torch.inference_mode(), NumPy, a "
    "comparison or a quantised layer; leave that out, or give the part of the model without it"
)


def without_formula(value: Tensor) -> bool:
    """Whether an operation on the way to `value` has no gradient that torch knows.

    Torch warns and passes none on, as for quantised layers.
    """
    left, seen = [value.grad_fn], set()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        if "NotImplemented" in node.name():
            return True
        seen.add(node)
        left += [behind for behind, _ in node.next_functions]
    return False


def weight_norms(
    value: Tensor, own: dict[str, list[nn.Parameter]], leaf: Tensor
) -> dict[str, float]:
    """For each layer with weights, the norm of the loss's gradient with respect to them."""
    used = list({id(p): p for parameters in own.values() for p in parameters}.values())
    ends: list[Tensor] = [p for p in used if p.requires_grad]
    found = torch.autograd.grad(value, ends or [leaf], allow_unused=True, materialize_grads=True)
    norms = {id(p): norm(gradient) for p, gradient in zip(ends, found, strict=False)}
    return {
        layer: math.hypot(*(norms.get(id(p), 0.0) for p in parameters))
        for layer, parameters in own.items()
        if parameters
    }


def norm(gradient: Tensor) -> float:
    """Root of the sum of squares."""
    return float(torch.linalg.vector_norm(gradient, dtype=torch.float64))
