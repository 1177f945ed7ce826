"""Batch norm of padded sequences: the padding takes no part in any statistic.

    mean and variance over the real steps of the batch, N of them in all
    running <- (1 - momentum) running + momentum (mean, variance N / (N - 1))

So a batch of padded sequences moves the averages, and is normalised, as its real steps alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from convarium.errors import OptionError


class MaskedBatchNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d` whose statistics are those of the real steps.

    Args of the constructor are those of `nn.BatchNorm1d`. Without a mask it is that.

    Shape:
        (B, C, T), (B, T) -> (B, C, T)

    Example:
        >>> norm, mask = MaskedBatchNorm1d(1), torch.tensor([[True, True, False]])
        >>> y = norm(torch.tensor([[[1.0, 3.0, 100.0]]]), mask)
        >>> y[..., :2].detach().round(decimals=3).tolist(), norm.running_mean.tolist()
        ([[[-1.0, 1.0]]], [0.20000000298023224])

    References:
        Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1 (the statistics).
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise `x`; in training, by the real steps of this batch."""
        if mask is None or not self.training:
            return super().forward(x)
        weight = mask.unsqueeze(1)
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        count = self.total(mask.sum().to(wide.dtype))
        mean = self.total(wide.masked_fill(~weight, 0.0).sum((0, 2))) / count.clamp(min=1)
        centred = (wide - mean[:, None]).masked_fill(~weight, 0.0)
        variance = self.total(centred.square().sum((0, 2))) / count.clamp(min=1)
        self._move(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        y = centred * torch.rsqrt(variance + self.eps)[:, None]
        return (y * self.weight[:, None] + self.bias[:, None]).to(x.dtype)

    def total(self, part: Tensor) -> Tensor:
        """The sum of what each process has; here of this one alone."""
        return part

    def settled(self, x: Tensor) -> Tensor:
        """As in evaluation mode, whatever the mode: by the running averages.

        Shape:
            (B, C) or (B, C, T) -> the same
        """
        averages = self.running_mean, self.running_var
        return batch_norm(x, *averages, self.weight, self.bias, False, 0.0, self.eps)

    def line(self) -> tuple[Tensor, Tensor]:
        """Scale and shift of each channel that `settled` comes down to."""
        if self.running_mean is None or self.running_var is None:
            raise OptionError("A norm without running averages has no scale and shift of its own.")
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale

    def _move(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running averages as `nn.BatchNorm1d` does."""
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share: float | Tensor = 1.0 / self.num_batches_tracked.to(mean.dtype)
        share = share if self.momentum is None else self.momentum
        for average, found in ((self.running_mean, mean), (self.running_var, variance)):
            average.mul_(1 - share).add_(share * found.to(average.dtype))
