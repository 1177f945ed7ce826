"""JPEG by libjpeg-turbo: Pillow's bits at full size, its draft mode's at reduced ones."""

from __future__ import annotations

import io

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convarium.data import jpeg
from convarium.data.decode import read_image
from convarium.errors import DataError


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Smooth colours with an edge, so that every frequency of a block is in use."""
    y, x = np.mgrid[:height, :width]
    planes = [(x * 7 + y) % 256, (x * y) % 256, np.where(x > y, 230, 20)]
    return Image.fromarray(np.stack(planes, -1).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def turbo(data: bytes, at_least: tuple[int, int] | None = None) -> np.ndarray | None:
    with Image.open(io.BytesIO(data)) as image:
        return jpeg.decode(image, at_least)


@settings(max_examples=150, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    quality=st.integers(1, 100),
    subsampling=st.integers(0, 2),
    progressive=st.booleans(),
    mode=st.sampled_from(["RGB", "L"]),
)
def test_the_bits_are_those_of_pillow(sides, quality, subsampling, progressive, mode):
    options = {"subsampling": subsampling} if mode == "RGB" else {}
    data = encoded(picture(*sides, mode), quality=quality, progressive=progressive, **options)
    found = turbo(data)
    assert found is not None
    assert np.array_equal(found, by_pillow(data))


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "440", "411"])
def test_no_subsampling_changes_that(subsampling):
    pixels = np.asarray(picture(75, 53))
    data = simplejpeg.encode_jpeg(pixels, 90, colorsubsampling=subsampling)
    assert simplejpeg.decode_jpeg_header(data)[3] == subsampling
    assert np.array_equal(turbo(data), by_pillow(data))


@pytest.mark.parametrize("part", [2, 4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_reduced_scales_are_those_of_pillows_draft_mode(part, mode):
    data = encoded(picture(301, 203, mode))
    with Image.open(io.BytesIO(data)) as image:
        image.draft(mode, (301 // part, 203 // part))
        drafted = np.asarray(image).reshape(image.height, image.width, -1)
    assert np.array_equal(turbo(data, (203 // part, 301 // part)), drafted)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 130), st.integers(1, 130), st.integers(1, 130), st.integers(1, 130))
def test_what_is_asked_for_is_there_and_only_twice_as_much_is_reduced(width, height, wide, tall):
    data = encoded(picture(width, height))
    found = turbo(data, (tall, wide))
    assert found is not None
    if height >= 2 * tall and width >= 2 * wide:
        assert tall <= found.shape[0] <= -(-height // 2)
        assert wide <= found.shape[1] <= -(-width // 2)
    else:
        assert found.shape[:2] == (height, width)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_file_is_enough_in_its_upright_sides(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = orientation >= 5
    stored = picture(200, 60) if not lying else picture(60, 200)
    data = encoded(stored, exif=exif, quality=95)
    whole, reduced = read_image(data), read_image(data, at_least=(30, 90))
    assert whole.shape == (60, 200, 3)
    assert reduced.shape == (30, 100, 3)
    means = whole.reshape(30, 2, 100, 2, 3).mean((1, 3))
    assert (
        np.abs(means - reduced).mean() < 12
    )  # the same way up: another one differs by 60 and more


def test_cmyk_colours_stored_as_rgb_and_other_formats_are_left_to_pillow():
    plain = picture(20, 10)
    assert turbo(encoded(plain.convert("CMYK"))) is None
    assert turbo(encoded(plain, keep_rgb=True)) is None
    file = io.BytesIO()
    plain.save(file, "PNG")
    assert turbo(file.getvalue()) is None
    assert np.array_equal(read_image(file.getvalue(), at_least=(2, 2)), np.asarray(plain))
    kept = encoded(plain, keep_rgb=True)
    assert np.array_equal(read_image(kept), by_pillow(kept))


@pytest.mark.parametrize("missing", [1, 2, 40, 400])
def test_a_file_cut_short_is_left_to_pillow_which_refuses_it(missing):
    data = encoded(picture(120, 90))[:-missing]
    assert turbo(data) is None
    with pytest.raises(DataError, match="damaged or cut short"):
        read_image(data)
