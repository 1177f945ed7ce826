"""Test-time augmentation: the mean of what is seen in each view, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from convarium import data, models, predict
from convarium.cli import main
from convarium.errors import DataError, OptionError

CLASSES = ("ape", "bee", "cat")


class Linear(torch.nn.Module):
    """A linear network; the positions differ, so mirror images do too."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(3 * 8 * 8, outputs, generator=generator) / 4)

    def forward(self, x):
        return x.flatten(1) @ self.weight


def card_of(task: str = "classification", resize: int | None = None, **more) -> dict:
    names = CLASSES[:2] if task == "regression" else CLASSES
    steps = data.Preprocessing((3, 8, 8), (0.5,) * 3, (0.25,) * 3, names, resize=resize)
    moments = {"units": ["", ""], "mean": [1.0, 2.0], "std": [3.0, 4.0]}
    return {"task": task, **steps.to_card(), "targets": moments, **more}


@pytest.fixture
def photos(tmp_path):
    generator = np.random.default_rng(0)
    for k, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        for i in range(4):
            pixels = generator.integers(0, 256, (12 + i, 17 + k, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    return tmp_path


def inputs_of(dataset: data.Dataset, steps: data.Preprocessing) -> torch.Tensor:
    return steps.finish(torch.stack([steps.apply(dataset.read(i)) for i in range(len(dataset))]))


def means(model, views, temperature: float = 1.0) -> torch.Tensor:
    with torch.no_grad():
        each = [(model(view).double() / temperature).softmax(1) for view in views]
    return torch.stack(each).mean(0)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_flip_is_the_mean_of_both_by_hand(photos, temperature):
    dataset, model = data.open_dataset(photos), Linear(3)
    card = card_of(calibration={"temperature": temperature})
    flipped = predict.Predictor(model, card, tta="flip")
    x = inputs_of(dataset, flipped.preprocessing)
    expected = means(model, [x, x.flip(-1)], temperature)
    records = list(flipped.records(dataset, batch_size=5))
    stated = np.array([record.probabilities for record in records])
    np.testing.assert_allclose(stated, expected, rtol=1e-5)
    result = flipped.evaluate(dataset, batch_size=5)
    np.testing.assert_array_equal(result.labels, expected.argmax(1))
    np.testing.assert_allclose(result.stated.rows, expected, rtol=1e-5)
    plain = predict.Predictor(model, card).evaluate(dataset)
    assert result.stated.nll != plain.stated.nll


def test_five_crops_are_the_corners_and_the_centre_of_the_resized_picture(photos):
    dataset, steps = data.open_dataset(photos), data.Preprocessing.from_card(card_of(resize=10))
    image = dataset.read(3)  # 15 x 17 pixels
    size = (10 * 17 // 15, 10)
    whole = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    crops = steps.crops(image).permute(0, 2, 3, 1).numpy()
    right, bottom = size[0] - 8, size[1] - 8
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    for crop, (top, left) in zip(crops, places, strict=False):
        np.testing.assert_array_equal(crop, whole[top : top + 8, left : left + 8])
    for i in range(len(dataset)):
        assert torch.equal(steps.crops(dataset.read(i))[4], steps.apply(dataset.read(i)))


@pytest.mark.parametrize(
    ("size", "covering", "around"),  # of a picture of 14 x 17 pixels
    [
        ((14, 17), (14, 17), ((1, 1), (1, 1))),  # it, shifted by a pixel
        ((28, 34), (28, 34), ((2, 2), (2, 2))),
        ((8, 8), (8, 9), ((1, 1), (0, 1))),
        ((40, 72), (59, 72), ((0, 0), (4, 4))),
        ((24, 8), (24, 29), ((2, 2), (0, 0))),
    ],
)
def test_corners_are_of_all_that_covers_the_input_and_of_repeated_edges_only_where_it_ends(
    photos, size, covering, around
):
    steps = data.Preprocessing((3, *size), (0.5,) * 3, (0.25,) * 3, CLASSES)
    image = data.open_dataset(photos).read(2)
    cover = Image.fromarray(image).resize(covering[::-1], Image.Resampling.BILINEAR)
    whole = torch.from_numpy(np.pad(cover, [*around, (0, 0)], "edge")).permute(2, 0, 1)
    top, left, bottom, right = whole[:, : size[0]], size[1], whole[:, -size[0] :], -size[1]
    expected = [top[..., :left], top[..., right:], bottom[..., :left], bottom[..., right:]]
    assert torch.equal(steps.crops(image), torch.stack([*expected, steps.apply(image)]))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("resize", [10, 8, None])
@pytest.mark.parametrize("tta", ["five_crops", "flip_five_crops"])
def test_crops_are_averaged_with_their_mirror_images(photos, tta, resize, workers):
    dataset, model = data.open_dataset(photos), Linear(3)
    predictor = predict.Predictor(model, card_of(resize=resize), tta=tta)
    steps = predictor.preprocessing
    crops = torch.stack([steps.crops(dataset.read(i)) for i in range(len(dataset))], 1)
    views = [steps.finish(each) for each in crops]
    if tta.startswith("flip"):
        views += [view.flip(-1) for view in views]
    stated = [r.probabilities for r in predictor.records(dataset, batch_size=5, workers=workers)]
    np.testing.assert_allclose(stated, means(model, views), rtol=1e-5)


def test_labels_and_numbers_are_averaged_too(photos):
    dataset = data.open_inputs([photos])
    for task, outputs in (("multilabel", 3), ("regression", 2)):
        model = Linear(outputs)
        flipped = predict.Predictor(model, card_of(task), tta="flip")
        x = inputs_of(dataset, flipped.preprocessing)
        with torch.no_grad():
            both = torch.stack([model(x), model(x.flip(-1))])
        records = list(flipped.records(dataset))
        if task == "multilabel":
            expected = both.sigmoid().mean(0)
            found = [record.probabilities for record in records]
        else:
            expected = both.mean(0) * torch.tensor([3.0, 4.0]) + torch.tensor([1.0, 2.0])
            found = [record.values for record in records]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_views_that_cannot_be_made_are_refused_at_once():
    with pytest.raises(OptionError, match="Did you mean 'flip'"):
        predict.Predictor(Linear(3), card_of(), tta="flipp")
    volumes = data.VolumePreprocessing((1, 4, 4, 4), (0.5,), (0.25,), CLASSES)
    assert (
        predict.Predictor(Linear(3), {**card_of(), **volumes.to_card()}, tta="flip").tta == "flip"
    )
    for tta in ("five_crops", "flip_five_crops"):
        with pytest.raises(OptionError, match="corners of images, and these are volumes"):
            predict.Predictor(Linear(3), {**card_of(), **volumes.to_card()}, tta=tta)
    with pytest.raises(DataError, match="Five crops are for pictures"):
        volumes.crops(np.zeros((4, 4, 1), np.uint8))


def test_the_command_says_which_views_it_averaged(photos, tmp_path, capsys):
    steps = data.Preprocessing((3, 32, 32), (0.5,) * 3, (0.25,) * 3, CLASSES)
    model = models.create("lenet5", num_classes=3, in_channels=3)
    folder = models.save(model, tmp_path / "run", {"task": "classification", **steps.to_card()})
    words = ["evaluate", str(folder), str(photos), "--tta", "flip"]
    assert main(words) == 0
    assert "test-time augmentation: flip" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    expected = predict.Predictor(model, steps.to_card() | {"task": "classification"}, tta="flip")
    assert result["nll"] == pytest.approx(
        expected.evaluate(data.open_dataset(photos)).stated.nll, rel=1e-5
    )
    assert result["tta"] == "flip"
    assert main(["predict", str(folder), str(photos / "ape"), "--tta", "flip", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tta"] == "flip"
    assert main([*words[:-1], "five_crops"]) == 0
    assert "test-time augmentation: five_crops" in capsys.readouterr().out
