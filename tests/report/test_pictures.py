"""Pictures on a page: exact pixels, checked shapes."""

import base64
import io

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image
from sklearn.datasets import load_digits

from convarium.errors import OptionError, ShapeError
from convarium.report import Picture, pictures


def decoded(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_a_digit_is_enlarged_by_whole_squares_and_keeps_every_value() -> None:
    digit = (load_digits().images[0] * 255 / 16).round().astype(np.uint8)[..., None]
    shown = decoded(pictures.address(pictures.fit(digit)))
    assert shown.shape == (160, 160)
    for row, column in np.ndindex(8, 8):
        square = shown[20 * row : 20 * row + 20, 20 * column : 20 * column + 20]
        assert (square == digit[row, column, 0]).all()


def test_medium_pictures_are_left_alone_and_large_ones_reduced() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    assert pictures.fit(noise) is not noise
    assert np.array_equal(pictures.fit(noise), noise)
    assert pictures.fit(np.zeros((3000, 1500, 1), np.uint8)).shape == (448, 224, 3)
    assert pictures.fit(np.zeros((1, 5000, 3), np.uint8)).shape == (1, 448, 3)


def test_a_noisy_photograph_does_not_bloat_the_page() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (448, 448, 3), np.uint8)
    flat = np.full((448, 448, 3), 200, np.uint8)
    assert pictures.address(noise).startswith("data:image/jpeg;")
    assert pictures.address(flat).startswith("data:image/png;")


def test_the_blend_is_grey_and_the_colour_of_the_heat() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[0] = (255, 0, 0)
    heat = np.array([[0, 1], [0.5, 1]], np.float32)
    blend = pictures.blend(image, heat)
    for row, column in np.ndindex(2, 2):
        scale = np.array(colormaps["inferno"](float(heat[row, column]))[:3])
        grey = 0.299 * image[row, column, 0]
        assert blend[row, column] == pytest.approx(0.4 * grey + 0.6 * 255 * scale, abs=0.51)


def test_a_coarse_map_is_brought_to_the_picture() -> None:
    image = np.zeros((40, 60, 1), np.uint8)
    heat = np.zeros((4, 6), np.float32)
    heat[0, 0] = 1
    blend = pictures.blend(image, heat).sum(axis=2)
    assert blend.shape == (40, 60)
    assert np.unravel_index(blend.argmax(), blend.shape) < (5, 5)
    assert (blend[20:, 30:] == blend[-1, -1]).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3), np.float32),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_an_error(image: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="must be uint8"):
        Picture(image, "title")


def test_what_is_no_heat_is_an_error() -> None:
    image = np.zeros((8, 8, 1), np.uint8)
    with pytest.raises(ShapeError, match="two axes"):
        Picture(image, "title", heat=np.zeros((1, 8, 8), np.float32))
    for value in (-0.1, 1.5, np.nan):
        with pytest.raises(OptionError, match=r"must lie in \[0, 1\]"):
            Picture(image, "title", heat=np.full((8, 8), value, np.float32))
