"""Filters, maps and patches as pictures, sheets of tiles, pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convarium import report
from convarium.errors import OptionError
from convarium.explain import ExcitingInput, FeatureMaps, Filters
from convarium.report import viewed


def test_a_filter_is_middle_grey_where_its_weight_is_0() -> None:
    weights = torch.zeros(2, 3, 5, 5)
    weights[0, 0, 1, 2], weights[1, 2, 4, 4] = 2.0, -0.5
    first, second = report.filter_pictures(Filters("conv", weights))
    assert first.image.shape == (5, 5, 3)
    assert first.image[1, 2].tolist() == [255, 128, 128]
    assert (first.image[2:] == 128).all()
    assert second.image[4, 4].tolist() == [128, 128, 96]
    assert second.note == "up to 0.5"
    own = report.filter_pictures(Filters("conv", weights), shared=False)[1]
    assert own.image[4, 4].tolist() == [128, 128, 0]


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [((1, 7, 7), (7, 7)), ((6, 3, 3), (3, 23)), ((2, 3, 4, 5), (4, 35)), ((6, 9), (6, 9))],
)
def test_filters_of_every_rank_are_planes(shape: tuple[int, ...], drawn: tuple[int, int]) -> None:
    (picture,) = report.filter_pictures(Filters("conv", torch.randn(1, *shape)))
    assert picture.image.shape == (*drawn, 1)


def maps(values: torch.Tensor) -> FeatureMaps:
    strength = values.abs().flatten(2).amax(2)
    return FeatureMaps("conv", values, torch.tensor([[7, 2]]), strength, (8, 8))


def test_maps_have_their_own_scale_or_one_for_all() -> None:
    values = torch.zeros(1, 2, 3, 3)
    values[0, 0, 0, 0], values[0, 1, 2, 2] = 4.0, 1.0
    strong, weak = report.map_pictures(maps(values))
    assert (strong.title, weak.title, weak.note) == ("channel 7", "channel 2", "up to 1")
    assert (strong.image[0, 0] == weak.image[2, 2]).all()
    shared = report.map_pictures(maps(values), shared=True)[1]
    assert shared.image[2, 2].sum() < weak.image[2, 2].sum()
    signed = report.map_pictures(maps(-values))[0]
    assert signed.image[0, 0, 2] > signed.image[0, 0, 0]


def test_series_and_volumes_have_a_plane_each() -> None:
    assert report.map_pictures(maps(torch.ones(1, 2, 9)))[0].image.shape == (1, 9, 3)
    volume = torch.zeros(1, 2, 4, 5, 6)
    volume[0, :, 2, 1, 1] = 3
    picture = report.map_pictures(maps(volume))[0]
    assert picture.image.shape == (5, 6, 3)
    assert picture.image[1, 1].sum() > 500


def test_the_patch_keeps_its_pixels_and_the_rest_is_dark() -> None:
    image = np.full((200, 300, 3), 200, np.uint8)
    framed = viewed._framed(image, ExcitingInput(0, 1.0, (1, 1), ((20, 80), (100, 180))))
    assert (framed[30:70, 110:170] == 200).all()
    assert (framed[:20] == 70).all()
    assert (framed[20, 100:180] == viewed._FRAME).all()
    whole = viewed._framed(image, ExcitingInput(0, 1.0, (1, 1), ((0, 200), (0, 300))))
    assert (whole == 200).all()


def test_a_sheet_shows_every_picture_and_a_page_its_words(tmp_path: Path) -> None:
    shades = [10 * k for k in range(20)]
    pictures = [
        report.Picture(np.full((3, 3, 3), (shade, 0, 255), np.uint8), f"<{shade}>", "note")
        for shade in shades
    ]
    sheet = report.tile_sheet(tmp_path / "sheet.png", pictures, "日本 " * 99)
    with Image.open(sheet) as opened:
        seen = set(map(tuple, np.asarray(opened).reshape(-1, 3).tolist()))
    assert {(shade, 0, 255) for shade in shades} <= seen
    page = report.view_page(tmp_path / "page.html", pictures, "title", "lead").read_text()
    assert page.count("<img") == 20
    assert "&lt;190&gt;" in page
    for write in (
        lambda: report.tile_sheet(tmp_path / "none.png", [], ""),
        lambda: report.view_page(tmp_path / "none.html", [], "", ""),
    ):
        with pytest.raises(OptionError, match="at least one picture"):
            write()
