"""Large JPEGs at a reduced scale: only where there is enough of them, and only when told to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convarium import data, models, predict
from convarium.cli import main
from convarium.data import Preprocessing
from convarium.data.samples import ArraySamples
from convarium.errors import OptionError


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Smooth photographs: large and small JPEGs, one that lies on its side, and a PNG."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)

    def smooth(height, width):
        noise = random.integers(0, 256, (6, 5, 3), dtype=np.uint8)
        return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)

    turned = Image.Exif()
    turned[0x0112] = 6
    smooth(300, 400).save(folder / "large.jpg", quality=95)
    smooth(300, 401).save(folder / "odd.jpg", quality=95)
    smooth(320, 290).save(folder / "turned.jpg", quality=95, exif=turned)
    smooth(160, 120).save(folder / "small.jpg", quality=95)
    smooth(300, 400).save(folder / "plain.png")
    return folder


@pytest.mark.parametrize("resize", [None, 40])
def test_only_what_is_large_is_read_smaller(photos, resize):
    steps = Preprocessing((3, 32, 32), (0.5,) * 3, (0.2,) * 3, resize=resize)
    whole = data.open_inputs([str(photos)])
    less = data.reduced(whole, steps)
    short = resize or 32
    for i in range(len(whole)):
        name, pixels, fewer = Path(whole.name(i)).name, whole.read(i), less.read(i)
        if name in ("large.jpg", "odd.jpg", "turned.jpg"):
            assert fewer.size < pixels.size / 3
            assert min(fewer.shape[:2]) >= 2 * short
            assert (fewer.shape[0] < fewer.shape[1]) == (pixels.shape[0] < pixels.shape[1])
            apart = steps.apply(fewer).float() - steps.apply(pixels).float()
            assert apart.abs().mean() < 5.0  # of 255, where a pixel steps by up to 50
        else:
            assert np.array_equal(fewer, pixels)
    assert np.array_equal(whole.read(0), data.read_image(photos / whole.name(0)))
    (batch,) = data.batches(less, steps)
    assert torch.equal(batch.inputs[0][0], steps.finish(steps.apply(less.read(0))[None])[0])


def test_what_has_no_reduced_scale_is_refused():
    steps = Preprocessing((1, 8, 8), (0.5,), (0.2,))
    arrays = ArraySamples(np.zeros((2, 1, 8, 8), np.uint8), [("all", 2)])
    with pytest.raises(OptionError, match="Only JPEGs have a reduced scale"):
        data.reduced(data.Dataset(arrays, source="made"), steps)


def test_the_command_reads_less_where_it_is_told_to(photos, tmp_path, capsys):
    steps = Preprocessing((3, 32, 32), (0.5,) * 3, (0.2,) * 3, classes=("a", "b"))
    torch.manual_seed(0)
    model = models.create("convnet", num_classes=2)
    run = models.save(model, tmp_path / "run", {"task": "classification", **steps.to_card()})

    def likely(*words):
        assert main(["predict", str(run), str(photos), "--json", *words]) == 0
        told = json.loads(capsys.readouterr().out)["predictions"]
        return {Path(row["name"]).name: row["confidence"] for row in told}

    whole, less = likely(), likely("--reduced")
    assert {name for name in whole if whole[name] != less[name]} == {
        "large.jpg",
        "odd.jpg",
        "turned.jpg",
    }
    assert all(less[name] == pytest.approx(whole[name], abs=0.05) for name in whole)
    dataset = data.reduced(data.open_inputs([str(photos)]), steps)
    expected = predict.open_run(run).predictor.records(dataset)
    assert [*less.values()] == pytest.approx([row.confidence for row in expected], abs=1e-6)
    out = tmp_path / "answers"
    assert main(["predict", str(run), str(photos), "-o", str(out), "--reduced"]) == 0
    assert main(["predict", str(run), str(photos), "-o", str(out)]) == 2
    assert "begun with reduced True" in capsys.readouterr().err
