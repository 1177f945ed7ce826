"""`convarium explain` on a small run: methods, files, views, and what cannot be explained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convarium import data, explain, models, open_run
from convarium.cli import main
from convarium.explain.methods import METHODS, attributed
from convarium.explain.painting import heated

CLASSES = ("ape", "bee", "<cat>")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A network with weights that were never trained, which is enough to be explained."""
    steps = data.Preprocessing((3, 24, 24), mean=(0.5,) * 3, std=(0.25,) * 3, classes=CLASSES)
    torch.manual_seed(0)
    model = models.create("convnet", num_classes=3, channels=[6, 8], kernel_sizes=[3, 3])
    card = {"task": "classification", **steps.to_card()}
    return models.save(model, tmp_path_factory.mktemp("runs") / "small", card)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for name in ("one/a.png", "two/a.png", "two/b c.jpg", "two/日本.png"):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (30, 40, 3), np.uint8)).save(path)
    return folder


def explained(run: Path, photos: Path, out: Path, *words: str) -> dict:
    assert main(["explain", str(run), str(photos), "-o", str(out), *words]) == 0
    return json.loads((out / "heatmaps.json").read_text())


def test_every_input_has_an_overlay_of_its_own(run, photos, tmp_path, capsys):
    told = explained(run, photos, tmp_path, "--json")
    assert json.loads(capsys.readouterr().out) == told
    names = [row["files"]["overlay"] for row in told["explanations"]]
    assert names == ["001-a.png", "002-a.png", "003-b c.png", "004-日本.png"]
    assert {path.name for path in tmp_path.iterdir()} == {
        *names, "heatmaps.html", "heatmaps.json", "heatmaps.png",
    }  # fmt: skip
    opened = open_run(run)
    dataset = data.open_inputs([str(photos)])
    batch = next(data.batches(dataset, opened.preprocessing, batch_size=4))
    heat = explain.grad_cam(opened.model, batch.inputs[0])
    for row, name in enumerate(names):
        seen = opened.preprocessing.apply(dataset.read(row))
        label = CLASSES[heat.target[row]]
        label = label if heat.status[row] == "fine" else f"{label}: {heat.status[row]}"
        image = seen.permute(1, 2, 0).numpy()
        with Image.open(tmp_path / name) as picture:
            drawn = heated(image, heat.display()[row].numpy(), label)
            np.testing.assert_array_equal(np.asarray(picture), drawn)
        assert told["explanations"][row]["target"] == CLASSES[heat.target[row]]
        assert told["explanations"][row]["method"] == "grad_cam"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_word(run, method):
    found = attributed(open_run(run).model, torch.randn(1, 3, 8, 8), method=method, target=1)
    assert (found.method, found.target) == (method, (1,))
    assert (found.layer == "input") == (not METHODS[method].layered)


def test_every_method_of_the_room_is_in_the_table():
    functions = {name for name in explain.__all__ if name.endswith("_cam") or "gradient" in name}
    others = {"smooth_grad", "guided_backpropagation", "occlusion", "grad_cam_plus_plus"}
    assert functions | others == set(METHODS)


def test_several_layers_are_fused(run, photos, tmp_path):
    opened = open_run(run)
    layers = [name for name, module in opened.model.named_modules() if module._parameters][:2]
    words = [word for layer in layers for word in ("--layer", layer)]
    told = explained(run, photos, tmp_path, "--method", "layer-cam", *words)
    assert told["layer"] == " + ".join(layers)
    assert told["method"] == "layer_cam"


def test_a_shared_scale_says_so_and_leaves_one_map_at_1(run, photos, tmp_path):
    words = ["--shared-scale", "--target", "bee", "--method", "input-gradients"]
    told = explained(run, photos, tmp_path, *words)
    assert told["shared_scale"]
    assert told["method"] == "input_gradients"
    assert {row["target"] for row in told["explanations"]} == {"bee"}
    assert "They share one scale" in (tmp_path / "heatmaps.html").read_text()


def test_faithfulness_stands_beside_its_controls(run, photos, tmp_path, capsys):
    told = explained(run, photos, tmp_path, "--faithfulness", "--most", "2")
    assert set(told["faithfulness"]) == {"deletion", "insertion", "average_drop"}
    out = capsys.readouterr().out
    for name, figures in told["faithfulness"].items():
        each = [row["faithfulness"][name]["score"] for row in told["explanations"]]
        assert figures["score"]["value"] == pytest.approx(np.mean(each), abs=1e-6)
        assert figures["random"]["value"] is not None
        assert f"{name.replace('_', ' ')} (" in out
    assert "gain over random" in (tmp_path / "heatmaps.html").read_text()


def test_views_are_drawn_with_a_page_and_json(run, photos, tmp_path, capsys):
    words = ["explain", str(run), "-o", str(tmp_path)]
    layer = open_run(run).model.heatmap_layer
    one = str(photos / "one" / "a.png")
    assert main([*words, "--filters"]) == 0
    assert main([*words, "--maps", layer, one, "--most", "5"]) == 0
    assert main([*words, "--exciting", f"{layer}:3", str(photos), "--most", "2"]) == 0
    for name in ("filters", "maps", "exciting"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
        assert "<img" in (tmp_path / f"{name}.html").read_text()
    assert json.loads((tmp_path / "filters.json").read_text())["shape"] == [6, 3, 3, 3]
    assert len(json.loads((tmp_path / "maps.json").read_text())["channels"]) == 5
    told = json.loads((tmp_path / "exciting.json").read_text())
    assert (told["seen"], len(told["inputs"])) == (4, 2)
    assert told["inputs"][0]["value"] >= told["inputs"][1]["value"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["PHOTOS", "--target", "beee"], "'bee'"),
        (["PHOTOS", "--layer", "nowhere"], "not in the model"),
        (["PHOTOS", "--method", "occlusion", "--layer", "body"], "reads no layer"),
        (["PHOTOS", "--method", "gradcam"], "invalid choice"),
        (["PHOTOS", "--shared-scale", "--layer", "a", "--layer", "b"], "cannot be compared"),
        (["EMPTY"], "No images"),
        (["TEXT"], "None of the inputs can be read"),
        (["MISSING"], "There is no file"),
        (["PHOTOS", "-o", "TEXT"], "TEXT"),
        ([], "INPUT is missing"),
        (["--filters", "PHOTOS"], "takes no INPUT"),
        (["--filters", "--target", "bee"], "belongs to heatmaps"),
        (["--filters", "--method", "occlusion"], "belongs to heatmaps"),
        (["--filters", "--id", "name"], "--id belongs to heatmaps"),
        (["PHOTOS", "--text", "caption"], "images are files"),
        (["--maps", "nowhere", "PHOTO"], "not in the model"),
        (["--maps", "head"], "INPUT is missing"),
        (["--maps", "nowhere", "TEXT"], "read"),
        (["--maps", "head", "PHOTOS"], "these are 4; name one file"),
        (["--exciting", "LAYER:0", "PHOTOS", "--shared-scale"], "--exciting draws neither"),
        (["--exciting", "LAYER", "PHOTOS"], "LAYER:CHANNEL"),
        (["--exciting", "LAYER:99", "PHOTOS"], "from 0 to 7"),
        (["--exciting", "LAYER:0", "TEXT"], "read"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(words, reason, run, photos, tmp_path, capsys):
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "TEXT").write_text("no image")
    layer = open_run(run).model.heatmap_layer
    places = {"PHOTOS": str(photos), "PHOTO": str(photos / "one" / "a.png")}
    places |= {k: str(tmp_path / k) for k in ("EMPTY", "TEXT", "MISSING")}
    given = [
        places.get(word, word.replace("LAYER", layer) if "R:" in word else word) for word in words
    ]
    out = [] if "-o" in words else ["-o", str(tmp_path / "out")]
    assert main(["explain", str(run), *given, *out]) == 2
    message = capsys.readouterr().err
    assert reason in message
    assert "Traceback" not in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()
