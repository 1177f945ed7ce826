"""Causal convolutions: step t reads the steps t, t - d, ..., t - (K - 1) d and none behind t.

    block    x -> causal conv K, d -> norm -> relu -> dropout  (twice)  -> + shortcut(x) -> relu

The same layers run on whole sequences, on chunks and step by step. What a convolution must remember
between two chunks are the last (K - 1) d steps of its input; a step gathers K - 1 of them and is
one matrix product.

References:
    Bai, Kolter and Koltun 2018, arXiv:1803.01271, section 3 and figure 1.
    Salimans and Kingma 2016, "Weight normalization", arXiv:1602.07868, eq. 2.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, SupportsIndex, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad
from torch.nn.utils import parametrizations, parametrize

from convarium.errors import OptionError
from convarium.layers.masked_norm import MaskedBatchNorm1d
from convarium.layers.masks import hidden

CausalNorm = Literal["weight", "batch", "none"]


class Taps(NamedTuple):
    """A convolution for single steps: one matrix product.

    Attributes:
        weight: (K C_in, C_out), the oldest tap first.
        bias: (C_out,)
        pieces: how many pieces its memory has.
        every: which of them are taps: every one, or every second one.
    """

    weight: Tensor
    bias: Tensor
    pieces: int
    every: int

    def step(self, x: Tensor, known: Sequence[Tensor]) -> Tensor:
        """The output (B, C_out) of one step, from its input and the pieces of the memory."""
        return torch.addmm(self.bias, torch.cat([*known[:: self.every], x], 1), self.weight)


BlockTaps = tuple[Taps, Taps, Taps | None]


def block_step(taps: BlockTaps, x: Tensor, known: Sequence[Tensor], kept: list[Tensor]) -> Tensor:
    """One step of a `CausalBlock` in evaluation.

    Args:
        taps: the block's.
        x: (B, C_in), the input of this step.
        known: the block's memory, in pieces.
        kept: the memory behind this step is added to it, in pieces.
    """
    first, second, around = taps
    y, at = x, 0
    for one in (first, second):
        mine = known[at : at + one.pieces]
        at += one.pieces
        kept += [*mine, y][1:]
        y = one.step(y, mine).relu_()
    return (y + (x if around is None else around.step(x, ()))).relu_()


class CausalConv1d(nn.Conv1d):
    """A convolution with (K - 1) d zeros in front, so that no step sees a later one.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: taps K.
        dilation: steps d from one tap to the next.
        bias: whether it has one.

    Attributes:
        reach: steps (K - 1) d that it looks back.
        memory: numbers a sequence of what it must remember between steps, in pieces: the oldest
            tap, what lies between it and the next, the next tap, ...

    Shape:
        (B, C_in, T) -> (B, C_out, T)

    Example:
        >>> conv = CausalConv1d(1, 1, 2, dilation=3)
        >>> conv(torch.zeros(1, 1, 10)).shape, conv.reach
        (torch.Size([1, 1, 10]), 3)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, dilation=dilation, bias=bias)
        self.reach = dilation * (kernel_size - 1)
        gap = (dilation - 1) * in_channels
        self.memory = ([in_channels, gap] if gap else [in_channels]) * (kernel_size - 1)
        self._between = 2 if gap else 1

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `x` with zeros before its first step."""
        return super().forward(pad(x, (self.reach, 0)))

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Pickled with weight norm too, which torch refuses."""
        if not parametrize.is_parametrized(self):
            return super().__reduce_ex__(protocol)
        sizes = (self.in_channels, self.out_channels, self.kernel_size[0], self.dilation[0])
        return _with_weight_norm, (sizes, dict(self.named_parameters()), self.training)

    def taps(self, norm: MaskedBatchNorm1d | None = None) -> Taps:
        """Its weights for single steps, with those of a batch norm behind it, as in evaluation."""
        weight, bias = self.weight, self.bias
        if bias is None:
            bias = weight.new_zeros(self.out_channels)
        if norm is not None:
            scale, shift = norm.line()
            weight, bias = weight * scale[:, None, None], bias * scale + shift
        flat = weight.permute(2, 1, 0).flatten(0, 1)
        return Taps(flat.contiguous(), bias, len(self.memory), self._between)

    def stream(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The output of a chunk, and the memory behind it.

        Args:
            x: (B, C_in, T), the input of this chunk.
            memory: (B, reach C_in), step by step, the oldest first.
        """
        before = memory.reshape(len(memory), self.reach, self.in_channels).transpose(1, 2)
        known = torch.cat([before, x], 2)
        y = conv1d(known, self.weight, self.bias, dilation=self.dilation)
        return y, known[:, :, x.shape[2] :].transpose(1, 2).flatten(1)


def make_causal_conv(
    in_channels: int, out_channels: int, kernel_size: int, *, dilation: int, norm: CausalNorm
) -> CausalConv1d:
    """A causal convolution, with weight norm where `norm` says so, without a bias before a norm.

    Raises:
        OptionError: no norm has this name.

    Example:
        >>> conv = make_causal_conv(4, 8, 3, dilation=1, norm="weight")
        >>> {name.rpartition(".")[2]: tuple(p.shape) for name, p in conv.named_parameters()}
        {'bias': (8,), 'original0': (8, 1, 1), 'original1': (8, 4, 3)}
    """
    if norm not in get_args(CausalNorm):
        raise OptionError(f"norm (={norm!r}) must be one of {', '.join(get_args(CausalNorm))}.")
    bias = norm != "batch"
    conv = CausalConv1d(in_channels, out_channels, kernel_size, dilation=dilation, bias=bias)
    if norm == "weight":
        parametrizations.weight_norm(conv, dim=0)
    return conv


def _with_weight_norm(
    sizes: tuple[int, int, int, int], parameters: Mapping[str, nn.Parameter], training: bool
) -> CausalConv1d:
    """A convolution with weight norm that has these parameters."""
    before, after, kernel_size, dilation = sizes
    bias = "bias" in parameters
    with torch.device("meta"):
        conv = CausalConv1d(before, after, kernel_size, dilation=dilation, bias=bias)
        parametrizations.weight_norm(conv, dim=0)
    for name, parameter in parameters.items():
        owner, _, own = name.rpartition(".")
        setattr(conv.get_submodule(owner), own, parameter)
    return conv.train(training)


def materialise_weights(module: nn.Module) -> None:
    """Replace weight norm by the weights that it gives, everywhere in a module.

    Example:
        >>> conv = make_causal_conv(4, 8, 3, dilation=1, norm="weight")
        >>> materialise_weights(conv)
        >>> [name for name, _ in conv.named_parameters()]
        ['bias', 'weight']
    """
    for child in module.modules():
        if not parametrize.is_parametrized(child, "weight"):
            continue
        learns = any(p.requires_grad for p in child.get_submodule("parametrizations").parameters())
        found: Any = child.weight
        weight = nn.Parameter(found.detach().clone(), requires_grad=learns)
        # torch's own way takes the weight from the class too, which copies share with the original.
        plain = parametrize.type_before_parametrizations(child)
        del child.parametrizations
        child.__class__ = plain
        child.weight = weight


def with_plain_weights(module: nn.Module) -> nn.Module:
    """A copy for evaluation with the weights that weight norm gives; the module itself without any.

    Example:
        >>> conv = make_causal_conv(4, 8, 3, dilation=1, norm="weight")
        >>> with_plain_weights(conv) is conv, with_plain_weights(nn.ReLU()).inplace
        (False, False)
    """
    if not any(parametrize.is_parametrized(child, "weight") for child in module.modules()):
        return module
    twin = copy.deepcopy(module).eval()
    materialise_weights(twin)
    return twin


class CausalBlock(nn.Module):
    """Two causal convolutions around which the input passes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: taps of both convolutions.
        dilation: steps from one tap to the next, in both.
        norm: "weight" (of the convolutions' weights), "batch" or "none".
        dropout: probability of setting a channel of a sample to 0, behind each ReLU, in training.

    Shape:
        (B, C_in, T), mask (B, T) -> (B, C_out, T)

    Example:
        >>> block = CausalBlock(3, 8, 3, dilation=2)
        >>> block(torch.zeros(2, 3, 10)).shape
        torch.Size([2, 8, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        dilation: int,
        norm: CausalNorm = "weight",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        c, k = out_channels, kernel_size
        self.conv1 = make_causal_conv(in_channels, c, k, dilation=dilation, norm=norm)
        self.norm1 = MaskedBatchNorm1d(c) if norm == "batch" else None
        self.act1 = nn.ReLU()
        self.drop1 = nn.Dropout1d(dropout)
        self.conv2 = make_causal_conv(c, c, k, dilation=dilation, norm=norm)
        self.norm2 = MaskedBatchNorm1d(c) if norm == "batch" else None
        self.act2 = nn.ReLU()
        self.drop2 = nn.Dropout1d(dropout)
        self.shortcut = nn.Conv1d(in_channels, c, 1) if in_channels != c else None
        self.act3 = nn.ReLU()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, C_in, T) to (B, C_out, T), with zeros in the padding."""
        y = self.conv1(x)
        y = self.drop1(self.act1(y if self.norm1 is None else self.norm1(y, mask)))
        y = self.conv2(y)
        y = self.drop2(self.act2(y if self.norm2 is None else self.norm2(y, mask)))
        y = self.act3(y + (x if self.shortcut is None else self.shortcut(x)))
        return hidden(y, mask)

    def taps(self) -> BlockTaps:
        """The weights of both convolutions and of the shortcut, for single steps."""
        first, second = self.conv1.taps(self.norm1), self.conv2.taps(self.norm2)
        if self.shortcut is None:
            return first, second, None
        weight, bias = self.shortcut.weight, self.shortcut.bias
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        return first, second, Taps(weight.flatten(1).t().contiguous(), bias, 0, 1)

    def stream(self, x: Tensor, memories: Iterator[Tensor], kept: list[Tensor]) -> Tensor:
        """(B, C_in, T) -> (B, C_out, T) in evaluation; see `CausalConv1d.stream`."""
        y = x
        for conv, norm in ((self.conv1, self.norm1), (self.conv2, self.norm2)):
            y, memory = conv.stream(y, next(memories))
            y = (y if norm is None else norm.settled(y)).relu()
            kept.append(memory)
        y = y + (x if self.shortcut is None else self.shortcut(x))
        return y.relu()
