"""Inputs that grow: their sides by the formula, and the whole picture at the end."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import convarium
from convarium import data, train
from convarium.errors import OptionError
from convarium.train.growing import resized, sides_at
from convarium.train.learner import Learner


@given(
    st.integers(1, 500),
    st.lists(st.integers(4, 300), min_size=2, max_size=2),
    st.floats(0.05, 1),
    st.integers(1, 16),
)
def test_sides_never_shrink_and_end_with_the_whole(total, sides, start, smallest):
    found = [sides_at(t, total, sides, start=start, smallest=smallest) for t in range(total)]
    assert found[-1] == tuple(sides)
    for before, after in itertools.pairwise(found):
        assert all(a <= b for a, b in zip(before, after, strict=True))
    for given_sides in found:
        for side, n in zip(given_sides, sides, strict=True):
            assert side == n or (side % 4 == 0 or side == smallest)
            assert min(n, smallest) <= side <= n


def test_constant_images_stay_constant_and_whole_ones_are_left_alone():
    images = torch.full((2, 3, 28, 20), 0.25)
    assert torch.allclose(resized(images, (16, 12)), torch.tensor(0.25))
    assert resized(images, (28, 20)) is images


def test_the_first_steps_see_small_images_and_the_last_ones_whole_ones():
    dataset = data.open_dataset("digits")
    parts = data.split(dataset, seed=0)
    steps = data.fit_preprocessing(parts.train, size=16)
    config = train.TrainConfig(epochs=2, batch_size=64, start_size=0.5, flip=False)
    model = convarium.create("speednet", in_channels=1)
    learner = Learner(model, parts, config, steps)
    batch = next(iter(learner.batches(0)))
    total = learner.total_steps
    seen = [learner.sized(batch, t).inputs[0].shape[-1] for t in (0, total // 2, total - 1)]
    assert seen == [8, 12, 16]
    assert model.start_samples == 0


def test_volumes_do_not_grow():
    config = train.TrainConfig(start_size=0.5)
    with pytest.raises(OptionError, match=r"start_size \(=0.5\) is for images"):
        train.from_config.augmentation_of(config, "volumes")


def test_training_shows_the_network_images_of_these_sides():
    dataset = data.open_dataset("digits")
    parts = data.split(dataset, seed=0)
    parts = dataclasses.replace(parts, train=data.Part(dataset, parts.train.ids[:64]))
    steps = data.fit_preprocessing(parts.train, size=16)
    model = convarium.create("convnet", in_channels=1, channels=[4])
    seen = []
    model.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].shape[-1]) if torch.is_grad_enabled() else None
    )
    config = train.TrainConfig(epochs=4, batch_size=32, start_size=0.5, flip=False)
    train.fit(model, parts, config, preprocessing=steps)
    assert seen[-8:] == [8, 8, 12, 12, 12, 12, 16, 16]  # before them, a copy may be timed


def test_a_network_of_one_size_is_refused_before_anything_is_written(tmp_path):
    dataset = data.open_dataset("digits")
    parts = data.split(dataset, seed=0)
    steps = data.fit_preprocessing(parts.train, size=32)
    model = convarium.create("lenet5", in_channels=1)
    config = train.TrainConfig(epochs=1, start_size=0.5, flip=False)
    with pytest.raises(OptionError, match=r"start_size \(=0.5\) begins with inputs of \(16, 16\)"):
        train.fit(model, parts, config, preprocessing=steps, out=tmp_path / "run")
