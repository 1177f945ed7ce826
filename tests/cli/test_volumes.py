"""The walk over volumes from the command: train, evaluate, predict, explain, export, data."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from shapes import SHAPES, several

from convarium import data, explain, open_run, report
from convarium.cli import main
from convarium.errors import DataError

SMALL = ["--model", "convnet", "--option", "channels=[8,16]", "--precision", "fp32"]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Shapes as NIfTI, stored from right to left and from top to bottom, 2 x 1 x 1 apart."""
    folder = tmp_path_factory.mktemp("scans")
    values, labels = several(60, 12, 0)
    for i, (volume, label) in enumerate(zip(values, labels.tolist(), strict=True)):
        (folder / SHAPES[label]).mkdir(exist_ok=True)
        stored = volume[::-1, :, ::-1].T
        image = nibabel.Nifti1Image(stored, np.diag([-1.0, 1, -2, 1]))
        nibabel.save(image, folder / SHAPES[label] / f"{i:02}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def run(scans, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "scans"
    words = ["train", str(scans), "--out", str(out), *SMALL, "--size", "8x12x12"]
    assert main([*words, "--epochs", "2", "--flip-axes", "plane", "--spacing", "median"]) == 0
    return out


def last_line(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_run_keeps_spacing_steps_and_a_report_with_slices(run):
    card = json.loads((run / "card.json").read_text())
    assert card["model"]["options"]["spatial_dims"] == 3
    assert card["data"]["spacing"]["median"] == [2, 1, 1]
    assert card["data"]["types"] == ["int16"]
    ops = [step["op"] for step in card["preprocessing"]["steps"]]
    assert ops == ["read_volume", "resample", "center_crop_or_pad", "normalize"]
    assert card["preprocessing"]["input_shape"] == [1, 8, 12, 12]
    page = (run / "report.html").read_text()
    assert page.count("; depth ") >= 9
    assert "2 \N{MULTIPLICATION SIGN} 1 \N{MULTIPLICATION SIGN} 1 (median)" in page
    # of the 12 slices of each the input holds 8
    assert card["data"]["seen"] == {
        "mean": pytest.approx(8 / 12),
        "smallest": pytest.approx(8 / 12),
    }
    assert "66.7% of a training volume on average, 66.7% at least" in page


def test_evaluate_and_predict_take_volumes(run, scans, capsys):
    assert main(["evaluate", str(run), str(scans), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 60
    assert main(["predict", str(run), str(scans / "ball"), "--json", "--tta", "flip"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 20
    opened = open_run(run)
    volume = data.read_volume(scans / "ball" / "00.nii.gz")
    steps = opened.preprocessing
    with torch.no_grad():
        inputs = steps.finish(steps.apply(volume)[None])
        heat = opened.card["calibration"]["temperature"]
        both = [(opened.model(each) / heat).softmax(1) for each in (inputs, inputs.flip(-1))]
    expected = torch.stack(both).mean(0)[0]
    first = found["predictions"][0]
    assert first["name"].endswith("00.nii.gz")
    assert first["label"] == SHAPES[int(expected.argmax())]
    assert first["confidence"] == pytest.approx(expected.max().item(), abs=1e-5)


def test_explain_draws_slices_and_writes_heat_over_the_volumes(run, scans, tmp_path, capsys):
    names = [str(scans / "cube" / "01.nii.gz"), str(tmp_path / "loose.npy")]
    values = several(1, 12, 9)[0][0]
    np.save(names[1], values)
    words = ["explain", str(run), *names, "--target", "cube", "-o", str(tmp_path / "heat")]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    first, second = (tmp_path / "heat" / name for name in ("001-01.nii.gz", "002-loose.npy"))
    assert told["heat"] == [str(first), str(second)]
    others = {path.suffix for path in (tmp_path / "heat").glob("00*")} - {".gz", ".npy"}
    assert others == {".png"}
    original, heat = nibabel.load(names[0]), nibabel.load(first)
    np.testing.assert_array_equal(heat.affine, original.affine)
    assert heat.shape == original.shape
    opened = open_run(run)
    steps = opened.preprocessing
    scan = data.read_volume(names[0])
    inputs, cube = steps.finish(steps.apply(scan)[None]), opened.card["classes"].index("cube")
    shown = explain.grad_cam(opened.model, inputs, target=cube).display()
    whole = steps.back(shown, scan)[0].numpy()
    np.testing.assert_allclose(np.asarray(heat.dataobj), whole[::-1, :, ::-1].T, atol=1e-5)
    at = np.unravel_index(shown.argmax().item(), shown.shape[1:])
    place = "depth {}, height {}, width {}".format(*steps.voxel(at, scan))
    assert place in (tmp_path / "heat" / "heatmaps.html").read_text()
    volume = data.read_volume(names[1])
    inputs = steps.finish(steps.apply(volume)[None])
    shown = explain.grad_cam(opened.model, inputs, target=cube).display()
    own = np.load(second)
    assert own.shape == (12, 12, 12)
    # its spacing is 1, so that at 2 it has 6 slices, all of which the input of 8 holds
    middle = torch.nn.functional.interpolate(shown[:, None, 1:7], (12, 12, 12), mode="trilinear")
    np.testing.assert_allclose(own, middle[0, 0].numpy(), atol=1e-5)
    with Image.open(tmp_path / "heat" / "heatmaps.png") as sheet:
        assert min(sheet.size) > 300
    assert {row["target"] for row in told["explanations"]} == {"cube"}


def test_views_are_drawn_of_volumes(run, scans, tmp_path):
    opened = open_run(run)
    layer = opened.model.heatmap_layer
    words = ["explain", str(run), "-o", str(tmp_path)]
    assert main([*words, str(scans / "cube" / "01.nii.gz"), "--maps", layer, "--most", "3"]) == 0
    assert len(json.loads((tmp_path / "maps.json").read_text())["channels"]) == 3
    assert main([*words, str(scans / "cube"), "--exciting", f"{layer}:0", "--most", "2"]) == 0
    for one in json.loads((tmp_path / "exciting.json").read_text())["inputs"]:
        assert len(one["place"]) == len(one["patch"]) == 3
    for name in ("maps", "exciting"):
        with Image.open(tmp_path / f"{name}.png") as sheet:
            assert min(sheet.size) > 100


def test_a_real_scan_is_explained_at_its_own_voxels(run, tmp_path, capsys):
    head = Path(nibabel.__file__).parent / "tests" / "data" / "anatomical.nii"
    assert main(["explain", str(run), str(head), "-o", str(tmp_path)]) == 0
    assert "1 file beside them" in capsys.readouterr().out
    canonical = nibabel.as_closest_canonical(nibabel.load(head))
    heat = nibabel.load(tmp_path / "001-anatomical.nii.gz")
    assert heat.shape == canonical.shape
    np.testing.assert_array_equal(heat.affine, nibabel.load(head).affine)
    seen = np.argwhere(np.asarray(nibabel.as_closest_canonical(heat).dataobj) > 0)
    # at the spacing 2 x 1 x 1 the middle 8 x 12 x 12 places are the middle 16 x 12 x 12 millimetres
    outside = np.abs(seen - (np.array(heat.shape) - 1) / 2) * 2 - np.array([6, 6, 8])
    assert len(seen) > 0
    assert outside.max() <= 4  # and half a voxel of resizing on each side


def test_slices_lie_where_the_volume_has_them():
    values = np.zeros((1, 6, 8, 10), np.float32)
    values[0, 4, 1, 7] = 1
    volume = data.Volume(values, spacing=(2.0, 1.0, 1.0))
    picture = report.slices_picture(volume, at=(4, 1, 7))[..., 0]
    # lengths 12, 8, 10 at 64 pixels for the longest: D 64, H 43, W 53; a gap of 2 between them
    assert picture.shape == (64 + 2 + 43, 53 + 2 + 43)
    spots = {
        "coronal": picture[:64, :53],
        "sagittal": picture[:64, 55:],
        "axial": picture[66:, :53],
    }
    places = {"coronal": (4 / 6, 7 / 10), "sagittal": (4 / 6, 1 / 8), "axial": (1 / 8, 7 / 10)}
    for name, plane in spots.items():
        rows, columns = np.nonzero(plane)
        first = rows.min() / plane.shape[0], columns.min() / plane.shape[1]
        assert first == pytest.approx(places[name], abs=0.02), name
        assert len(np.unique(rows)) == pytest.approx(
            plane.shape[0] / (8 if name == "axial" else 6), abs=1
        )
    upright = report.slices_picture(data.Volume(values, volume.spacing, np.eye(4)), at=(4, 1, 7))
    np.testing.assert_array_equal(upright[:64, :, 0], picture[:64][::-1])
    np.testing.assert_array_equal(upright[66:, :53, 0], picture[66:, :53][::-1])
    heat = report.slices_heat(values[0], volume, (4, 1, 7))
    np.testing.assert_array_equal(heat > 0, picture > 0)


def test_the_exported_file_answers_as_the_network(run, tmp_path, capsys):
    words = ["export", str(run), "--to", "onnx", "-o", str(tmp_path / "m.onnx"), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["agreement"] == 1
    assert told["n"] >= 8
    import onnx

    (given,) = onnx.load(tmp_path / "m.onnx").graph.input
    sides = [side.dim_value for side in given.type.tensor_type.shape.dim]
    assert sides[1:] == [1, 8, 12, 12]


def test_data_tells_facts_and_draws_slices(scans, tmp_path, capsys):
    assert main(["data", str(scans)]) == 0
    text = capsys.readouterr().out
    assert ": 60 volumes of 3 classes" in text
    assert "12 x 12 x 12 voxels (depth, height, width), 1 channel" in text
    assert "spacing      2 x 1 x 1 (no unit in the files)" in text
    assert "values       int16, from " in text
    page = tmp_path / "page.png"
    assert main(["data", str(scans), "--show", "-o", str(page), "--samples", "3"]) == 0
    assert "flip along width" in capsys.readouterr().out
    assert page.stat().st_size > 5000


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--jitter", "0.4"], "jitter (=0.4) is for images, and the data holds volumes"),
        (["--cache", "c"], "cache (='c') is for images"),
        (["--size", "8x8"], "'8x8' must be a number such as 32, or 16x32x32"),
        (["--spacing", "wide"], "'wide' must be median, a number, or such as 3x1x1"),
        (["--option", "spatial_dims=2"], "--option spatial_dims follows from the data"),
    ],
)
def test_flags_that_do_not_fit_volumes_are_one_sentence(flags, words, scans, tmp_path, capsys):
    given = ["train", str(scans), "--out", str(tmp_path / "run"), *SMALL, "--epochs", "1", *flags]
    assert main(given) == 2
    assert words in last_line(capsys)
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_keeps_its_grid(run, scans, capsys):
    words = ["train", str(scans), "--out", str(run), "--resume"]
    for flags, sentence in (
        (["--size", "12"], "another size: it was (8, 12, 12) and is 12"),
        (["--spacing", "1"], "another spacing: it was median and is 1.0"),
        (["--kind", "images"], "another --kind: it was 'volumes' and is 'images'"),
    ):
        assert main([*words, *flags]) == 2
        assert sentence in last_line(capsys)
    assert main([*words, "--spacing", "median", "--size", "8x12x12", "--kind", "volumes"]) == 0
    assert "seen: 66.7% of a training volume on average, 66.7% at least" in capsys.readouterr().out


def test_pictures_and_damaged_volumes_are_left_out_or_refused(run, scans, tmp_path, capsys):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "p.png")
    (tmp_path / "cut.nii.gz").write_bytes((scans / "cube" / "01.nii.gz").read_bytes()[:99])
    assert main(["predict", str(run), str(tmp_path), str(scans / "ball" / "00.nii.gz")]) == 0
    shown = capsys.readouterr().err
    assert "skipped p.png: not a volume by its name" in shown
    assert f"skipped {tmp_path}/cut.nii.gz: the file is cut short or damaged" in shown
    assert main(["predict", str(run), str(tmp_path / "p.png")]) == 2
    assert "a picture by its content, not a volume" in last_line(capsys)
    with pytest.raises(DataError, match="holds images, and the network takes volumes"):
        list(open_run(run).predictor.records(data.open_dataset("digits")))
