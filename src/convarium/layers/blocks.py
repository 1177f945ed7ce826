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
        for block in self:
            x = self.run(block, x)
        return x

    def run(self, block: nn.Module, *maps: Tensor) -> Tensor:
        """Apply one block, in the way that `recompute` says."""
        y: Tensor = recomputed(block, *maps) if self.recompute else block(*maps)
        return y


def recomputed(block: nn.Module, *maps: Tensor) -> Tensor:
    """What `block(*maps)` gives; of what it computes, only the result is kept for the gradient.

    Shape:
        (B, C, *S), ... -> as the block has it

    Example:
        >>> import torch
        >>> x = torch.ones(3, 2, requires_grad=True)
        >>> recomputed(nn.Sequential(nn.Tanh(), nn.Tanh()), x).sum().backward()
        >>> x.grad.shape
        torch.Size([3, 2])
    """
    if not torch.is_grad_enabled() or torch.compiler.is_exporting():
        result: Tensor = block(*maps)
        return result

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return contextlib.nullcontext(), _frozen_averages(block)

    # A compiler recomputes without repeating side effects, and knows no contexts.
    options: dict[str, Any] = {} if torch.compiler.is_compiling() else {"context_fn": contexts}
    y: Tensor = checkpoint(block, *maps, use_reentrant=False, **options)
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
