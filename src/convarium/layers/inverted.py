"""The inverted residual: wide inside, narrow where blocks meet.

x -> 1x1, wide -> depthwise k -> 1x1, narrow -> [+ x]
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, and narrow without an activation.

        x -> 1x1 to t C -> depthwise k, stride s -> 1x1 to C' -> [+ x]

    Each convolution is followed by its norm and, but for the last, the activation. Without
    expansion (t = 1) the first convolution is left out.

    Args:
        layer: makes convolution -> norm -> activation: `ConvNormAct` with its first argument and
            its options filled in.
        before: channels of the input, C.
        after: channels of the output, C'.
        kernel_size: of the depthwise convolution, k.
        expansion: t.
        stride: of the depthwise convolution, s.
        dilation: of the depthwise convolution.
        residual: add the input; it needs C = C' and s = 1.

    Shape:
        (B, C, *S) -> (B, C', *ceil(S / s))

    Example:
        >>> from functools import partial
        >>> from convarium.layers import ConvNormAct
        >>> block = InvertedResidual(partial(ConvNormAct, 1), 8, 8, expansion=6)
        >>> block.depthwise.conv
        Conv1d(48, 48, kernel_size=(3,), stride=(1,), padding=(1,), groups=48, bias=False)

    References:
        Sandler et al. 2018, arXiv:1801.04381, table 1 and figure 4 (d).
    """

    def __init__(
        self,
        layer: Callable[..., nn.Module],
        before: int,
        after: int,
        kernel_size: int = 3,
        *,
        expansion: int,
        stride: int = 1,
        dilation: int = 1,
        residual: bool = True,
    ) -> None:
        super().__init__()
        wide = before * expansion
        place = {"stride": stride, "dilation": dilation, "groups": wide}
        self.expand = layer(before, wide) if expansion > 1 else nn.Identity()
        self.depthwise = layer(wide, wide, kernel_size, **place)
        self.project = layer(wide, after, activation=None)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, *S) to (B, C', *S')."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y
