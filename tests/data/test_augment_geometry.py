"""Affine maps and crops, against Pillow's and against pictures built by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from convarium.data import Preprocessing
from convarium.data.augment import crops, geometry
from convarium.data.augment.stream import Stream
from convarium.data.pictures import resized_box

IMAGE = np.random.default_rng(0).integers(0, 256, (3, 23, 31), dtype=np.uint8)


def one(value: float) -> NDArray[np.float64]:
    return np.array([value])


def pillow(matrix: NDArray[np.float64], filter_: Image.Resampling) -> NDArray[np.uint8]:
    image = Image.fromarray(IMAGE.transpose(1, 2, 0).copy())
    moved = image.transform(image.size, Image.Transform.AFFINE, tuple(matrix[0]), filter_)
    return np.asarray(moved).transpose(2, 0, 1)


@pytest.mark.parametrize("strength", [-0.99, -0.3, -0.011, 0.0, 0.13, 0.3, 0.77])
@pytest.mark.parametrize("name", ["shear_x", "shear_y", "translate_x", "translate_y", "rotate"])
def test_the_nearest_pixels_are_those_of_pillow(name: str, strength: float) -> None:
    if name == "rotate":
        matrix = geometry.rotate(one(100 * strength), *IMAGE.shape[1:])
    else:
        size = np.trunc(20 * strength) if "translate" in name else strength
        matrix = getattr(geometry, name)(one(size))
    found = geometry.nearest(torch.from_numpy(IMAGE[None]), matrix)
    assert (found[0].numpy() == pillow(matrix, Image.Resampling.NEAREST)).all()


def test_a_quarter_turn_goes_counter_clockwise() -> None:
    square = torch.from_numpy(IMAGE[None, :, :, :23])
    for turn in (geometry.nearest, geometry.bilinear):
        found = turn(square, geometry.rotate(one(90), 23, 23))
        assert torch.equal(found, torch.rot90(square, 1, (2, 3)))


@pytest.mark.parametrize("degrees", [-15.0, -3.3, 0.4, 7.0, 15.0])
def test_smooth_turns_are_those_of_pillow_inside(degrees: float) -> None:
    """Pillow rounds down and goes on with the edge's pixels; ours rounds and fades to black."""
    matrix = geometry.rotate(one(degrees), *IMAGE.shape[1:])
    found = geometry.bilinear(torch.from_numpy(IMAGE[None]), matrix)[0].numpy().astype(int)
    y, x = np.mgrid[:23, :31] + 0.5
    a, b, c, d, e, f = matrix[0]
    from_x, from_y = a * x + b * y + c, d * x + e * y + f
    inside = (from_x > 0.5) & (from_x < 30.5) & (from_y > 0.5) & (from_y < 22.5)
    assert inside.mean() > 0.7
    wanted = pillow(matrix, Image.Resampling.BILINEAR).astype(int)
    assert abs(found - wanted)[:, inside].max() <= 1
    outside = (from_x < -0.5) | (from_x > 31.5) | (from_y < -0.5) | (from_y > 23.5)
    assert not found[:, outside].any()


def test_no_turn_is_no_change() -> None:
    images = torch.from_numpy(IMAGE[None])
    for turn in (geometry.nearest, geometry.bilinear):
        assert torch.equal(turn(images, geometry.rotate(one(0), *IMAGE.shape[1:])), images)


def test_crops_and_flips_by_hand() -> None:
    image = np.arange(1, 10, dtype=np.uint8).reshape(1, 1, 3, 3).repeat(3, axis=0)
    starts = [np.array([1, 0, 2]), np.array([1, 2, 0])]
    cut = crops.padded_crop(image, (1, 1), starts)
    found = crops.flip(cut, np.array([False, True, False]), 3)[:, 0].tolist()
    assert found[0] == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert found[1] == [[0, 0, 0], [0, 3, 2], [0, 6, 5]]
    assert found[2] == [[0, 4, 5], [0, 7, 8], [0, 0, 0]]


@given(st.integers(1, 700), st.integers(1, 700), st.floats(0.001, 1), st.integers(0, 2**40))
def test_a_random_crop_lies_inside_with_its_share_and_ratio(
    height: int, width: int, low: float, i: int
) -> None:
    draws = crops.CropDraws(Stream(np.array([i]), 0, 0), low)
    top, left, h, w = draws.box(0, height, width)
    assert 0 <= top <= height - h
    assert 0 <= left <= width - w
    assert min(h, w) >= 1
    areas = draws.shares[0] * height * width
    drawn = zip(areas, draws.ratios[0], strict=True)
    tries = [(round((a / r) ** 0.5), round((a * r) ** 0.5)) for a, r in drawn]
    fitting = [(y, x) for y, x in tries if 0 < y <= height and 0 < x <= width]
    if fitting:
        assert (h, w) == fitting[0]
    else:
        assert (top, left) == ((height - h) // 2, (width - w) // 2)


def test_crops_cover_all_shares_ratios_and_places() -> None:
    n = 20_000
    draws = crops.CropDraws(Stream(np.arange(n), 1, 2), 0.08)
    boxes = np.array([draws.box(k, 400, 400) for k in range(n)])
    shares = boxes[:, 2] * boxes[:, 3] / 160_000
    assert shares.min() == pytest.approx(0.08, abs=0.002)
    small = shares[shares < 0.7]  # those always fit, so that they are evenly spread
    assert np.histogram(small, 4, (0.08, 0.7))[0] / len(small) == pytest.approx(
        [0.25] * 4, abs=0.02
    )
    ratios = np.log(boxes[:, 3] / boxes[:, 2])
    assert abs(ratios).max() == pytest.approx(np.log(4 / 3), abs=0.02)
    assert ratios.mean() == pytest.approx(0, abs=0.01)
    room = 400 - boxes[:, 2]
    assert (boxes[room > 20, 0] / room[room > 20]).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("height", "width"), [(1, 1000), (1000, 1), (2, 900)])
def test_thin_pictures_take_the_largest_centred_crop(height: int, width: int) -> None:
    draws = crops.CropDraws(Stream(np.arange(50), 0, 0), 1.0)
    for place in range(50):
        top, left, h, w = draws.box(place, height, width)
        assert (h, w) == (
            min(height, max(1, round(width * 4 / 3))),
            min(width, round(height * 4 / 3)),
        )
        assert (top, left) == ((height - h) // 2, (width - w) // 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_box_is_cut_and_resized_as_pillow_does_but_for_rounding(
    interpolation: str, depth: int, channels: int
) -> None:
    image = IMAGE.transpose(1, 2, 0)[..., :depth]
    steps = Preprocessing(
        (channels, 8, 9), (0.5,) * channels, (0.5,) * channels, interpolation=interpolation
    )
    found = resized_box(image, (3, 5, 17, 20), steps)
    cut = Image.fromarray(IMAGE[0] if depth == 1 else IMAGE.transpose(1, 2, 0).copy())
    cut = cut.crop((5, 3, 25, 20)).convert("RGB" if channels == 3 else "L")
    wanted = np.asarray(cut.resize((9, 8), Image.Resampling[interpolation.upper()]))
    assert found.shape == (channels, 8, 9)
    pixels = found.permute(1, 2, 0).reshape(wanted.shape).numpy().astype(int)
    assert np.abs(pixels - wanted).max() <= 1  # torch rounds its weights to other integers
