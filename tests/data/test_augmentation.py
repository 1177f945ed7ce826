"""Flips and crops, against images built by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from convarium.data.augmentation import Augmentation, Draws
from convarium.errors import OptionError


def draws(flip: list[bool], top: list[int], left: list[int]) -> Draws:
    return Draws(np.array(flip), np.array(top), np.array(left))


def test_crops_and_flips_by_hand() -> None:
    image = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3).repeat(3, 1, 1, 1)
    chosen = draws([False, True, False], [1, 0, 2], [1, 2, 0])
    found = Augmentation(flip=True, pad_crop=1).apply(image, chosen)[:, 0].tolist()
    assert found[0] == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert found[1] == [[0, 0, 0], [0, 3, 2], [0, 6, 5]]
    assert found[2] == [[0, 4, 5], [0, 7, 8], [0, 0, 0]]


def test_flip_alone() -> None:
    image = torch.arange(6, dtype=torch.uint8).view(1, 1, 2, 3).repeat(2, 1, 1, 1)
    kept = image.clone()
    found = Augmentation(flip=True).apply(image, draws([True, False], [0, 0], [0, 0]))
    assert found[0, 0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert torch.equal(found[1], image[1])
    assert torch.equal(image, kept)


def test_every_place_and_both_directions_come_equally_often() -> None:
    n = 90_000
    found = Augmentation(flip=True, pad_crop=4).draw(np.arange(n), seed=0, epoch=0)
    assert found.flip.mean() == pytest.approx(0.5, abs=0.01)
    for values in (found.top, found.left):
        assert np.bincount(values, minlength=9) / n == pytest.approx([1 / 9] * 9, abs=0.005)
    for one, two in ((found.flip, found.top), (found.top, found.left)):
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.02


def test_draws_belong_to_the_sample() -> None:
    augmentation = Augmentation(flip=True, pad_crop=3)
    all_of_them = augmentation.draw(np.arange(100), seed=1, epoch=2)
    some = augmentation.draw(np.array([70, 3]), seed=1, epoch=2)
    for values, few in zip(all_of_them, some, strict=True):
        assert values[[70, 3]].tolist() == few.tolist()


def test_nothing_asked_is_nothing_done() -> None:
    assert not Augmentation().active
    assert Augmentation(pad_crop=1).active
    assert Augmentation(flip=True).active


def test_a_negative_pad_is_refused() -> None:
    with pytest.raises(OptionError, match="pad_crop"):
        Augmentation(pad_crop=-1)
