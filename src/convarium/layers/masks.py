"""Masks of sequences: which steps are real, and pools that see no others.

    x (B, C, T), mask (B, T): True where a step is real, None where all are

Real steps come first, padding behind them. A result at a real step is then what the sequence alone,
without padding, would give: nothing here reads a number that stands in the padding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from convarium.layers.blocks import Blocks


def hidden(x: Tensor, mask: Tensor | None) -> Tensor:
    """`x` with zeros in the padding, whatever stood there, NaN too.

    Shape:
        (B, C, T), (B, T) -> (B, C, T)

    Example:
        >>> hidden(torch.ones(1, 1, 3), torch.tensor([[True, True, False]])).tolist()
        [[[1.0, 1.0, 0.0]]]
    """
    return x if mask is None else x.masked_fill(~mask.unsqueeze(1), 0.0)


def coarser(mask: Tensor | None, stride: int) -> Tensor | None:
    """The mask behind a pool over windows of `stride` steps: real where the whole window was.

    Shape:
        (B, T) -> (B, floor(T / stride))

    Example:
        >>> coarser(torch.tensor([[True, True, True, False]]), 2).tolist()
        [[True, False]]
    """
    return mask if mask is None or stride == 1 else mask[:, stride - 1 :: stride]


class MaskedBlocks(Blocks):
    """Blocks that each take the map and the mask.

    Shape:
        (B, C, T), (B, T) -> (B, C', T')
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the blocks in order."""
        for block in self:
            x = self.run(block, x) if mask is None else self.run(block, x, mask)
        return x


class MeanOverTime(nn.Module):
    """The mean over the real steps.

    Shape:
        (B, C, T), (B, T) -> (B, C)

    Example:
        >>> mask = torch.tensor([[True, True, False]])
        >>> MeanOverTime()(torch.tensor([[[1.0, 3.0, 8.0]]]), mask).tolist()
        [[2.0]]
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Average `x`; a sequence without a real step gives 0."""
        if mask is None:
            return x.mean(-1)
        count = mask.sum(1, keepdim=True).clamp(min=1)
        return hidden(x, mask).sum(-1) / count.to(x.dtype)


class LastStep(nn.Module):
    """The last real step.

    Shape:
        (B, C, T), (B, T) -> (B, C)

    Example:
        >>> mask = torch.tensor([[True, True, False]])
        >>> LastStep()(torch.tensor([[[1.0, 3.0, 8.0]]]), mask).tolist()
        [[3.0]]
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pick from `x`; of a sequence without a real step, the first one."""
        if mask is None:
            return x[..., -1]
        steps = torch.arange(mask.shape[1], device=mask.device)
        last = (mask * steps).amax(1)
        return x.gather(2, last[:, None, None].expand(-1, x.shape[1], 1)).squeeze(2)


class EveryStep(nn.Module):
    """All steps, with zeros in the padding.

    Shape:
        (B, C, T), (B, T) -> (B, C, T)
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Hide the padding of `x`."""
        return hidden(x, mask)


class MaskedMaxPool1d(nn.MaxPool1d):
    """`nn.MaxPool1d` that never sees padding; what it gives in the padding is zero.

    Shape:
        (B, C, T), (B, T) -> as the pool has it

    Example:
        >>> pool = MaskedMaxPool1d(3, stride=1, padding=1)
        >>> mask = torch.tensor([[True, True, False]])
        >>> pool(torch.tensor([[[-1.0, -3.0, 8.0]]]), mask).tolist()
        [[[-1.0, -1.0, 0.0]]]
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool `x` with the smallest number there is in the padding."""
        if mask is None:
            return self._pooled(x)
        least = torch.finfo(x.dtype).min
        pooled = self._pooled(x.masked_fill(~mask.unsqueeze(1), least))
        return hidden(pooled, coarser(mask, _along(self.stride)))

    def _pooled(self, x: Tensor) -> Tensor:
        """As torch has it; in programs as a pool of two axes, whose length can be free."""
        if not torch.compiler.is_exporting():
            found: Tensor = super().forward(x)
            return found
        sizes = (self.kernel_size, self.stride, self.padding, self.dilation)
        kernel, stride, padding, dilation = map(_along, sizes)
        rows = max_pool2d(
            x.unsqueeze(2), (1, kernel), (1, stride), (0, padding), (1, dilation), self.ceil_mode
        )
        return rows.squeeze(2)


def _along(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]
