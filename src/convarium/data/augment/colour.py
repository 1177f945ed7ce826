"""Operations on the colours of 8-bit pictures, with the arithmetic of Pillow where it has them.

Point operations are tables of 256 values for each sample, applied by one gather. Sums over a
picture are sums of whole numbers, so that a sample's result does not depend on its batch.

Shape:
    pixels: uint8 `(n, C, H, W)`, C 1 or 3; factors and other strengths: `(n,)`.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GREY = (0.299, 0.587, 0.114)
_GREY_WHOLE = (19_595, 38_470, 7_471)  # the same times 2^16, as Pillow has them
_CHUNK = 2**15  # pixels in one piece of work, so that it stays in the cache


def luma(pixels: Tensor) -> Tensor:
    """Grey by ITU-R 601, uint8 `(n, 1, H, W)`; grey pictures stay as they are."""
    if pixels.shape[1] == 1:
        return pixels
    total: Tensor = sum(  # type: ignore[assignment]
        pixels[:, k : k + 1].to(torch.int32).mul_(weight) for k, weight in enumerate(_GREY_WHOLE)
    )
    return total.add_(2**15).bitwise_right_shift_(16).to(torch.uint8)


def grey(pixels: Tensor) -> Tensor:
    """Grey with as many channels as before."""
    return luma(pixels).expand_as(pixels).contiguous()


def look_up(pixels: Tensor, tables: Tensor) -> Tensor:
    """The table's entry for each value.

    Shape:
        tables: uint8 `(n, 1, 256)`, or `(n, C, 256)` for channels of their own.
    """
    rows = pixels.flatten(2)
    tables = tables.expand(-1, rows.shape[1], -1)
    return tables.gather(2, rows.long()).view_as(pixels)


def brightness(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with black: factor * v, clipped, rounded down."""
    return look_up(pixels, _blended(torch.zeros(1, device=pixels.device), factors))


def contrast(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with the picture's mean grey m, rounded: m + factor * (v - m), clipped."""
    means = grey_means(pixels).add_(0.5).floor_().float()
    return look_up(pixels, _blended(means, factors))


def grey_means(pixels: Tensor) -> Tensor:
    """Mean of each picture in grey, float64 `(n,)`, from sums of whole numbers."""
    shades = luma(pixels).flatten(1)
    return shades.sum(1, dtype=torch.int64).double() / shades.shape[1]


def _blended(base: Tensor, factors: Tensor) -> Tensor:
    """Tables of base + factor * (v - base), clipped to 0 .. 255 and rounded down."""
    shade = base.view(-1, 1, 1)
    values = torch.arange(256.0, device=shade.device) - shade
    return (values * factors.float().view(-1, 1, 1) + shade).clamp_(0, 255).to(torch.uint8)


def posterize(pixels: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest `bits` (int64, 0 to 8) bits of each value."""
    kept = 256 - torch.bitwise_left_shift(torch.ones_like(bits), 8 - bits)
    return pixels & kept.to(torch.uint8).view(-1, 1, 1, 1)


def solarize(pixels: Tensor, thresholds: Tensor) -> Tensor:
    """Turn values at and above the threshold around: 255 - v."""
    turned = pixels.to(torch.int16) >= thresholds.to(torch.int16).view(-1, 1, 1, 1)
    return pixels ^ turned.to(torch.uint8).mul_(255)


def autocontrast(pixels: Tensor) -> Tensor:
    """Stretch each channel so that its darkest value is 0 and its brightest 255."""
    rows = pixels.flatten(2)
    low, high = (each.double().unsqueeze(2) for each in (rows.amin(2), rows.amax(2)))
    scale = 255 / (high - low).clamp_(min=1)
    values = torch.arange(256, dtype=torch.float64, device=pixels.device)
    stretched = (values * scale - low * scale).clamp_(0, 255)
    return look_up(pixels, torch.where(high > low, stretched, values).to(torch.uint8))


def equalize(pixels: Tensor) -> Tensor:
    """Level each channel's histogram: v becomes (step/2 + number below v) / step, rounded down."""
    rows = pixels.flatten(2).flatten(0, 1)
    counts = torch.stack([torch.bincount(row, minlength=256) for row in rows]).to(torch.int32)
    below = counts.cumsum(1, dtype=torch.int32) - counts
    last = counts.gather(1, rows.amax(1).long()[:, None])
    step = (rows.shape[1] - last) // 255
    level = (step // 2 + below) // step.clamp(min=1)
    same = torch.arange(256, dtype=torch.int32, device=pixels.device)
    tables = torch.where(step > 0, level.clamp_(max=255), same)
    return look_up(pixels, tables.to(torch.uint8).view(*pixels.shape[:2], 256))


def saturation(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with the picture in grey: g + factor * (v - g), clipped; grey pictures stay."""
    return pixels if pixels.shape[1] == 1 else _blend(luma(pixels), pixels, factors)


def sharpness(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with the picture smoothed by (1 1 1, 1 5 1, 1 1 1) / 13; the edges stay."""
    height, width = pixels.shape[2:]
    if min(height, width) < 3:
        return pixels
    values = pixels.to(torch.int16)
    rows = values[:, :, :-2] + values[:, :, 1:-1] + values[:, :, 2:]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    total.add_(values[:, :, 1:-1, 1:-1], alpha=4)
    smooth = pixels.clone()
    smooth[:, :, 1:-1, 1:-1] = total.float().div_(13).add_(0.5).to(torch.uint8)
    return _blend(smooth, pixels, factors)


def _blend(base: Tensor, pixels: Tensor, factors: Tensor) -> Tensor:
    """The base + factor * (pixels - base), clipped, rounded down."""
    start = base.float()
    step = pixels.float().sub_(start).mul_(factors.float().view(-1, 1, 1, 1))
    return step.add_(start).clamp_(0, 255).to(torch.uint8)


def jitter(
    pixels: Tensor, bright: Tensor, contrasts: Tensor, saturations: Tensor, hues: Tensor
) -> Tensor:
    """Brightness, contrast, saturation and hue, in this order for every sample.

    Brightness is rounded to 8 bits; the other three are one pass of float32 that is rounded once.

    Args:
        pixels: uint8 `(n, C, H, W)`; grey pictures have no saturation and no hue.
        bright: factor of each sample, as in `brightness`.
        contrasts: factor of each sample, about the mean grey of the brightened picture.
        saturations: factor of each sample, as in `saturation`.
        hues: turn of the colour circle, 1 being all of it.
    """
    lit = look_up(pixels, _rounded(bright)).flatten(2)
    sums = lit.sum(2, dtype=torch.int64).double()
    weights = sums.new_tensor(_GREY if pixels.shape[1] == 3 else (1.0,))
    means = sums.mul_(weights).sum(1) / lit.shape[2]
    changed = torch.empty_like(lit)
    size = max(1, _CHUNK // lit.shape[2])
    for start in range(0, len(lit), size):
        part = slice(start, start + size)
        factor, mean = contrasts[part, None, None].float(), means[part, None, None].float()
        values = lit[part].float().mul_(factor).add_(mean * (1 - factor)).clamp_(0, 255)
        if pixels.shape[1] == 3:
            _saturate(values, saturations[part, None].float())
            turn_hue(values, hues[part, None].float())
        changed[part] = values.add_(0.5)
    return changed.view_as(pixels)


def _rounded(factors: Tensor) -> Tensor:
    """Tables of factor * v, clipped and rounded to the nearest."""
    values = torch.arange(256.0, device=factors.device) * factors.float().view(-1, 1, 1)
    return values.add_(0.5).clamp_(0, 255).to(torch.uint8)


def _saturate(values: Tensor, factors: Tensor) -> None:
    """Blend with grey in place, float `(n, 3, P)` in 0 .. 255; factors `(n, 1)`."""
    red, green, blue = values.unbind(1)
    shade = (red * _GREY[0]).add_(green * _GREY[1]).add_(blue * _GREY[2]).mul_(1 - factors)
    values.mul_(factors[:, None]).add_(shade[:, None]).clamp_(0, 255)


def turn_hue(values: Tensor, turns: Tensor) -> None:
    """Turn the hue of HSV in place; value and chroma stay.

    With the hue h in [0, 6) the channels become low + chroma * s, s = |h - 3| - 1 for red,
    2 - |h - 2| for green and 2 - |h - 4| for blue, clipped to [0, 1].

    Args:
        values: float `(n, 3, P)`, of any scale.
        turns: share of the circle, `(n, 1)`.
    """
    red, green, blue = values.unbind(1)
    top = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = top - low
    is_red, is_green = top == red, top == green
    hue = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    hue.div_(chroma.clamp(min=1e-6))
    hue.add_(torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0))).add_(6 * turns)
    hue.sub_(hue.div(6).floor_().mul_(6))
    shares = (
        (hue - 3).abs_().sub_(1),
        (hue - 2).abs_().neg_().add_(2),
        (hue - 4).abs_().neg_().add_(2),
    )
    for channel, share in enumerate(shares):
        torch.add(share.clamp_(0, 1).mul_(chroma), low, out=values[:, channel])
