"""Look, of gridded fields: a coarse field beside what a run makes of it, on one scale."""

from __future__ import annotations

import base64
import io
import shlex

import numpy as np
import pytest
from PIL import Image
from small_fields import fields, save_winds

from convarium import predict
from convarium.data.grids.coarse import open_coarse
from convarium.errors import ConvariumError, DataError, OptionError
from convarium.studio import Desk, fine_cells, look, look_fields

xarray = pytest.importorskip("xarray")


@pytest.fixture(scope="module")
def winds(tmp_path_factory):
    return save_winds(tmp_path_factory.mktemp("fields"))


def pixels_of(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_coarse_and_fine_lie_beside_one_another_with_the_north_above(winds, tmp_path):
    desk = Desk([winds])
    told = look.about(desk, "winds")
    assert told["kind"] == "grids"
    assert shlex.split(told["command"]) == ["convarium", "explain", str(winds), "INPUT.nc"]
    content = fields(tmp_path / "coarse.nc", 3, rising=True).read_bytes()
    found = look_fields.show_fields(desk, "winds", content, time=1)
    assert (found["count"], found["coarse_size"], found["fine_size"]) == (3, [8, 12], [16, 24])
    assert found["when"].startswith("2001-03-01")
    (row,) = found["fields"]
    coarse, fine = pixels_of(row["coarse"]), pixels_of(row["fine"])
    assert coarse.shape == fine.shape
    brightness = coarse[:, 0].sum(-1).astype(int)
    assert (np.diff(brightness) <= 0).all()  # viridis is brighter for more, here to the north
    assert brightness[0] > brightness[-1]


@pytest.mark.parametrize("falling", [False, True])
def test_values_without_a_file_are_those_that_downscale_writes(winds, tmp_path, falling):
    run = predict.open_run(winds)
    coarse = fields(tmp_path / "coarse.nc", 3, 9, 13, falling=falling)
    predict.downscale([run], coarse, tmp_path / "fine.nc")
    found = predict.fine_values(run, open_coarse(coarse, run.preprocessing), [2, 0])
    with xarray.open_dataset(tmp_path / "fine.nc") as fine:
        np.testing.assert_allclose(found["u"], fine.u.values[[2, 0]], rtol=1e-6)


@pytest.mark.parametrize("falling", [False, True])
def test_a_fine_cell_follows_most_from_its_own_coarse_cell(winds, tmp_path, falling):
    desk = Desk([winds])
    content = fields(tmp_path / "coarse.nc", 3, falling=falling).read_bytes()
    sample = look_fields.show_fields(desk, "winds", content, time=1)["sample"]
    for row, column in ((3, 16), (15, 23)):
        told = fine_cells.cell(desk, "winds", sample, row, column)
        opacity = pixels_of(told["picture"])[..., 3].astype(float)
        strongest = np.unravel_index(opacity.argmax(), opacity.shape)
        assert strongest == (row // 2, column // 2)
        (top, bottom), (left, right) = told["box"]
        opacity[top:bottom, left:right] = 0
        assert not opacity.any()
        assert told["area_95"] <= told["places"] == (bottom - top) * (right - left)
    for asked, words in (({"column": 24}, "below 16 and 24"), ({"name": "v"}, "no field 'v'")):
        with pytest.raises(OptionError, match=words):
            fine_cells.cell(desk, "winds", sample, **{"row": 0, "column": 0, **asked})
    with pytest.raises(ConvariumError, match="load them again"):
        fine_cells.cell(desk, "winds", "other", 0, 0)


def test_the_frame_of_a_cell_has_as_many_cells_as_its_field(winds, tmp_path):
    desk = Desk([winds])
    content = fields(tmp_path / "coarse.nc", 1, 32, 32, step=1.0).read_bytes()
    sample = look_fields.show_fields(desk, "winds", content)["sample"]
    for cell in (0, 1, 31, 60, 61, 62, 63):
        told = fine_cells.cell(desk, "winds", sample, cell, 63 - cell)
        (top, bottom), (left, right) = told["box"]
        assert told["places"] == (bottom - top) * (right - left)
        opacity = pixels_of(told["picture"])[..., 3]
        assert opacity.any(0).nonzero()[0][[0, -1]].tolist() == [left, right - 1]
        assert opacity.any(1).nonzero()[0][[0, -1]].tolist() == [top, bottom - 1]


def test_a_cell_that_no_time_of_the_training_had_is_a_sentence(tmp_path):
    run = save_winds(tmp_path, hole=(4, 5), start="delta")
    content = fields(tmp_path / "coarse.nc", 2).read_bytes()
    desk = Desk([run])
    sample = look_fields.show_fields(desk, "winds", content)["sample"]
    with pytest.raises(OptionError, match="never had a value of u at row 11, column 5"):
        fine_cells.cell(desk, "winds", sample, 11, 5)
    assert fine_cells.cell(desk, "winds", sample, 11, 6)["places"] > 0


def test_each_quantile_lies_beside_the_field_that_was_read(tmp_path):
    desk = Desk([save_winds(tmp_path, outputs="quantiles", levels=(0.1, 0.5, 0.9))])
    content = fields(tmp_path / "coarse.nc", 1, rising=True).read_bytes()
    shown = look_fields.show_fields(desk, "winds", content)
    assert [each["name"] for each in shown["fields"]] == ["u_p10", "u_p50", "u_p90"]
    assert all("coarse" in each and "m/s" in each["words"] for each in shown["fields"])


@pytest.mark.parametrize(
    ("content", "time", "kind"),
    [(b"", 0, DataError), (b"no file of fields", 0, DataError), (None, 3, OptionError)],
)
def test_what_is_no_field_is_said(winds, tmp_path, content, time, kind):
    if content is None:
        content = fields(tmp_path / "coarse.nc", 3, rising=True).read_bytes()
    with pytest.raises(kind) as caught:
        look_fields.show_fields(Desk([winds]), "winds", content, time)
    assert "/tmp" not in str(caught.value)


def test_runs_of_other_kinds_take_no_fields(photos):
    with pytest.raises(ConvariumError, match="takes images"):
        look_fields.show_fields(Desk([photos]), "photos", b"x")
