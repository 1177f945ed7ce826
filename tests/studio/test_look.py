"""Look: what the page shows of a sample is what the other rooms compute of it."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from asked import settled
from drawn_shapes import CLASSES, drawn, png
from PIL import Image

from convarium import explain, measure, predict
from convarium.errors import ConvariumError, DataError, OptionError
from convarium.explain.painting import heat_colours, signed_colours
from convarium.studio import Desk, closer, look


@pytest.fixture(scope="module")
def desk(photos, reviews, curves):
    return Desk([photos, reviews, curves])


@pytest.fixture(scope="module")
def picture():
    generator = np.random.Generator(np.random.PCG64(1))
    return generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def shown(desk, picture):
    return look.show(desk, "photos", png(picture), "a.png")


def pixels_of(address):
    head, _, data = address.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def truth(photos, picture):
    """The network, its input and its card, apart from the studio."""
    run = predict.open_run(photos)
    pixels, _ = run.preprocessing.padded([torch.from_numpy(picture).permute(2, 0, 1)])
    return run, run.preprocessing.finish(pixels)  # in memory as in every evaluation


def test_the_prediction_is_the_network_s(photos, picture, shown):
    run, x = truth(photos, picture)
    with torch.no_grad():
        expected = run.model(x).softmax(1)[0]
    told = {bar["name"]: bar["probability"] for bar in shown["bars"]}
    assert told == pytest.approx(dict(zip(CLASSES, expected.tolist(), strict=True)), rel=1e-5)
    assert [bar["name"] for bar in shown["bars"]] == sorted(told, key=told.get, reverse=True)
    np.testing.assert_array_equal(pixels_of(shown["picture"]), picture)


def test_confidence_is_calibrated_by_the_card(photos, picture, tmp_path):
    import json
    import shutil

    run = shutil.copytree(photos, tmp_path / "photos")
    card = json.loads((run / "card.json").read_text())
    (run / "card.json").write_text(json.dumps({**card, "calibration": {"temperature": 0.1}}))
    found = look.show(Desk([run]), "photos", png(picture), "a.png")
    opened, x = truth(photos, picture)
    with torch.no_grad():
        expected = (opened.model(x) / 0.1).softmax(1).max()
    assert found["bars"][0]["probability"] == pytest.approx(float(expected), rel=1e-5)
    assert look.about(Desk([run]), "photos")["calibrated"]


def test_the_heat_is_the_method_s_raw_and_scaled(desk, photos, picture, shown):
    run, x = truth(photos, picture)
    expected = explain.hires_cam(run.model, x, target=1, layer="stage2")
    asked = {"method": "hires_cam", "layer": "stage2", "target": CLASSES[1]}
    found = look.heat(desk, "photos", shown["sample"], **asked)
    np.testing.assert_allclose(found["values"], expected.values[0], rtol=1e-5)
    assert (found["layer"], found["target"], found["method"]) == ("stage2", "ring", "hires_cam")
    scaled = np.rint(255 * heat_colours(expected.display()[0].numpy()))
    np.testing.assert_array_equal(pixels_of(found["picture"]), scaled)
    raw = look.heat(desk, "photos", shown["sample"], **asked, raw=True)
    signed = expected.values[0] / expected.values.abs().max()
    whole = torch.nn.functional.interpolate(expected.values[None], (32, 32), mode="bilinear")[0, 0]
    colours = np.rint(255 * signed_colours((whole / whole.abs().max()).numpy()))
    assert np.abs(pixels_of(raw["picture"]) - colours).max() <= 1
    assert (raw["low"], raw["high"]) == (found["low"], found["high"])
    assert signed.abs().max() == 1


def test_curves_are_deletion_and_insertion(desk, photos, picture, shown):
    run, x = truth(photos, picture)
    heat = explain.grad_cam(run.model, x)
    found = settled(closer.curves, desk, "photos", shown["sample"])["result"]
    for name in ("deletion", "insertion"):
        expected = getattr(explain, name)(run.model, x, heat, steps=16)
        assert found[name]["heat"] == pytest.approx(expected.values[0].tolist(), rel=1e-5)
        area = np.trapezoid(found[name]["heat"], found[name]["fractions"])
        assert found[name]["area"] == pytest.approx(area, rel=1e-5)
        assert found[name]["better"] == expected.better


def test_raw_heat_counts_by_its_size(desk, shown, monkeypatch):
    sizes = []
    monkeypatch.setattr(desk, "keep", lambda key, value, size=0: sizes.append(size))
    found = look.heat(desk, "photos", shown["sample"], method="input_gradients", raw=True)
    assert sizes == [4 * 32 * 32 * (1 + 3)]
    assert found["size"] == [32, 32]


def test_the_field_of_a_position_is_a_box_that_holds_all_the_weight(desk, photos, picture, shown):
    run, _ = truth(photos, picture)
    found = closer.field(desk, "photos", shown["sample"], row=0, column=3, layer="stage1")
    (top, bottom), (left, right) = found["box"]
    whole = measure.receptive_field(run.model, (1, 3, 32, 32)).at("stage1")
    start = [s + j * i for s, j, i in zip(whole.start, whole.stride, (0, 3), strict=True)]
    assert (top, left) == tuple(max(0, each) for each in start)
    assert (bottom, right) == tuple(s + n for s, n in zip(start, whole.size, strict=True))
    opacity = pixels_of(found["picture"])[..., 3]
    assert opacity[top:bottom, left:right].max() == 235
    opacity = np.array(opacity)
    opacity[top:bottom, left:right] = 0
    assert opacity.max() == 0
    with pytest.raises(OptionError, match="position"):
        closer.field(desk, "photos", shown["sample"], row=99, column=0)


def test_texts_and_series_have_heat_along_them(desk):
    text = look.show(desk, "reviews", b"a red shoe", "a.txt")
    assert [each.strip() for each in text["heat"]["tokens"]] == ["a", "red", "shoe"]
    assert len(text["heat"]["heat"]) == 3
    file = io.BytesIO()
    np.save(file, np.random.default_rng(0).normal(size=(2, 40)).astype(np.float32))
    series = look.show(desk, "curves", file.getvalue(), "a.npy")
    assert series["heat"]["drawing"].startswith("data:image/svg+xml,%3Csvg")
    table = "\n".join(",".join(f"{k + t % 3}" for t in range(40)) for k in range(3))
    head = ",".join(f"t{t}" for t in range(40))
    with pytest.raises(ConvariumError, match="channel"):
        look.show(desk, "curves", f"{head}\n{table}\n".encode(), "a.csv")


def test_about_names_what_can_be_asked(desk):
    told = look.about(desk, "photos")
    assert told["layer"] in told["layers"]
    assert "stage1.0.conv" in told["layers"]
    assert {each["name"] for each in told["methods"]} >= {"grad_cam", "eigen_cam", "occlusion"}
    assert (told["kind"], told["classes"], told["calibrated"]) == ("images", [*CLASSES], False)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "a.png"),
        (b"not a picture", "a.png"),
        (png(drawn("disc", 0))[:60], "a.png"),
        (b"GIF89a", "../../etc/passwd"),
    ],
)
def test_what_is_no_picture_is_said(desk, content, name):
    with pytest.raises(DataError):
        look.show(desk, "photos", content, name)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"method": "grad-cam"}, "grad_cam"),
        ({"target": "discs"}, "Did you mean 'disc'"),
        ({"layer": "stage9"}, "stage9"),
        ({"method": "occlusion", "layer": "stage1"}, "reads no layer"),
    ],
)
def test_what_cannot_be_asked_is_said(desk, shown, asked, words):
    with pytest.raises(ConvariumError, match=re.escape(words)):
        look.heat(desk, "photos", shown["sample"], **asked)
