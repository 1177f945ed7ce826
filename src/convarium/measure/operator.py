"""The operator itself: convolution as a sum over taps, and as a product with a sparse matrix.

    y[o] = sum_t w[t] x[o + t]        cross-correlation, what frameworks call convolution
    y[o] = sum_t w[t] x[o - t]        convolution: the same with the kernel flipped
    y    = M x                        M banded, each row the one above moved by the stride

With one axis and stride 1, M is a Toeplitz matrix: constant along its diagonals. With two axes it
is block Toeplitz with Toeplitz blocks ("doubly block Toeplitz"), with channels a matrix of those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from convarium.errors import OptionError, ShapeError
from convarium.measure.arguments import one_of, tensor
from convarium.measure.linear_map import linear_map
from convarium.measure.running import explained, reason
from convarium.measure.toeplitz import matrix_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array  # type: ignore[import-untyped]

Mode = Literal["valid", "same", "full"]

_SIDES: Final[dict[Mode, Callable[[int], tuple[int, int]]]] = {
    "valid": lambda k: (0, 0),
    "same": lambda k: ((k - 1) // 2, k // 2),
    "full": lambda k: (k - 1, k - 1),
}
_CORRELATE: Final[tuple[Callable[..., Tensor], ...]] = (
    functional.conv1d,
    functional.conv2d,
    functional.conv3d,
)


def cross_correlate(x: Tensor, kernel: Tensor, *, mode: Mode = "valid") -> Tensor:
    """Slide `kernel` over `x` and sum the products: what frameworks call convolution.

    y[o] = sum_t kernel[t] x[o + t - left], with zeros outside of `x`.

    Args:
        x: numbers along 1 to 3 axes, without batch and channels.
        kernel: taps along the same axes; complex ones are not conjugated.
        mode: "valid": only where the kernel lies inside, left = 0. "same": as many positions as
            `x`, left = (k - 1) // 2, as torch pads; of an even kernel, the odd zero stands behind.
            "full": wherever they touch, left = k - 1.

    Shape:
        (*S), (*K) -> (*S - K + 1), (*S) or (*S + K - 1)

    Raises:
        OptionError: there is no such mode, both are of type bool, or torch has no sums of such
            numbers.
        ShapeError: the axes differ, or are not 1 to 3, or there is nothing to sum.

    Example:
        >>> x = torch.tensor([1.0, 3, 2, 4, 1, 5, 2])
        >>> cross_correlate(x, torch.tensor([0.5, 1, 0.5])).tolist()
        [4.5, 5.5, 5.5, 5.5, 6.5]

    References:
        Goodfellow, Bengio, Courville 2016, "Deep learning", equation 9.6.
    """
    one_of(get_args(Mode), mode=mode)
    if tensor(x=x).device != tensor(kernel=kernel).device:
        raise OptionError(
            f"kernel is on the device {kernel.device} and x on {x.device}; put both on one."
        )
    if x.ndim != kernel.ndim or x.ndim not in (1, 2, 3) or not (x.numel() and kernel.numel()):
        raise ShapeError(
            f"x {tuple(x.shape)} and kernel {tuple(kernel.shape)} must have the same 1 to 3 axes "
            "with numbers along each; take batch and channels away, or call the layer itself."
        )
    if mode == "valid" and any(k > n for k, n in zip(kernel.shape, x.shape, strict=True)):
        raise ShapeError(
            f"kernel {tuple(kernel.shape)} is longer than x {tuple(x.shape)}, so that it lies "
            "inside nowhere; take mode='same' or mode='full'."
        )
    if x.dtype == kernel.dtype == torch.bool:
        raise OptionError("x and kernel are both of type bool; make one a number: x.int().")
    sides = [side for k in reversed(kernel.shape) for side in _SIDES[mode](k)]
    try:
        kind = torch.promote_types(x.dtype, kernel.dtype)
        padded = functional.pad(x.to(kind), sides)
        y = _CORRELATE[x.ndim - 1](padded[None, None], kernel.to(kind)[None, None])
    except RuntimeError as error:
        raise OptionError(
            f"x of {x.dtype} and kernel of {kernel.dtype} cannot be summed: {reason(error)}; "
            "x.float() and kernel.float() can, where memory is enough."
        ) from error
    return y[0, 0]


def convolve(x: Tensor, kernel: Tensor, *, mode: Mode = "valid") -> Tensor:
    """Convolution as mathematics has it: `cross_correlate` with the kernel flipped on every axis.

    y[o] = sum_t kernel[t] x[o - t + k - 1 - left]; with mode "full" it is commutative and
    associative. With a symmetric kernel both are the same, and a network that learns its kernels
    cannot tell them apart.

    Args:
        x: numbers along 1 to 3 axes, without batch and channels.
        kernel: taps along the same axes.
        mode: see `cross_correlate`.

    Shape:
        (*S), (*K) -> (*S - K + 1), (*S) or (*S + K - 1)

    Raises:
        OptionError: there is no such mode.
        ShapeError: the axes differ, or are not 1 to 3, or there is nothing to sum.

    Example:
        >>> impulse, kernel = torch.tensor([0.0, 1, 0]), torch.tensor([1.0, 2, 3])
        >>> convolve(impulse, kernel, mode="same").tolist()
        [1.0, 2.0, 3.0]
        >>> cross_correlate(impulse, kernel, mode="same").tolist()
        [3.0, 2.0, 1.0]

    References:
        Goodfellow, Bengio, Courville 2016, "Deep learning", equations 9.4 and 9.6.
    """
    flipped = tensor(kernel=kernel).flip(tuple(range(kernel.ndim)))
    return cross_correlate(x, flipped, mode=mode)


def conv_matrix(layer: nn.Module, input_shape: Sequence[int]) -> csr_array:
    """The matrix M of a convolution, without its bias: layer(x) - bias = M x.

    Row (c', *o) holds the weights of output c' at position o, in the columns (c, *i) of the inputs
    they meet. A weight that meets nothing (zero padding) is left out; several that meet the same
    input (reflected padding) are one entry, their sum; a weight that is 0 is kept.

    Args:
        layer: one of torch's convolutions or transposed convolutions, of rank 1 to 3, with any
            stride, padding, dilation and groups, or one with TF-SAME padding.
        input_shape: (B, C, *S) or (C, *S); the batch does not matter.

    Shape:
        -> (C' prod(S'), C prod(S)): CSR with 32-bit indices, sorted, no position twice; values of
        the layer's type, float32 or float64, and float32 for any other

    Raises:
        OptionError: `layer` is no such convolution, has no values, or has a matrix too large for
            32-bit indices.
        ShapeError: the shape does not fit the layer.
        MissingExtraError: scipy is not installed.

    Example:
        >>> layer = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        >>> _ = layer.weight.data.copy_(torch.tensor([[[1.0, 2.0, 3.0]]]))
        >>> conv_matrix(layer, (1, 1, 4)).toarray().tolist()
        [[2.0, 3.0, 0.0, 0.0], [1.0, 2.0, 3.0, 0.0], [0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 1.0, 2.0]]

    References:
        Goodfellow, Bengio, Courville 2016, "Deep learning", section 9.1.
        Sedghi, Gupta, Long 2019, arXiv:1805.10408, section 2.
    """
    linear = linear_map(layer, input_shape)
    with explained(layer, linear.input_shape):
        return matrix_of(linear)
