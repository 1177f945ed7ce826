"""Large JPEGs at a reduced scale, as forms of tuning: only where that is shown to cost little."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from convarium import deploy, models
from convarium.cli import main
from convarium.data import Preprocessing, read_image
from convarium.deploy import picture_files, tuning
from convarium.models import Network

STEPS = Preprocessing((3, 32, 32), (0.5,) * 3, (0.2,) * 3, classes=("a", "b"))
COPIES = 90  # of ten pictures, so that there are samples enough to show a loss under half a point


def jpegs(height: int, width: int) -> list[bytes]:
    """Smooth photographs."""
    random, found = np.random.default_rng(0), []
    for _ in range(10):
        noise = Image.fromarray(random.integers(0, 256, (6, 5, 3), dtype=np.uint8))
        file = io.BytesIO()
        noise.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=95)
        found.append(file.getvalue())
    return found


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network; passes are short, and a picture takes long where all of it is decoded."""
    monkeypatch.setattr(tuning, "_ALONE", 0.02)
    monkeypatch.setattr(tuning, "_TURNS", 0.05)

    def slow(source: bytes, at_least: tuple[int, int] | None = None) -> Any:
        time.sleep(0.003 if at_least is None else 0)
        return read_image(source, at_least=at_least)

    monkeypatch.setattr(picture_files, "read_image", slow)
    torch.manual_seed(0)
    return models.create("convnet", channels=[4, 4], num_classes=2).eval()


def given(model: Network, pictures: deploy.PictureFiles) -> dict[str, Any]:
    """What `tune` is asked, with the network's own answers as labels."""
    (whole,), (less,) = pictures.batches(10, 1), pictures.batches(10, 1, reduced=True)
    with torch.no_grad():
        labels = model(whole).argmax(1)
    many: list[list[tuple[Tensor, Tensor]]] = [[(x, labels)] * COPIES for x in (whole, less)]
    named = dict(zip(("labelled", "smaller"), many, strict=True))
    words = {"samples": whole, "goal": "end_to_end", "engines": ["eager"], "threads": [1]}
    words |= {"batch_size": 2}
    return {**words, **named, "pictures": pictures}


def test_it_is_chosen_where_accuracy_holds_and_predict_reads_so(
    model: Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = jpegs(300, 400)
    run = models.save(model, tmp_path / "run", {"task": "classification", **STEPS.to_card()})
    words = given(model, deploy.PictureFiles(files, STEPS))
    found = deploy.tune(model, run / "tuned", **words)
    first, second = found.rows
    assert first.form.label == second.form.label + ", reduced JPEGs"
    assert first.drop is not None
    assert (first.drop.n, first.drop.shown, second.drop) == (10 * COPIES, True, None)
    x, y = words["labelled"][0][0], words["smaller"][0][0]
    with torch.no_grad():
        apart = (model(x) - model(y)).abs().max() / model(x).abs().max()
    assert first.difference == pytest.approx(float(apart), rel=1e-3)
    assert 0 < second.difference < 1e-4 < first.difference
    assert deploy.tune(model, run / "tuned", **words).rows == found.rows
    used = deploy.in_use(model, run / "tuned")
    assert used is not None
    assert (used[0].reduced, used[1]) == (True, second.form.label)  # type: ignore[attr-defined]

    for k, content in enumerate(files):
        (tmp_path / f"{k}.jpg").write_bytes(content)

    def likely(*flags: str) -> list[float]:
        given = [str(tmp_path / f"{k}.jpg") for k in range(10)]
        assert main(["predict", str(run), *given, "--json", *flags]) == 0
        told = json.loads(capsys.readouterr().out)["predictions"]
        return [row["confidence"] for row in told]

    tuned, whole = likely(), likely("--untuned")
    assert tuned == pytest.approx(likely("--untuned", "--reduced"), abs=1e-5)
    assert tuned != pytest.approx(whole, abs=1e-5)
    out = tmp_path / "answers"
    assert main(["predict", str(run), str(tmp_path / "0.jpg"), "-o", str(out)]) == 0
    assert main(["predict", str(run), str(tmp_path / "0.jpg"), "-o", str(out), "--untuned"]) == 2


def test_it_is_left_out_where_accuracy_is_not_shown_to_hold(model: Network, tmp_path: Path) -> None:
    words = given(model, deploy.PictureFiles(jpegs(300, 400), STEPS))
    x, labels = words["smaller"][0]
    for smaller, reason in (
        ([(x, 1 - labels)] * COPIES, "too much"),
        ([(x, labels)], "there are 900 and 10"),
        (None, "no labelled data"),
    ):
        found = deploy.tune(model, tmp_path, **(words | {"smaller": smaller}), fresh=True)
        assert not any(row.form.reduced for row in found.rows)
        assert any(reason in why for why in found.skipped.values()), found.skipped
    small = deploy.tune(model, tmp_path, **given(model, deploy.PictureFiles(jpegs(90, 90), STEPS)))
    assert small.skipped == {"reduced JPEGs": "no JPEG has four times the sides that are needed"}
