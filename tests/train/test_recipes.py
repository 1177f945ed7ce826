"""What is chosen where nobody says, from the facts of a data set alone."""

from __future__ import annotations

import numpy as np
import pytest

from convarium import data, models, train


def dataset(tmp_path, side, n, colour=True):
    shape = (n, side, side, 3) if colour else (n, side, side)
    images = np.random.Generator(np.random.PCG64(0)).integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / f"{side}.npz", x=images, y=np.arange(n) % 4)
    return data.open_dataset(tmp_path / f"{side}.npz")


@pytest.mark.parametrize("side", [8, 28, 32, 48, 64, 96])
def test_the_choice_can_be_built_and_its_last_map_is_not_a_point(tmp_path, side, recwarn):
    chosen = train.recommend(dataset(tmp_path, side, 40))
    assert chosen.size is None
    model = models.create(chosen.model, num_classes=4, in_channels=3, **chosen.options)
    models.check_input(model, (3, side, side))
    assert not recwarn.list


def test_digits_are_not_mirrored_and_large_arrays_are_reduced(tmp_path):
    digits = train.recommend(data.open_dataset("digits"))
    assert digits.config.flip is False
    assert digits.size is None
    large = train.recommend(dataset(tmp_path, 200, 12))
    assert large.size == 96
    assert large.config.flip is True


def test_smaller_data_gets_smaller_batches_and_more_epochs(tmp_path):
    few, many = (train.recommend(dataset(tmp_path, 8, n)) for n in (100, 20_000))
    assert few.config.batch_size < many.config.batch_size
    assert few.config.epochs > many.config.epochs
    assert few.config.learning_rate < many.config.learning_rate
    assert many.validation * 20_000 == pytest.approx(2000)
    assert many.test == 0.15


def test_sgd_gets_a_rate_and_a_decay_of_its_own(tmp_path):
    images = dataset(tmp_path, 8, 3000)
    adamw, sgd = (train.recommend(images, optimizer=name) for name in ("adamw", "sgd"))
    assert sgd.config.optimizer == "sgd"
    assert sgd.config.learning_rate == pytest.approx(0.1)
    assert sgd.config.weight_decay < adamw.config.weight_decay


def test_a_long_training_is_regularised_and_a_short_one_is_not(tmp_path):
    few, many = (train.recommend(dataset(tmp_path, 8, n)).config for n in (100, 30_000))
    assert few.epochs >= 10 > many.epochs
    assert few.label_smoothing > many.label_smoothing == 0.0
    assert few.weight_decay > many.weight_decay
    assert few.pad_crop > many.pad_crop == 0


def test_the_network_follows_a_given_size(tmp_path):
    images = dataset(tmp_path, 96, 12)
    assert train.recommend(images).model == "resnet18"
    small = train.recommend(images, size=32)
    assert (small.model, small.size, small.options["stem"]) == ("resnet10", 32, "pool")
