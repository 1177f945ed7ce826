"""Large JPEGs at a reduced scale, as forms of tuning: only where that is shown to cost little."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from convarium import data, deploy, models
from convarium.cli import labelled, main
from convarium.data import Preprocessing, read_image
from convarium.data.reducing import comes_smaller
from convarium.deploy import picture_files, tuning
from convarium.deploy.reduced_files import ReducedFiles
from convarium.errors import DataError
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
    """A network; passes are short."""
    monkeypatch.setattr(tuning, "_ALONE", 0.02)
    monkeypatch.setattr(tuning, "_TURNS", 0.05)
    torch.manual_seed(0)
    return models.create("convnet", channels=[4, 4], num_classes=2).eval()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture takes long where all of it is decoded."""

    def read(source: bytes, at_least: tuple[int, int] | None = None) -> Any:
        time.sleep(0.01 if at_least is None else 0)
        return read_image(source, at_least=at_least)

    monkeypatch.setattr(picture_files, "read_image", read)


def given(model: Network, pictures: deploy.PictureFiles) -> dict[str, Any]:
    """What `tune` is asked, with the network's own answers as labels."""
    (whole,), (less,) = pictures.batches(10, 1), pictures.batches(10, 1, reduced=True)
    with torch.no_grad():
        labels = model(whole).argmax(1)
    many: list[list[tuple[Tensor, Tensor]]] = [[(x, labels)] * COPIES for x in (whole, less)]
    named = {"labelled": many[0], "smaller": (many[0], many[1])}
    words = {"samples": whole, "goal": "end_to_end", "engines": ["eager"], "threads": [1]}
    words |= {"batch_size": 2}
    return {**words, **named, "pictures": pictures}


def test_it_is_chosen_where_accuracy_holds_and_predict_reads_so(
    model: Network, slow: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = jpegs(300, 400)
    run = models.save(model, tmp_path / "run", {"task": "classification", **STEPS.to_card()})
    words = given(model, deploy.PictureFiles(files, STEPS))
    found = deploy.tune(model, run / "tuned", **words)
    first, second = found.rows
    assert first.form.label == second.form.label + ", reduced JPEGs"
    assert first.drop is not None
    assert (first.drop.n, first.drop.shown, second.drop) == (10 * COPIES, True, None)
    assert found.speedup is not None
    assert found.speedup > 1
    x, y = words["labelled"][0][0], words["smaller"][1][0][0]
    with torch.no_grad():
        apart = (model(x) - model(y)).abs().max() / model(x).abs().max()
    assert first.difference == pytest.approx(float(apart), rel=1e-3)
    assert second.difference < 1e-4 < first.difference
    assert deploy.tune(model, run / "tuned", **words).rows == found.rows
    used = deploy.in_use(model, run / "tuned")
    assert used is not None
    assert (used[0].reduced, used[1]) == (True, second.form.label)  # type: ignore[attr-defined]

    for k, content in enumerate(files):
        (tmp_path / f"{k}.jpg").write_bytes(content)

    def likely(*flags: str, reduced: bool = True) -> list[float]:
        given = [str(tmp_path / f"{k}.jpg") for k in range(10)]
        assert main(["predict", str(run), *given, "--json", *flags]) == 0
        out, said = capsys.readouterr()
        assert json.loads(out).get("reduced", False) == reduced
        assert ("as tune chose" in said) == (reduced and not flags)
        return [row["confidence"] for row in json.loads(out)["predictions"]]

    tuned, whole = likely(), likely("--untuned", reduced=False)
    views = likely("--tta", "flip", reduced=False)  # which no form was judged by
    assert views == pytest.approx(likely("--tta", "flip", "--untuned", reduced=False), abs=1e-5)
    assert tuned == pytest.approx(likely("--untuned", "--reduced"), abs=1e-5)
    assert tuned != pytest.approx(whole, abs=1e-5)
    out = tmp_path / "answers"
    assert main(["predict", str(run), str(tmp_path / "0.jpg"), "-o", str(out)]) == 0
    assert main(["predict", str(run), str(tmp_path / "0.jpg"), "-o", str(out), "--untuned"]) == 2


def test_it_is_left_out_where_accuracy_is_not_shown_to_hold(model: Network, tmp_path: Path) -> None:
    words = given(model, deploy.PictureFiles(jpegs(300, 400), STEPS))
    whole, less = words["smaller"]
    x, labels = less[0]
    for smaller, reason in (
        ((whole, [(x, 1 - labels)] * COPIES), "too much"),
        ((whole[:1], less[:1]), "not shown at n = 10"),  # of 900 samples, as all others have it
        (None, "no labelled data"),
    ):
        found = deploy.tune(model, tmp_path, **(words | {"smaller": smaller}), fresh=True)
        assert not any(row.form.reduced for row in found.rows)
        assert any(reason in why for why in found.skipped.values()), found.skipped
    small = deploy.tune(model, tmp_path, **given(model, deploy.PictureFiles(jpegs(90, 90), STEPS)))
    assert small.skipped == {"reduced JPEGs": "no JPEG has four times the sides that are needed"}


class Counted(list[Any]):
    """Batches that count how often they are gone through."""

    times = 0

    def __iter__(self) -> Iterator[Any]:
        self.times += 1
        return super().__iter__()


def test_equal_forms_are_asked_once(model: Network) -> None:
    words = given(model, deploy.PictureFiles(jpegs(300, 400), STEPS))
    whole, less = (Counted(each[:3]) for each in words["smaller"])
    files = ReducedFiles(model, words["pictures"], (whole, less), 0.5)
    with torch.no_grad():
        first, second = (files.lost(model, equal=True) for _ in range(2))
        assert files.lost(lambda x: -model(x), equal=False).after == 0
    assert first == second
    assert (first.n, whole.times, less.times) == (30, 1, 2)
    with pytest.raises(DataError, match="there are 30 and 10"):
        ReducedFiles(model, words["pictures"], (whole, less[:1]), 0.5).lost(model, equal=True)
    with pytest.raises(DataError, match="without labelled samples"):
        ReducedFiles(model, words["pictures"], ([], []), 0.5).lost(model, equal=True)


def test_only_samples_that_come_smaller_are_counted(tmp_path: Path) -> None:
    files = [*jpegs(90, 90)[:4], *jpegs(300, 400)[:3], b"no picture", *jpegs(300, 100)[:1]]
    for k, content in enumerate(files):
        (tmp_path / f"{k}.jpg").write_bytes(content)
    (tmp_path / "table.csv").write_text(
        "path,label\n" + "".join(f"{k}.jpg,{'ab'[k % 2]}\n" for k in range(9))
    )
    dataset = data.open_dataset(tmp_path / "table.csv")
    whole, less = labelled.Labelled(data.Part(dataset, np.arange(9)), STEPS).smaller()
    (x, target), (y, same) = next(iter(whole)), next(iter(less))
    assert (target.tolist(), same.tolist()) == ([0, 1, 0], [0, 1, 0])
    assert (x - y).abs().amax((1, 2, 3)).min() > 0


@pytest.mark.parametrize("size", [(300, 400), (128, 64), (64, 128), (127, 500), (128, 128)])
@pytest.mark.parametrize(("kind", "turn"), [("JPEG", 1), ("JPEG", 6), ("PNG", 1)])
def test_headers_tell_what_comes_smaller(size: tuple[int, int], kind: str, turn: int) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = turn
    Image.new("RGB", size).save(file, kind, exif=exif)
    content, steps = file.getvalue(), replace(STEPS, input_shape=(3, 32, 16))
    read = (read_image(content, at_least=each).shape for each in (None, (64, 32)))
    assert comes_smaller(content, steps) == (len({*read}) == 2)
