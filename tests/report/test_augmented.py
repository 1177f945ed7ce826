"""The page of augmented samples: what it shows is what training gets."""

from __future__ import annotations

import base64
import io
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from drawn_words import meet, words
from PIL import Image

from convarium import data, report
from convarium.data.samples import ArraySamples
from convarium.errors import OptionError
from convarium.report.trained_on import seen_in_training
from convarium.train import TrainConfig

SVG = "{http://www.w3.org/2000/svg}"


def arrays(n: int, side: int = 12, classes: int = 3) -> data.Dataset:
    pixels = np.random.default_rng(n).integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    names = [f"<class {k}>" for k in range(classes)]
    targets = np.arange(n, dtype=np.int64) % classes
    samples = ArraySamples(pixels, [("image", n)])
    return data.Dataset(samples, source="made", classes=names, targets=targets)


def steps(dataset: data.Dataset) -> data.Preprocessing:
    return data.fit_preprocessing(data.Part(dataset, np.arange(len(dataset))))


def shown(dataset: data.Dataset, augmentation: data.Augmentation, **options: int):
    ids = np.array([4, 0, 7])
    return report.augmented_samples(dataset, ids, steps(dataset), augmentation, **options)


def pictures(svg: str) -> list[np.ndarray]:
    found = []
    for element in ElementTree.fromstring(svg).iter(f"{SVG}image"):
        content = base64.b64decode(element.attrib["href"].partition(",")[2])
        found.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
    return found


def test_nothing_changed_shows_the_picture_itself_in_every_epoch() -> None:
    dataset = arrays(9)
    found = shown(dataset, data.Augmentation(), versions=3)
    assert [sample.name for sample in found] == ["image/4", "image/0", "image/7"]
    assert [sample.label for sample in found] == ["<class 1>", "<class 0>", "<class 1>"]
    for sample, i in zip(found, (4, 0, 7), strict=True):
        assert (sample.original == dataset.read(i)).all()
        assert len(sample.versions) == 3
        assert all((version == sample.original).all() for version in sample.versions)
        assert set(sample.notes) == {""}


def test_versions_are_the_training_batches_of_their_epochs() -> None:
    dataset = arrays(9)
    augmentation = data.Augmentation(flip=True, pad_crop=2, jitter=0.3)
    found = shown(dataset, augmentation, seed=5, epoch=2, versions=2)
    part = data.Part(dataset, np.arange(9))
    for column, epoch in enumerate((2, 3)):
        for batch in data.training_batches(
            part, steps(dataset), batch_size=2, seed=5, epoch=epoch, augmentation=augmentation
        ):
            raw = steps(dataset)
            for place, i in enumerate(batch.index.tolist()):
                for sample in found:
                    if sample.name == f"image/{i}":
                        values = batch.inputs[0][place].permute(1, 2, 0).numpy()
                        pixels = 255 * (values * np.array(raw.std) + np.array(raw.mean))
                        assert abs(sample.versions[column] - pixels).max() < 0.6


def test_notes_name_the_partner_and_the_shares() -> None:
    found = shown(arrays(9), data.Augmentation(mixup=0.4), versions=4)
    notes = {note for sample in found for note in sample.notes}
    assert "unmixed" in notes  # one of three has no partner
    assert any("own" in note and "<class" in note for note in notes)


def test_classes_take_turns() -> None:
    dataset = arrays(30, classes=5)
    found = report.some_of_each_class(dataset, np.arange(30), 10, seed=1)
    assert sorted(dataset.targets[found[:5]].tolist()) == list(range(5))
    assert sorted(dataset.targets[found[5:]].tolist()) == list(range(5))
    assert len(set(found.tolist())) == 10
    dataset.targets = None
    assert len(set(report.some_of_each_class(dataset, np.arange(30), 7).tolist())) == 7


def test_the_drawing_has_all_pictures_in_order_and_all_words() -> None:
    found = shown(arrays(9), data.Augmentation(flip=True), versions=2)
    svg = report.draw_augmented(found, ["flip it"], title="A <title>", epoch=7)
    drawn = pictures(svg)
    wanted = [each for sample in found for each in (sample.original, *sample.versions)]
    assert len(drawn) == len(wanted)
    assert all((a == b).all() for a, b in zip(drawn, wanted, strict=True))
    said = [line[0] for line in words(svg)]
    for text in ("A <title>", "flip it", "original", "epoch 7", "epoch 8", "image/4", "<class 1>"):
        assert text in said
    assert "epoch 9" not in said


def test_large_and_narrow_pictures_keep_their_shape() -> None:
    dataset = arrays(9, side=12)
    original = np.zeros((50, 1000, 3), np.uint8)
    sample = report.AugmentedSample("wide", "", original, (dataset.read(0),), ("",))
    svg = report.draw_augmented([sample], [], title="x")
    boxes = [
        (float(e.attrib["width"]), float(e.attrib["height"]))
        for e in ElementTree.fromstring(svg).iter(f"{SVG}image")
    ]
    assert boxes[0][0] / boxes[0][1] == pytest.approx(20, rel=0.01)
    assert boxes[1][0] == boxes[1][1]
    assert max(pictures(svg)[0].shape) < 500
    assert {"no label", "nothing is changed at random"} <= {line[0] for line in words(svg)}


def test_long_words_do_not_meet() -> None:
    picture = arrays(1).read(0)
    notes = ("50% own, 50% a class with a very long name",) * 2
    sample = report.AugmentedSample("n" * 200, "l" * 200, picture, (picture, picture), notes)
    svg = report.draw_augmented([sample] * 3, ["crop and flip and turn"] * 9, title="t" * 300)
    lines = words(svg)
    assert not [(a, b) for a, b in combinations(lines, 2) if meet(a, b)]
    assert max(line[3] for line in lines) <= float(ElementTree.fromstring(svg).attrib["width"])


@pytest.mark.parametrize("kind", ["html", "svg", "png"])
def test_the_page_is_written_as_its_name_ends(kind: str, tmp_path: Path) -> None:
    found = shown(arrays(9), data.Augmentation(flip=True), versions=1)
    path = report.write_augmented(tmp_path / f"page.{kind}", found, ["flip"], title="<T>")
    content = path.read_bytes()
    if kind == "png":
        with Image.open(path) as picture:
            assert min(picture.size) > 300
    else:
        assert content.count(b"<image") == 6
        assert b"&lt;class 1&gt;" in content
        assert b"<class" not in content
        assert content.startswith(b"<svg" if kind == "svg" else b"<!doctype html>")


def test_another_ending_or_no_sample_is_refused(tmp_path: Path) -> None:
    found = shown(arrays(9), data.Augmentation(), versions=1)
    with pytest.raises(OptionError, match=r"must end in \.html, \.svg, \.png"):
        report.write_augmented(tmp_path / "page.gif", found, [], title="x")
    with pytest.raises(OptionError, match="at least one"):
        report.draw_augmented([], [], title="x")


@pytest.mark.parametrize(("channels", "told"), [(6, False), (12, True)])
def test_channels_that_are_left_out_are_counted(channels: int, told: bool) -> None:
    curves = np.random.default_rng(0).random((channels, 20), dtype=np.float32)
    sample = report.AugmentedSample("a name", "a label", curves, (curves,), ("",))
    svg = report.draw_augmented([sample], (), title="curves")
    assert ("6 of 12 channels; a name" in svg) == told
    assert "a name" in svg


def test_a_single_sample_is_mixed_with_another() -> None:
    found = seen_in_training(arrays(9), TrainConfig(mixup=5.0), samples=1, versions=4)
    (sample,) = found.samples
    partners = {note.rpartition("% ")[2] for note in sample.notes} - {"unmixed"}
    assert partners
    assert sample.label not in partners
