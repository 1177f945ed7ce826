"""The laws of cost: what separating a convolution saves, and how a network grows on all sides."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction

from convarium.errors import OptionError
from convarium.measure.arguments import real, shown, whole


@dataclass(frozen=True)
class CompoundScaling:
    """By how much a network grows in each of its three sizes.

    Attributes:
        phi: the coefficient.
        depth: factor of the number of blocks.
        width: factor of the channels.
        resolution: factor of the positions along each axis.
        flops: factor of the multiply-adds, depth x width^2 x resolution^2.
    """

    phi: float
    depth: float
    width: float
    resolution: float
    flops: float

    def to_json(self) -> dict[str, float]:
        """The factors as JSON-able values."""
        return asdict(self)


def depthwise_cost_ratio(out_channels: int, kernel_size: int, spatial_dims: int = 2) -> float:
    """Cost of a depthwise separable convolution, as a part of the standard one's.

    (C k^d + C C') / (C C' k^d) = 1 / C' + 1 / k^d, for weights and for multiply-adds, without norms
    and biases. With its two batch norms, a block of 256 channels and 3x3 taps has 68,864 parameters
    (not the 68,352 that circulate), .117 of the standard one's: see `separable_against_standard`.

    Args:
        out_channels: C'.
        kernel_size: k, taps along each axis.
        spatial_dims: d, the number of axes: 1, 2 or 3.

    Raises:
        OptionError: a number is not whole or is below 1, or there are more than three axes.

    Example:
        >>> round(depthwise_cost_ratio(256, 3), 3)
        0.115

    References:
        Howard et al. 2017, "MobileNets", arXiv:1704.04861, section 3.1.
    """
    filters = whole(1, out_channels=out_channels)
    taps = whole(1, kernel_size=kernel_size)
    axes = whole(1, spatial_dims=spatial_dims)
    if axes > 3:
        raise OptionError(f"spatial_dims (={axes}) must be 1 (signals), 2 (images) or 3 (volumes).")
    return float(Fraction(1, filters) + Fraction(1, taps**axes))


def compound_scaling(
    phi: float, alpha: float = 1.2, beta: float = 1.1, gamma: float = 1.15
) -> CompoundScaling:
    """Depth, width and resolution, all by one coefficient.

    depth = alpha^phi, width = beta^phi, resolution = gamma^phi, and with alpha beta^2 gamma^2 near
    2 the multiply-adds double with every step of phi.

    EfficientNet-B0 is phi = 0. The published B1 to B7 are not exact powers: B7 has width 2.0, depth
    3.1 and 600 pixels, which are phi = 7.3, 6.2 and 7.0.

    Args:
        phi: the coefficient; 0 changes nothing, a negative one makes the network smaller.
        alpha: factor of the depth for phi = 1.
        beta: factor of the width.
        gamma: factor of the resolution.

    Raises:
        OptionError: an argument is no finite number, a factor is not above 0, or the result is
            beyond what a float can hold.

    Example:
        >>> grown = compound_scaling(1)
        >>> grown.depth, grown.width, grown.resolution, round(grown.flops, 3)
        (1.2, 1.1, 1.15, 1.92)

    References:
        Tan, Le 2019, "EfficientNet", arXiv:1905.11946, equation 3.
    """
    exponent = _finite("phi", phi)
    a, b, c = (_finite(*pair) for pair in (("alpha", alpha), ("beta", beta), ("gamma", gamma)))
    for name, value in (("alpha", a), ("beta", b), ("gamma", c)):
        if value <= 0:
            raise OptionError(f"{name} (={value!r}) must be above 0.")
    try:
        factors = [base**exponent for base in (a, b, c)]
        factors.append(factors[0] * factors[1] ** 2 * factors[2] ** 2)
    except OverflowError:
        factors = [math.inf]
    if not all(0 < factor < math.inf for factor in factors):
        raise OptionError(
            f"phi (={phi!r}) with these factors gives sizes beyond what a float can hold; take one "
            "nearer to 0."
        )
    return CompoundScaling(exponent, *factors)


def _finite(name: str, value: float) -> float:
    """The value as a `float`, which is finite."""
    number = real(value)
    if not math.isfinite(number):
        raise OptionError(f"{name} (={shown(value)}) must be a finite number.")
    return number
