"""A convolution without its bias: the linear map that it is for one size of input.

    x (B, C, *S) -> y (B, C', *S')

Along an axis, tap t of a convolution reads, for output position o, the input position

    o s + t d - left,

and what lies outside is 0 or a position inside, as the padding has it. A transposed convolution is
the same sentence with input and output exchanged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from convarium.errors import OptionError, ShapeError
from convarium.graph import untouched, unwrapped
from convarium.layers import CONVOLUTIONS, same_padding
from convarium.layers.same import SameConv1d, SameConv2d, SameConv3d
from convarium.measure.arguments import Sizes, shown, sizes

Sides: TypeAlias = tuple[tuple[int, int], ...]

_TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_SAME: Final = (SameConv1d, SameConv2d, SameConv3d)
_FORWARDS: Final = {kind.forward for kind in (*CONVOLUTIONS, *_TRANSPOSED, *_SAME)}
_CONV_FORWARDS: Final = {kind._conv_forward for kind in (_ConvNd, *CONVOLUTIONS)}
_CONVOLVE: Final = (functional.conv1d, functional.conv2d, functional.conv3d)
_CONVOLVE_BACK: Final = (
    functional.conv_transpose1d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
)


@dataclass(frozen=True, eq=False)
class LinearMap:
    """Weight and geometry of a convolution, read once; calling it computes y = M x.

    Attributes:
        weight: (C', C / groups, *K); transposed: (C, C' / groups, *K); float32 or float64, on the
            CPU.
        transposed: whether the map is the adjoint of a convolution.
        groups: blocks of channels that do not see each other.
        stride: step along each axis.
        dilation: distance between taps along each axis.
        sides: positions added before and after each axis; transposed: left out of the output.
        mode: what the added positions hold: zeros, circular, reflect or replicate.
        input_shape: (C, *S).
        output_shape: (C', *S').
    """

    weight: Tensor
    transposed: bool
    groups: int
    stride: Sizes
    dilation: Sizes
    sides: Sides
    mode: str
    input_shape: Sizes
    output_shape: Sizes

    @property
    def kernel_size(self) -> Sizes:
        """Taps along each axis."""
        return tuple(self.weight.shape[2:])

    @property
    def coarse(self) -> Sizes:
        """Positions along each axis of the side that takes one step of the stride a position."""
        return (self.input_shape if self.transposed else self.output_shape)[1:]

    @property
    def fine(self) -> Sizes:
        """Positions along each axis of the side that the taps are laid over."""
        return (self.output_shape if self.transposed else self.input_shape)[1:]

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Numbers in an output, numbers in an input."""
        return math.prod(self.output_shape), math.prod(self.input_shape)

    def __call__(self, x: Tensor) -> Tensor:
        """The convolution of `x` (B, C, *S), by torch's own function."""
        rank = len(self.stride)
        if self.transposed:
            cut = [before for before, _ in self.sides]
            more = [before - after for before, after in self.sides]
            back = _CONVOLVE_BACK[rank - 1]
            return back(x, self.weight, None, self.stride, cut, more, self.groups, self.dilation)
        sides = [side for pair in reversed(self.sides) for side in pair]
        x = functional.pad(x, sides, mode="constant" if self.mode == "zeros" else self.mode)
        convolve = _CONVOLVE[rank - 1]
        return convolve(x, self.weight, None, self.stride, 0, self.dilation, self.groups)


def linear_map(layer: nn.Module, input_shape: Sequence[int]) -> LinearMap:
    """What `layer` computes of an input of this shape, without its bias.

    Args:
        layer: one of torch's convolutions or transposed convolutions, of rank 1 to 3, or one with
            TF-SAME padding; wrapped, compiled, parametrised or pruned ones too.
        input_shape: (B, C, *S) or (C, *S); the batch does not matter.

    Raises:
        OptionError: `layer` is no convolution, computes something else than torch's forward,
            is complex, or has no values.
        ShapeError: the shape does not fit the layer.
    """
    conv = _convolution(layer)
    weight, transposed = _weight(conv), isinstance(conv, _TRANSPOSED)
    channels = weight.shape[0] if transposed else weight.shape[1] * conv.groups
    size = _size(input_shape, channels, weight.ndim - 2)
    sides, mode = _padding(conv, size, tuple(weight.shape[2:]))
    geometry = zip(size, weight.shape[2:], conv.stride, conv.dilation, sides, strict=True)
    if transposed:
        out = [(n - 1) * s + d * (k - 1) + 1 - sum(cut) for n, k, s, d, cut in geometry]
        filters = weight.shape[1] * conv.groups
    else:
        _check_fold(mode, size, sides, input_shape)
        out = [(n + sum(pads) - d * (k - 1) - 1) // s + 1 for n, k, s, d, pads in geometry]
        filters = weight.shape[0]
    if min(out) < 1:
        raise ShapeError(
            f"input_shape (={tuple(input_shape)}) is too small: the layer's output would have "
            f"{tuple(max(n, 0) for n in out)} positions; give more along the axes with 0."
        )
    return LinearMap(
        weight=weight,
        transposed=transposed,
        groups=conv.groups,
        stride=conv.stride,
        dilation=conv.dilation,
        sides=sides,
        mode=mode,
        input_shape=(channels, *size),
        output_shape=(filters, *out),
    )


def _convolution(layer: object) -> _ConvNd:
    """The layer, out of its wrappers, if its forward is one that is known here."""
    conv = unwrapped(layer) if isinstance(layer, nn.Module) else layer
    if not isinstance(conv, (*CONVOLUTIONS, *_TRANSPOSED)):
        raise OptionError(
            f"layer (={type(conv).__name__}) must be a convolution, nn.Conv1d to nn.Conv3d or "
            "nn.ConvTranspose1d to nn.ConvTranspose3d; of a network, pass one of its layers."
        )
    called = (
        getattr(conv.forward, "__func__", None),
        getattr(conv._conv_forward, "__func__", None),
    )
    if called[0] not in _FORWARDS or called[1] not in _CONV_FORWARDS:
        raise OptionError(
            f"layer (={type(conv).__name__}) has a forward of its own, so that its weight does not "
            "say what it computes; pass one of torch's convolutions with the same weight."
        )
    return conv


def _weight(conv: _ConvNd) -> Tensor:
    """A copy of the weight that the layer's next call in eval mode would use.

    The older ways to normalise or prune a weight compute it in a hook before each call, so that the
    attribute may be out of date; these hooks are run.
    """
    with untouched(conv), torch.inference_mode(False), torch.no_grad():
        conv.eval()
        for hook in [*conv._forward_pre_hooks.values()]:
            if isinstance(hook, WeightNorm | SpectralNorm | BasePruningMethod):
                hook(conv, ())
        weight = conv.weight.detach()
        if weight.is_meta or weight.is_complex():
            kind = "has no values (device meta)" if weight.is_meta else "is complex"
            raise OptionError(f"layer.weight {kind}; it must hold real numbers.")
        kept = weight.dtype in (torch.float32, torch.float64)
        dtype = weight.dtype if kept else torch.float32
        return weight.to("cpu", dtype, copy=True).contiguous()


def _size(input_shape: Sequence[int], channels: int, rank: int) -> Sizes:
    """The spatial part of `input_shape`, checked."""
    wanted = f"(B, {channels}, {('L', 'H, W', 'D, H, W')[rank - 1]})"
    shape = sizes(input_shape)
    if len(shape) not in (rank + 1, rank + 2) or min(shape) < 1:
        raise ShapeError(
            f"input_shape (={shown(input_shape)}) must be {wanted}, whole numbers of 1 or "
            "more; the batch may be left out."
        )
    if shape[-rank - 1] != channels:
        raise ShapeError(
            f"input_shape (={shape}) has {shape[-rank - 1]} channels where the layer reads "
            f"{channels}; it must be {wanted}."
        )
    return shape[-rank:]


def _padding(conv: _ConvNd, size: Sizes, kernel_size: Sizes) -> tuple[Sides, str]:
    """Positions before and after each axis, and what they hold."""
    if isinstance(conv, _SAME):
        flat = same_padding(size, kernel_size, conv.stride, conv.dilation)
        return tuple(zip(flat[-2::-2], flat[::-2], strict=True)), "zeros"
    if conv.padding == "same":
        totals = [d * (k - 1) for d, k in zip(conv.dilation, kernel_size, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals), conv.padding_mode
    if isinstance(conv.padding, str):
        return ((0, 0),) * len(size), conv.padding_mode
    more = conv.output_padding if isinstance(conv, _TRANSPOSED) else (0,) * len(size)
    for extra, s, d in zip(more, conv.stride, conv.dilation, strict=True):
        if extra >= max(s, d):
            raise OptionError(
                f"output_padding (={conv.output_padding}) of the layer must be below its stride "
                f"(={conv.stride}) or its dilation (={conv.dilation}); torch refuses it, too."
            )
    return tuple((p, p - q) for p, q in zip(conv.padding, more, strict=True)), conv.padding_mode


def _check_fold(mode: str, size: Sizes, sides: Sides, input_shape: Sequence[int]) -> None:
    """Refuse a reflection or a turn that would reach past the input's other end."""
    room = {"reflect": [n - 1 for n in size], "circular": size}.get(mode)
    for limit, pads in zip(room or (), sides, strict=bool(room)):
        if max(pads) > limit:
            raise ShapeError(
                f"input_shape (={tuple(input_shape)}) is too small: padding_mode {mode!r} cannot "
                f"add {max(pads)} positions where it may add {limit} at most."
            )
