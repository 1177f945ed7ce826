"""Stochastic depth: a residual branch is left out for some samples of a training batch."""

from __future__ import annotations

from torch import Tensor, nn

from convarium.errors import OptionError


class DropPath(nn.Module):
    """Set the whole map of a sample to 0 with probability p, and divide the others by 1 - p.

    In evaluation, and with p = 0, the input passes unchanged. The expectation is the input.

    Args:
        probability: p, in [0, 1).

    Shape:
        (B, *) -> (B, *)

    Raises:
        OptionError: p is below 0, or 1 and more.

    Example:
        >>> import torch
        >>> DropPath(0.5).eval()(torch.ones(2, 1)).tolist()
        [[1.0], [1.0]]

    References:
        Huang et al. 2016, "Deep networks with stochastic depth", arXiv:1603.09382, eq. 2 and 5;
        per sample and with the division in training, as EfficientNet's reference code has it.
    """

    def __init__(self, probability: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= probability < 1.0:
            raise OptionError(f"probability (={probability!r}) must be at least 0 and below 1.")
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Drop samples of `x` in training."""
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability
        kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * kept.div_(keep)

    def extra_repr(self) -> str:
        """The probability, for `print`."""
        return f"probability={self.probability}"


def drop_path_rates(last: float, blocks: int) -> list[float]:
    """The probability of each block: from 0 at the first, in equal steps, to `last` at the last.

    Differs from the paper: its equation counts from last / blocks at the first block; networks
    since EfficientNet never drop the first.

    Example:
        >>> drop_path_rates(0.2, blocks=3)
        [0.0, 0.1, 0.2]

    References:
        Huang et al. 2016, arXiv:1603.09382, eq. 4: later blocks are dropped more often.
    """
    return [last * block / max(blocks - 1, 1) for block in range(blocks)]
