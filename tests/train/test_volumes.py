"""Training on volumes: a known answer, equal bits, and options that only images have."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from shapes import SHAPES, several

import convarium
from convarium import data, train
from convarium.data import pictures
from convarium.data.volumes.samples import VolumeFiles
from convarium.errors import OptionError
from convarium.report import trained_on
from convarium.train.config import TrainConfig
from convarium.train.from_config import augmentation_of
from convarium.train.learner import Learner
from convarium.train.named import RECIPES


def opened(path, count: int, side: int, seed: int) -> data.Dataset:
    values, labels = several(count, side, seed)
    np.savez(path, x=values, y=labels, classes=SHAPES)
    return data.open_dataset(path)


@pytest.fixture
def parts(tmp_path):
    return data.split(opened(tmp_path / "d.npz", 210, 16, 0), validation=0.1, test=0.0)


def network(**options) -> torch.nn.Module:
    torch.manual_seed(0)
    shape = {"spatial_dims": 3, "in_channels": 1, "num_classes": 3}
    return convarium.create("convnet", **shape, channels=[8, 16, 32], **options)


def config(**options) -> TrainConfig:
    own = {"batch_size": 16, "learning_rate": 0.01, "precision": "fp32", "layout": "channels_last"}
    return TrainConfig(**{**own, "pad_crop": 1, "flip_axes": "all", **options})


def test_shapes_in_noise_are_told_apart(parts, tmp_path):
    """At least 95 of 100 new ones, from 189, in seconds."""
    steps = data.fit_preprocessing(parts.train)
    model = network()
    train.fit(model, parts, config(epochs=8), preprocessing=steps, out=tmp_path / "run")
    new = opened(tmp_path / "new.npz", 120, 16, 1)
    evaluation = convarium.open_run(tmp_path / "run").predictor.evaluate(new)
    assert evaluation.accuracy >= 0.95
    heat = convarium.explain.grad_cam(model, steps.finish(steps.apply(new.read(0))[None]))
    assert heat.display().shape == (1, 16, 16, 16)


def test_two_runs_of_one_seed_have_the_same_bits_whatever_the_workers(tmp_path, monkeypatch):
    """Read anew in each epoch, by threads that finish in another order than they began."""
    for i, values in enumerate(several(42, 10, 0)[0]):
        (tmp_path / SHAPES[i % 3]).mkdir(exist_ok=True)
        np.save(tmp_path / SHAPES[i % 3] / f"{i}.npy", values)
    monkeypatch.setattr(pictures, "MEMORY_BUDGET", 0)
    plain, readers = VolumeFiles.read, set()

    def late(self, i, at_least=None):
        readers.add(threading.current_thread())
        time.sleep(0.002 * (i % 3))
        return plain(self, i)

    parts = data.split(data.open_dataset(tmp_path), validation=0.1, test=0.0)
    steps = data.fit_preprocessing(parts.train, size=8)
    monkeypatch.setattr(VolumeFiles, "read", late)
    weights = []
    for workers, seed in ((0, 0), (2, 0), (0, 1)):
        readers.clear()
        learner = Learner(network(), parts, config(workers=workers, mixup=0.2, seed=seed), steps)
        for step, batch in enumerate(learner.batches(0)):
            learner.gradient(batch, epoch=0, step=step)
            learner.update(0.01)
        assert len(readers - {threading.main_thread()}) == workers
        weights.append(torch.cat([each.detach().flatten() for each in learner.model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_both_memory_orders_take_the_same_steps(parts):
    steps = data.fit_preprocessing(parts.train, size=8)
    losses = {}
    for layout in ("channels_last", "contiguous"):
        model = network()
        learner = Learner(model, parts, config(layout=layout), steps)
        batch = next(learner.batches(0))
        losses[layout] = learner.gradient(batch, epoch=0, step=0).loss
        first = next(each for each in model.parameters() if each.ndim == 5 and each.shape[1] > 1)
        assert first.is_contiguous(memory_format=torch.channels_last_3d) == (layout != "contiguous")
    assert losses["channels_last"] == pytest.approx(losses["contiguous"], rel=1e-5)


@pytest.mark.parametrize(
    "given",
    [
        {"jitter": 0.4},
        {"rotation": 10.0},
        {"policy": "trivialaugment"},
        {"resized_crop": 0.3},
        {"erasing": 0.2},
        {"grey": 0.1},
    ],
)
def test_what_only_images_have_is_refused_for_volumes(given, parts):
    steps = data.fit_preprocessing(parts.train)
    ((name, value),) = given.items()
    with pytest.raises(OptionError, match=rf"{name} \(={value!r}\) is for images"):
        train.fit(network(), parts, config(epochs=1, **given), preprocessing=steps)


def test_what_only_volumes_have_is_refused_for_images():
    parts = data.split(data.open_dataset("digits"))
    model = convarium.create("resnet8", in_channels=1, num_classes=10)
    with pytest.raises(OptionError, match=r"flip_axes \(='all'\) is for volumes"):
        train.fit(
            model,
            parts,
            TrainConfig(flip_axes="all"),
            preprocessing=data.fit_preprocessing(parts.train),
        )
    with pytest.raises(OptionError, match="must be one side in pixels for images"):
        train.recommend(parts.train.dataset, size=(8, 8, 8))


@pytest.mark.parametrize(
    ("size", "name", "stem"),
    [
        (12, "resnet8", "cifar"),
        ((12, 32, 40), "resnet8", "pool"),
        (48, "resnet10", None),
        ((1, 64, 64), "resnet8", "cifar"),
    ],
)
def test_a_network_is_chosen_that_takes_the_volumes(size, name, stem, tmp_path):
    dataset = opened(tmp_path / "d.npz", 12, 16, 0)
    choice = train.recommend(dataset, size=size)
    assert (choice.model, choice.options.get("stem")) == (name, stem)
    sides = (size,) * 3 if isinstance(size, int) else size
    assert choice.size == sides
    model = convarium.create(choice.model, **choice.options, in_channels=1, num_classes=3)
    assert model.eval()(torch.zeros(1, 1, *sides)).shape == (1, 3)
    pads = augmentation_of(choice.config, "volumes", sides).pad_crop
    assert all(
        pad <= max(1, max(sides) // 16) * side / max(sides)
        for pad, side in zip(pads, sides, strict=True)
    )
    assert choice.config.batch_size * np.prod(sides) <= max(2**22, 2 * np.prod(sides))
    assert "12 volumes of 3 classes, size 16 x 16 x 16 voxels of int16" in choice.reason


@pytest.mark.parametrize(
    ("grid", "given", "pads"),
    [
        ((16, 16, 16), 3, (3, 3, 3)),
        ((1, 12, 12), 1, (0, 1, 1)),
        ((4, 64, 64), 4, (0, 4, 4)),
        ((32, 64, 48), 4, (2, 4, 3)),
    ],
)
def test_pads_are_in_proportion_to_the_sides(grid, given, pads):
    assert augmentation_of(TrainConfig(pad_crop=given), "volumes", grid).pad_crop == pads


@pytest.mark.parametrize("recipe", [None, "strong"])
def test_flat_volumes_are_trained_on_without_being_asked(recipe, tmp_path):
    values = np.random.default_rng(0).normal(size=(40, 1, 12, 12)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=values[:, None], y=np.arange(40) % 2, classes=["a", "b"])
    parts = data.split(data.open_dataset(tmp_path / "d.npz"), validation=0.2, test=0.0)
    choice = train.recommend(parts.train.dataset, size=(1, 12, 12), recipe=recipe)
    steps = data.fit_preprocessing(parts.train, size=choice.size)
    model = convarium.create(choice.model, **choice.options, in_channels=1, num_classes=2)
    learner = Learner(model, parts, choice.config, steps)
    assert learner.augmentation.pad_crop[0] == 0 < learner.augmentation.pad_crop[1]
    assert next(learner.batches(0)).inputs[0].shape[1:] == (1, 1, 12, 12)
    with pytest.raises(OptionError, match=r"pad_crop \(=12\) .* than the volumes, 12 voxels"):
        Learner(model, parts, TrainConfig(pad_crop=12), steps)


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_recipe_takes_more_voxels_a_batch_than_the_limit(recipe, tmp_path):
    dataset = opened(tmp_path / "d.npz", 12, 16, 0)
    small, large = (train.recommend(dataset, size=side, recipe=recipe).config for side in (16, 64))
    assert large.batch_size * 64**3 <= 2**22
    ratio = (large.batch_size / small.batch_size) ** 0.5
    assert large.learning_rate == pytest.approx(small.learning_rate * ratio)


def test_a_recipe_gives_volumes_what_is_not_for_images_alone(tmp_path):
    dataset = opened(tmp_path / "d.npz", 12, 16, 0)
    chosen = train.recommend(dataset, recipe="strong").config
    assert (chosen.policy, chosen.erasing) == ("none", 0.0)
    assert (chosen.mixup, chosen.cutmix, chosen.ema) == (0.2, 1.0, 0.999)
    assert chosen.pad_crop == 2
    for name in RECIPES:
        change = augmentation_of(train.recommend(dataset, recipe=name).config, "volumes")
        assert change.flip_axes == ("width",)


def test_options_of_another_kind_are_refused_before_a_sample_is_read(tmp_path, monkeypatch):
    dataset = opened(tmp_path / "shapes.npz", 6, 8, 0)
    monkeypatch.setattr(trained_on, "fit_preprocessing", None)
    with pytest.raises(OptionError, match="is for texts"):
        trained_on.seen_in_training(dataset, TrainConfig(word_dropout=0.2))
