"""Heatmaps as PNG files."""

import io
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from convarium import report
from convarium.errors import OptionError, ShapeError
from convarium.report import pictures

IMAGE = np.arange(64, dtype=np.uint8).reshape(8, 8, 1) * 4
HEAT = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)


def colours(pixels: np.ndarray) -> set[tuple[int, ...]]:
    return set(map(tuple, pixels.reshape(-1, 3).tolist()))


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def sheet(folder: Path, image: np.ndarray, heat: np.ndarray, title: str) -> np.ndarray:
    """Of one picture."""
    shown = [report.Picture(image, title, heat=heat)]
    return opened(report.heatmap_sheet(folder / "sheet.png", shown).read_bytes())


def test_a_sheet_holds_the_picture_its_map_and_the_colour_scale(tmp_path: Path) -> None:
    pixels = sheet(tmp_path, IMAGE, HEAT, "3")
    seen = colours(pixels)
    assert {(value,) * 3 for value in IMAGE.ravel().tolist()} <= seen
    assert colours(pictures.blend(IMAGE, HEAT)) <= seen
    inch = 160
    left, right = round(0.12 * inch), round((0.12 + 1.42) * inch)
    scale = pixels[-round((0.34 + 0.045) * inch), left + 1 : right - 1]
    values = (np.arange(len(scale)) + 1.5) / (right - left)
    expected = 255 * colormaps["inferno"](values)[:, :3]
    assert np.abs(scale - expected).max() < 10


def test_pixels_are_squares_without_a_blur(tmp_path: Path) -> None:
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None]
    pixels = sheet(tmp_path, board, np.zeros((8, 8), np.float32), "")
    edge, side = round(0.12 * 160), round(1.42 * 160)
    row = pixels[edge + round(0.23 * 160) + 14, edge + 2 : edge + side - 2, 0]
    assert set(row.tolist()) == {0, 255}
    assert np.count_nonzero(np.diff(row.astype(int))) == 7


def test_titles_change_the_picture_and_dollars_are_no_formula(tmp_path: Path) -> None:
    plain = sheet(tmp_path, IMAGE, HEAT, "7")
    assert (plain != sheet(tmp_path, IMAGE, HEAT, "8")).any()
    for title in (r"$\frac{1}{", "日本語", "<script>", "a\x00\ud800", "many words " * 40):
        assert sheet(tmp_path, IMAGE, HEAT, title).shape == plain.shape


def test_drawing_leaves_no_trace(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    report.heatmap_sheet(tmp_path / "sheet.png", [report.Picture(IMAGE, "a", heat=HEAT)])
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_user_settings_of_matplotlib_do_not_matter(tmp_path: Path) -> None:
    shown = [report.Picture(IMAGE, "a", "note", HEAT)]
    usual = report.heatmap_sheet(tmp_path / "usual.png", shown).read_bytes()
    odd = {"text.usetex": True, "figure.autolayout": True, "image.origin": "lower"}
    with matplotlib.rc_context(odd):
        assert report.heatmap_sheet(tmp_path / "odd.png", shown).read_bytes() == usual


def test_a_sheet_grows_by_rows_of_three(tmp_path: Path) -> None:
    shown = [report.Picture(IMAGE, str(k), heat=HEAT if k % 2 else None) for k in range(7)]
    sizes = {
        n: opened(report.heatmap_sheet(tmp_path / f"{n}.png", shown[:n]).read_bytes()).shape
        for n in (1, 3, 4, 6, 7)
    }
    assert sizes[3][1] == sizes[4][1] == 3 * sizes[1][1]
    assert sizes[4] == sizes[6]
    assert sizes[7][0] - sizes[6][0] == pytest.approx(sizes[6][0] - sizes[3][0], abs=1)


def test_a_sheet_needs_a_picture_and_a_picture_a_map_of_two_axes(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="at least one picture"):
        report.heatmap_sheet(tmp_path / "sheet.png", [])
    with pytest.raises(ShapeError, match="two axes"):
        report.Picture(IMAGE, "", heat=HEAT[0])
    assert not list(tmp_path.iterdir())
