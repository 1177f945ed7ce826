"""A map over its picture: the colours, what an image is, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from convarium.errors import DataError, OptionError, ShapeError
from convarium.explain import Attribution

MAPS = torch.tensor([[[0.0, 1.0], [-2.0, 0.5]], [[2.0, 2.0], [0.0, 0.0]]])


def heat(maps: torch.Tensor = MAPS, status: str = "fine") -> Attribution:
    n = len(maps)
    size = tuple(8 * side for side in maps.shape[1:])
    return Attribution(maps, "conv", tuple(range(n)), torch.ones(n), (status,) * n, size)


def picture_of(overlay: np.ndarray, height: int) -> np.ndarray:
    """The part of an overlay between the name and the bar."""
    strip = (overlay.shape[0] - height) // 2
    return overlay[strip : strip + height].astype(float)


def test_over_black_each_pixel_has_its_share_of_the_colour_of_its_heat() -> None:
    attribution = heat()
    overlay = attribution.overlay(np.zeros((200, 240), np.uint8), sample=0)
    shown = attribution.display((200, 240))[0].numpy()
    expected = 0.6 * 255 * colormaps["inferno"](shown.astype(float))[..., :3]
    assert overlay.shape[1:] == (240, 3)
    np.testing.assert_allclose(picture_of(overlay, 200), expected, atol=0.51)


def test_what_speaks_against_the_class_is_blue_and_only_on_request() -> None:
    attribution = heat()
    black = np.zeros((200, 200), np.uint8)
    plain = picture_of(attribution.overlay(black, sample=0), 200)
    signed = picture_of(attribution.overlay(black, sample=0, signed=True), 200)
    low_left, high_right = signed[-20, 20], signed[20, -20]
    assert low_left[2] > low_left[0] + 30
    assert high_right[0] > high_right[2] + 30
    assert plain[-1, 0].sum() < 5


def test_a_shared_scale_makes_the_weaker_map_darker() -> None:
    attribution = heat()
    black = np.zeros((200, 200), np.uint8)
    corner = picture_of(attribution.overlay(black, sample=0, shared=True), 200)[0, -1]
    half = 0.6 * 255 * np.array(colormaps["inferno"](0.5)[:3])
    np.testing.assert_allclose(corner, half, atol=1.5)


def test_the_same_picture_in_every_form_gives_the_same_overlay() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    attribution = heat(MAPS[:1])
    expected = attribution.overlay(colour)
    floats = torch.from_numpy(colour).float() / 255
    forms = [
        Image.fromarray(colour),
        colour / 255,
        floats,
        floats.permute(2, 0, 1),
        floats.double(),
    ]
    for form in forms:
        np.testing.assert_array_equal(attribution.overlay(form), expected)
    grey = colour[..., 0]
    for form in (grey[..., None], grey[None], torch.from_numpy(grey)):
        np.testing.assert_array_equal(attribution.overlay(form), attribution.overlay(grey))
    assert expected.dtype == np.uint8


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "1", "RGBA", "LA", "I;16"])
def test_pillow_images_of_every_mode_are_drawn_as_their_files_are(mode: str) -> None:
    attribution = heat(MAPS[:1])
    colours = np.zeros((64, 96, 3), np.uint8)
    colours[:32] = 255 if mode in ("1", "LA", "I;16") else (255, 0, 51)
    image = Image.fromarray(colours)
    given = Image.fromarray(colours[..., 0].astype("u2") * 257) if mode == "I;16" else None
    given = given or image.convert(mode)
    assert given.mode == mode
    expected = attribution.overlay(colours).astype(int)
    tolerance = 3 if mode == "YCbCr" else 0
    np.testing.assert_allclose(attribution.overlay(given), expected, atol=tolerance)


def test_what_is_transparent_is_white() -> None:
    hidden = Image.new("RGBA", (96, 64), (200, 30, 30, 0))
    white = heat(MAPS[:1]).overlay(np.full((64, 96), 255, np.uint8))
    np.testing.assert_array_equal(heat(MAPS[:1]).overlay(hidden), white)
    with pytest.raises(DataError, match="'HSV' have no defined black"):
        heat(MAPS[:1]).overlay(hidden.convert("RGB").convert("HSV"))


def test_a_small_picture_is_enlarged_by_whole_pixels_and_a_size_is_kept() -> None:
    attribution = heat(MAPS[:1])
    digit = np.zeros((8, 8), np.uint8)
    assert attribution.overlay(digit).shape[1] == 160
    assert attribution.overlay(digit, (90, 300)).shape[1:] == (300, 3)
    square = attribution.overlay(digit, 90)
    assert square.shape[1] == 90
    assert attribution.overlay(digit, (300, 90)).shape[0] == square.shape[0] + 210


def test_the_name_of_the_class_and_a_status_are_written_above() -> None:
    grey = np.zeros((64, 200), np.uint8)
    one = heat(MAPS[:1])
    numbered, named = one.overlay(grey), one.overlay(grey, classes=["a very long name " * 9])
    empty = heat(MAPS[:1], "all negative").overlay(grey)
    for other in (named, empty):
        assert other.shape == numbered.shape
        assert (other[:20] != numbered[:20]).any()
        np.testing.assert_array_equal(other[-40:], numbered[-40:])
    with pytest.raises(OptionError, match="classes has 0 names"):
        one.overlay(grey, classes=[])


@pytest.mark.parametrize(
    ("image", "error", "words"),
    [
        (np.zeros((4, 5, 2)), ShapeError, r"\(H, W\), \(H, W, C\)"),
        (np.zeros((3, 5, 3)), ShapeError, "one end only"),
        (np.zeros((0, 5)), ShapeError, "must be"),
        (np.zeros((2, 3, 4, 5)), ShapeError, "must be"),
        (np.full((4, 5), 2.0), OptionError, "before it was normalised"),
        (np.full((4, 5), np.nan), OptionError, r"in \[0, 1\]"),
        (np.zeros((4, 5), np.int64), OptionError, "must be uint8"),
        ("photo.jpg", OptionError, "must be an array"),
    ],
)
def test_what_is_no_image_is_an_error(image: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        heat(MAPS[:1]).overlay(image)


def test_a_sample_is_named_where_there_are_several_and_volumes_are_not_drawn() -> None:
    grey = np.zeros((9, 9), np.uint8)
    for sample in (None, 2, "first"):
        with pytest.raises(OptionError, match="sample"):
            heat().overlay(grey, sample=sample)
    with pytest.raises(ShapeError, match="two axes"):
        heat(torch.ones(1, 2, 2, 2)).overlay(grey)
