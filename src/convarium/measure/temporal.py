"""How far back a temporal convolutional network sees, and how deep it must be to see so far.

A network of L levels with c dilated convolutions of K taps each, all with dilation b^i on level i:

    field = 1 + c (K - 1) (1 + b + ... + b^(L-1)) = 1 + c (K - 1) (b^L - 1) / (b - 1)

Everything is whole numbers, exact at any size.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from convarium.errors import OptionError
from convarium.measure.arguments import shown, whole

_MOST_BITS: Final = 2**24  # of a field; five million digits


def temporal_receptive_field(
    num_layers: int, kernel_size: int = 3, convs_per_layer: int = 2, dilation_base: int = 2
) -> int:
    """Steps of the input that one output step of a temporal convolutional network depends on.

    1 + c (K - 1) (b^L - 1) / (b - 1), and 1 + c (K - 1) L for b = 1. The residual block of the
    published network has c = 2 convolutions: four blocks with K = 3 see 61 steps and eight see
    1021. The 31 and 511 that circulate belong to c = 1, one convolution a level.

    The field goes from the first step that matters to the last. Between them none is left out as
    long as b <= 1 + c (K - 1).

    Args:
        num_layers: residual blocks L, 0 or more.
        kernel_size: taps K of each convolution.
        convs_per_layer: convolutions c of a block, all with the block's dilation.
        dilation_base: b, the factor between the dilations of one block and the next.

    Raises:
        OptionError: an argument is no whole number, `num_layers` is negative or beyond any use, or
            another is below 1.

    Example:
        >>> [temporal_receptive_field(n, kernel_size=3) for n in (0, 1, 4, 8)]
        [1, 5, 61, 1021]
        >>> temporal_receptive_field(4, kernel_size=3, convs_per_layer=1)
        31

    References:
        Bai, Kolter, Koltun 2018, arXiv:1803.01271, section 3.2 (dilations) and figure 1 (block).
    """
    layers = whole(0, num_layers=num_layers)
    step, base = _step_and_base(kernel_size, convs_per_layer, dilation_base)
    if step == 0:
        return 1
    if base > 1 and layers * base.bit_length() > _MOST_BITS:
        raise OptionError(
            f"num_layers (={shown(layers)}) gives a field of more digits than can be worked out; "
            "take fewer layers."
        )
    return 1 + step * (layers if base == 1 else (base**layers - 1) // (base - 1))


def layers_for_receptive_field(
    target: int, kernel_size: int = 3, convs_per_layer: int = 2, dilation_base: int = 2
) -> int:
    """The fewest residual blocks whose receptive field is at least `target` steps.

    The smallest L with 1 + c (K - 1) (b^L - 1) / (b - 1) >= target; 0 for a target of 1 or less,
    because an output step without any convolution sees one input step.

    Args:
        target: steps to see.
        kernel_size: taps K of each convolution.
        convs_per_layer: convolutions c of a block, all with the block's dilation.
        dilation_base: b, the factor between the dilations of one block and the next.

    Raises:
        OptionError: an argument is no whole number, one but `target` is below 1, or
            `kernel_size` is 1 and the target above 1, which no depth reaches.

    Example:
        >>> [layers_for_receptive_field(steps) for steps in (1, 5, 61, 62, 1000)]
        [0, 1, 4, 5, 8]

    References:
        Bai, Kolter, Koltun 2018, arXiv:1803.01271, section 3.2.
    """
    steps = whole(target=target)
    step, base = _step_and_base(kernel_size, convs_per_layer, dilation_base)
    if steps <= 1:
        return 0
    if step == 0:
        raise OptionError(
            "kernel_size (=1) reads one step, so that any number of layers sees one step and none "
            "reaches a target above 1; take a kernel_size of 2 or more."
        )
    levels = -(-(steps - 1) // step)  # what 1 + b + ... + b^(L-1) must reach
    return levels if base == 1 else _exponent(base, levels * (base - 1) + 1)


def _step_and_base(kernel_size: int, convs_per_layer: int, dilation_base: int) -> tuple[int, int]:
    """What a level with dilation 1 adds to the field, c (K - 1), and the base of dilations."""
    taps = whole(1, kernel_size=kernel_size)
    convs = whole(1, convs_per_layer=convs_per_layer)
    return convs * (taps - 1), whole(1, dilation_base=dilation_base)


def _exponent(base: int, bound: int) -> int:
    """The smallest L with base^L >= bound, for a base of 2 or more."""
    fewest = (bound.bit_length() - 1) // base.bit_length()
    most = -(-bound.bit_length() // (base.bit_length() - 1))
    candidates = range(fewest, most + 1)
    return candidates[bisect_left(candidates, True, key=lambda n: base**n >= bound)]
