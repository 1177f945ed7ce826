"""A card that does not belong to its network is refused when the run is opened."""

from __future__ import annotations

import json
import re

import pytest
import torch
from PIL import Image

from convarium import models, predict
from convarium.data import Preprocessing
from convarium.errors import RunError


@pytest.fixture
def folder(tmp_path):
    card = Preprocessing((1, 32, 32), (0.5,), (0.5,), classes=("a", "b")).to_card()
    model = models.create("lenet5", num_classes=2)
    return models.save(model, tmp_path / "run", {"task": "classification", **card})


def edit(folder, change):
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))


def test_a_network_that_was_not_trained_here_takes_samples_from_a_path(folder, tmp_path):
    opened = predict.open_run(folder)
    with pytest.raises(RunError, match=r"keeps no samples.* --samples"):
        opened.samples()
    for k in range(40):
        Image.new("L", (40, 50), color=k).save(tmp_path / f"{k:02d}.png")
    inputs = opened.samples(tmp_path)
    assert inputs.shape == (32, 1, 32, 32)
    expected = (torch.arange(32) / 255 - 0.5) / 0.5
    torch.testing.assert_close(inputs[:, 0, 0, 0], expected)


def test_a_card_that_fits_is_opened(folder):
    assert predict.open_run(folder).preprocessing.classes == ("a", "b")


@pytest.mark.parametrize(
    ("classes", "found"),
    [
        (["a"], "1 classes and a network of 2 outputs"),
        (["a", "b", "c"], "3 classes and a network of 2 outputs"),
        ("ab", "classes that are no list"),
        ({"a": 1, "b": 2}, "classes that are no list"),
    ],
)
def test_classes_that_are_not_the_networks_are_refused(folder, classes, found):
    edit(folder, lambda card: card.update(classes=classes))
    with pytest.raises(RunError, match=rf"card.json has {found}.*; copy the whole run"):
        predict.open_run(folder)


def test_channels_that_are_not_the_networks_are_refused(folder):
    card = Preprocessing((3, 32, 32), (0.5,) * 3, (0.5,) * 3, classes=("a", "b")).to_card()
    edit(folder, lambda old: old.update(card))
    with pytest.raises(RunError, match=r"images of 3 channels for a network that takes 1; copy"):
        predict.open_run(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda card: card["preprocessing"].pop("steps"), "incomplete"),
        (lambda card: card["preprocessing"]["steps"].pop(0), "steps that this version"),
        (lambda card: card["preprocessing"].update(input_shape=[1, 0, 0]), "input_shape"),
        (lambda card: card["preprocessing"].update(input_shape=[1, 1, float("inf")]), "infinity"),
        (lambda card: card["preprocessing"].update(input_shape=[1, 10**6, 10**6]), "16384 or less"),
        (lambda card: card.update(classes=3), "incomplete"),
        (lambda card: card.update(preprocessing=None), "incomplete"),
    ],
)
def test_preprocessing_that_cannot_be_replayed_is_a_run_error(folder, change, words):
    edit(folder, change)
    with pytest.raises(RunError, match=rf"card.json .*{re.escape(words)}.* copy the whole run"):
        predict.open_run(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"calibration": {"temperature": 0}}, "temperature"),
        ({"task": "multilabel", "threshold": 2}, "threshold"),
        ({"task": "regression"}, "targets"),
        ({"task": "clasification"}, "Did you mean 'classification'"),
    ],
)
def test_a_task_that_the_card_does_not_describe_is_a_run_error(folder, change, words):
    edit(folder, lambda card: card.update(change))
    with pytest.raises(RunError, match=rf"card.json cannot be used: .*{words}.* copy the whole"):
        predict.open_run(folder)
