"""Operations on colours, against Pillow's, the standard library's, and closed forms."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from convarium.data.augment import colour

FACTORS = [0.0, 0.1, 0.63, 1.0, 1.27, 1.9]


def pictures(channels: int, side: int = 19) -> NDArray[np.uint8]:
    """Noise, a smooth ramp, a flat picture, few values, and narrow ranges."""
    random = np.random.default_rng(channels)
    shape = (channels, side, side + 4)
    ramp = np.linspace(0, 255, shape[2], dtype=np.uint8)
    return np.stack(
        [
            random.integers(0, 256, shape, dtype=np.uint8),
            np.broadcast_to(ramp, shape),
            np.full(shape, 77, np.uint8),
            random.choice(np.array([0, 200, 255], np.uint8), shape),
            random.integers(90, 130, shape, dtype=np.uint8),
            random.integers(0, 3, shape, dtype=np.uint8),
        ]
    )


def as_image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0).copy())


def as_pixels(image: Image.Image) -> NDArray[np.uint8]:
    found = np.asarray(image)
    return found[None] if found.ndim == 2 else found.transpose(2, 0, 1)


def by_pillow(images: NDArray[np.uint8], operation: Callable[[Image.Image], Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([as_pixels(operation(as_image(one))) for one in images]))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_stretched_and_levelled_histograms_are_those_of_pillow(name: str, channels: int) -> None:
    images = pictures(channels)
    found = getattr(colour, name)(torch.from_numpy(images))
    assert torch.equal(found, by_pillow(images, getattr(ImageOps, name)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", range(1, 9))
def test_posterized_pictures_are_those_of_pillow(bits: int, channels: int) -> None:
    images = pictures(channels)
    found = colour.posterize(torch.from_numpy(images), torch.full((len(images),), bits))
    assert torch.equal(found, by_pillow(images, lambda image: ImageOps.posterize(image, bits)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("threshold", [0, 1, 128, 255, 256])
def test_solarized_pictures_are_those_of_pillow(threshold: int, channels: int) -> None:
    images = pictures(channels)
    found = colour.solarize(torch.from_numpy(images), torch.full((len(images),), threshold))
    assert torch.equal(found, by_pillow(images, lambda image: ImageOps.solarize(image, threshold)))


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("operation", "enhancer"),
    [
        (colour.brightness, ImageEnhance.Brightness),
        (colour.contrast, ImageEnhance.Contrast),
        (colour.saturation, ImageEnhance.Color),
        (colour.sharpness, ImageEnhance.Sharpness),
    ],
)
def test_blends_are_those_of_pillow(
    operation: Callable[[Tensor, Tensor], Tensor],
    enhancer: Callable[[Image.Image], ImageEnhance._Enhance],
    channels: int,
    factor: float,
) -> None:
    images = pictures(channels)
    factors = torch.full((len(images),), factor, dtype=torch.float64)
    found = operation(torch.from_numpy(images), factors)
    wanted = by_pillow(images, lambda image: enhancer(image).enhance(factor))
    assert torch.equal(found, wanted)


def test_each_sample_has_its_own_factor() -> None:
    image = torch.from_numpy(pictures(3)[:1])
    factors = torch.tensor([0.2, 1.7])
    for operation in (colour.brightness, colour.contrast, colour.saturation, colour.sharpness):
        both = operation(image.repeat(2, 1, 1, 1), factors)
        for place in (0, 1):
            assert torch.equal(both[place], operation(image, factors[place : place + 1])[0])


def test_grey_is_that_of_pillow_in_every_channel() -> None:
    images = pictures(3)
    found = colour.grey(torch.from_numpy(images))
    wanted = by_pillow(images, lambda image: image.convert("L"))
    assert found.shape == images.shape
    assert torch.equal(found, wanted.expand(-1, 3, -1, -1))
    single = torch.from_numpy(pictures(1))
    assert torch.equal(colour.grey(single), single)


def test_pictures_too_small_to_smooth_stay() -> None:
    image = torch.arange(8, dtype=torch.uint8).view(1, 1, 2, 4)
    assert torch.equal(colour.sharpness(image, torch.tensor([0.0])), image)


@pytest.mark.parametrize("turn", [-0.25, -0.1, 0.0, 0.04, 0.25, 0.5])
def test_a_turned_hue_is_that_of_colorsys(turn: float) -> None:
    corners = [[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)]
    random = np.random.default_rng(0).random((400, 3))
    greys = np.repeat(np.linspace(0, 1, 9)[:, None], 3, axis=1)
    colours = np.concatenate([corners, random, greys])
    wanted = []
    for red, green, blue in colours:
        hue, depth, value = colorsys.rgb_to_hsv(red, green, blue)
        wanted.append(colorsys.hsv_to_rgb((hue + turn) % 1, depth, value))
    values = torch.from_numpy(colours.T[None].copy()).float()
    colour.turn_hue(values, torch.tensor([[turn]]))
    assert values[0].T.numpy() == pytest.approx(np.array(wanted), abs=2e-6)


def settings(n: int, *values: float) -> list[Tensor]:
    return [torch.full((n,), value, dtype=torch.float64) for value in values]


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("channels", [1, 3])
def test_one_setting_of_jitter_is_pillow_s_but_for_its_rounding(
    channels: int, factor: float
) -> None:
    images = pictures(channels)
    for place, enhancer in enumerate(
        (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    ):
        strengths = [1.0, 1.0, 1.0, 0.0]
        strengths[place] = factor
        found = colour.jitter(torch.from_numpy(images), *settings(len(images), *strengths))
        wanted = by_pillow(images, lambda image, kind=enhancer: kind(image).enhance(factor))
        assert (found.int() - wanted.int()).abs().max() <= 1


def test_the_settings_of_jitter_follow_each_other() -> None:
    """Brightness, contrast, saturation, hue: each by its formula in float64, rounded at the end."""
    image = pictures(3)[0].astype(np.float64)
    weights = np.array([0.299, 0.587, 0.114])[:, None, None]
    lit = np.floor((image * 1.25).clip(0, 255) + 0.5)
    mean = (lit * weights).sum(0).mean()
    values = (mean + 0.7 * (lit - mean)).clip(0, 255)
    shade = (values * weights).sum(0)
    values = (shade + 1.4 * (values - shade)).clip(0, 255) / 255
    turned = []
    for red, green, blue in values.reshape(3, -1).T:
        hue, depth, value = colorsys.rgb_to_hsv(red, green, blue)
        turned.append(colorsys.hsv_to_rgb((hue + 0.07) % 1, depth, value))
    wanted = 255 * np.array(turned).T.reshape(image.shape)
    changed = colour.jitter(torch.from_numpy(pictures(3)[:1]), *settings(1, 1.25, 0.7, 1.4, 0.07))
    assert changed[0].numpy() == pytest.approx(wanted, abs=0.51)


def test_jitter_that_changes_nothing_changes_nothing() -> None:
    for channels in (1, 3):
        images = torch.from_numpy(pictures(channels))
        assert torch.equal(colour.jitter(images, *settings(len(images), 1, 1, 1, 0)), images)
