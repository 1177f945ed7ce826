"""A chain of blocks that can forget its activations and compute them again when needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class Blocks(nn.Sequential):
    """Blocks in sequence; with `recompute`, only the input of each block is kept for the gradient.

    Recomputing trades one more forward pass for memory. Gradients, random draws and running
    statistics are those of the plain pass: the second pass replays the random state and leaves the
    averages of batch norms alone.

    Shape:
        (B, C, *S) -> (B, C', *S')

    References:
        Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv:1604.06174.
    """

    recompute: bool = False

    def forward(self, x: Tensor) -> Tensor:
        """Apply the blocks in order."""
        keep = not (self.recompute and torch.is_grad_enabled())
        for block in self:
            x = block(x) if keep else _recomputed(block, x)
        return x


def _recomputed(block: nn.Module, x: Tensor) -> Tensor:
    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return contextlib.nullcontext(), _frozen_averages(block)

    # A compiler recomputes without repeating side effects, and knows no contexts.
    options: dict[str, Any] = {} if torch.compiler.is_compiling() else {"context_fn": contexts}
    y: Tensor = checkpoint(block, x, use_reentrant=False, **options)
    return y


@contextlib.contextmanager
def _frozen_averages(block: nn.Module) -> Iterator[None]:
    """Let batch norms run in training mode without moving their running statistics."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked = count
