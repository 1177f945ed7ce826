"""Convolutions of several lengths over the words of a text, and the largest answer of each filter.

    vectors (B, E, T) -> conv k1, conv k2, ... -> relu -> (B, C, T) -> max over time -> (B, C)
                      ----------------------------------> (B, E, T) -> mean over time -> (B, E)

A window counts where all of its tokens are real; where none does, the first one counts, so that a
text which is shorter than a kernel has one window, in which zeros follow its tokens. With fixed
weights the answers can be looked up: for each word and each place in a window, a table holds what
the word adds there, and a window is a sum of k rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, pad

from convarium.layers.conv import make_conv
from convarium.layers.masked_norm import MaskedBatchNorm1d
from convarium.layers.masks import hidden

_ANSWERS: Final = 2**18  # to windows at once, so that they stay in a processor's second cache


class Windows(nn.Module):
    """Parallel convolutions; position i holds the window whose middle is token i.

    Windows that do not count are 0, which is the least value behind a ReLU.

    Args:
        in_channels: numbers E of a word's vector.
        filters: of each convolution.
        kernel_sizes: words in a window.
        normed: whether a batch norm over the windows that count follows each convolution.
        words: whether the words' own vectors stand behind the answers, E channels more.

    Shape:
        (B, E, T), mask (B, T) -> (B, filters len(kernel_sizes), T), T of the longest kernel or more

    Example:
        >>> windows = Windows(4, 5, [1, 3], normed=False)
        >>> windows(torch.zeros(2, 4, 7), torch.ones(2, 7, dtype=torch.bool)).shape
        torch.Size([2, 10, 7])
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel_sizes: Sequence[int],
        *,
        normed: bool,
        words: bool = False,
    ) -> None:
        super().__init__()
        self.sizes = list(kernel_sizes)
        self.words = words
        self.convs = nn.ModuleList(
            make_conv(1, in_channels, filters, size, bias=True) for size in kernel_sizes
        )
        norms = [MaskedBatchNorm1d(filters) for _ in kernel_sizes] if normed else []
        self.norms = nn.ModuleList(norms)
        self.act = nn.ReLU()

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, E, T) to (B, C, T)."""
        maps = []
        for i, (size, conv) in enumerate(zip(self.sizes, self.convs, strict=True)):
            counted = whole_windows(mask, size)
            y = conv(x)
            y = self.norms[i](y, counted) if len(self.norms) else y
            maps.append(self.act(y) * counted.unsqueeze(1))
        return torch.cat([*maps, hidden(x, mask)] if self.words else maps, 1)

    def tables(self, vectors: Tensor) -> list[Table]:
        """What each word adds to the windows of each kernel, as in evaluation.

        Args:
            vectors: (V, E), a row a word.
        """
        found = []
        for i, (size, conv) in enumerate(zip(self.sizes, self.convs, strict=True)):
            layer = next(m for m in conv.modules() if isinstance(m, nn.Conv1d))
            weight, bias = layer.weight, layer.get_parameter("bias")
            if len(self.norms):
                scale, shift = self.norms[i].line()  # type: ignore[operator]
                weight, bias = weight * scale[:, None, None], bias * scale + shift
            rows = vectors @ weight.permute(1, 2, 0).flatten(1)
            found.append(Table(size, rows.reshape(len(rows) * size, -1), bias))
        return found


class Table(NamedTuple):
    """The answers of one convolution's filters, word by word.

    Attributes:
        size: words k in a window.
        rows: (V k, filters): row v k + j is what word v adds as the j-th of a window.
        bias: (filters,)
    """

    size: int
    rows: Tensor
    bias: Tensor

    def largest(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The largest answer of each filter to the windows that count.

        Shape:
            (B, T), (B, T) -> (B, filters), T of `size` or more
        """
        places = torch.arange(self.size, device=ids.device)
        windows = ids.unfold(1, self.size, 1) * self.size + places
        counted = _all_real(mask, self.size)
        first = counted.int().argmax(1)  # of those that count, or of all
        one = windows[torch.arange(len(windows), device=ids.device), first].unsqueeze(1)
        windows = torch.where(counted.unsqueeze(2), windows, one)
        few = max(1, _ANSWERS // (windows.shape[1] * len(self.bias)))
        found = []
        for some in torch.split(windows, few):
            answers = embedding_bag(some.flatten(0, 1), self.rows, mode="sum")
            found.append(answers.view(*some.shape[:2], -1).amax(1))
        return (torch.cat(found) + self.bias).relu()


def mean_vectors(vectors: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """The mean of the real words' vectors; 0 for a text without words.

    Args:
        vectors: (V, E), a row a word.
        ids: of the words.
        mask: which of them are real.

    Shape:
        (V, E), (B, T), (B, T) -> (B, E)

    Example:
        >>> ids, mask = torch.tensor([[1, 2, 0]]), torch.tensor([[True, True, False]])
        >>> mean_vectors(torch.tensor([[9.0], [1.0], [4.0]]), ids, mask).tolist()
        [[2.5]]
    """
    shares = mask.to(vectors.dtype) / mask.sum(1, keepdim=True).clamp(min=1)
    return embedding_bag(ids, vectors, per_sample_weights=shares, mode="sum")


def whole_windows(mask: Tensor, size: int) -> Tensor:
    """Which windows of `size` tokens hold real ones only, told at their middle; else the first.

    Shape:
        (B, T) -> (B, T), with T of `size` or more

    Example:
        >>> lengths = torch.tensor([[4], [1]])
        >>> whole_windows(torch.arange(5) < lengths, 3).int().tolist()
        [[0, 1, 1, 0, 0], [0, 1, 0, 0, 0]]
    """
    before = (size - 1) // 2
    first = torch.arange(mask.shape[1], device=mask.device) == before
    whole = _all_real(mask, size)
    none = ~whole.any(1, keepdim=True)
    return pad(whole, (before, size - 1 - before)) | (first & none)


def _all_real(mask: Tensor, size: int) -> Tensor:
    """Which windows hold real tokens only, (B, T) -> (B, T - size + 1)."""
    starts = mask.shape[1] - size + 1
    whole = mask[:, :starts]
    for place in range(1, size):
        whole = whole & mask[:, place : starts + place]
    return whole
