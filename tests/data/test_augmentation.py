"""The pipeline of augmentation: one result for a sample, its order, its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convarium.data import Augmentation
from convarium.data.augment import colour
from convarium.data.augment.stream import Stream
from convarium.errors import OptionError

EVERYTHING = Augmentation(
    flip=True,
    pad_crop=3,
    jitter=0.4,
    grey=0.2,
    rotation=15,
    policy="randaugment",
    erasing=0.5,
)
ONE_BY_ONE = [
    Augmentation(flip=True),
    Augmentation(pad_crop=2),
    Augmentation(rotation=20),
    Augmentation(policy="randaugment", policy_ops=3, policy_magnitude=20),
    Augmentation(policy="trivialaugment"),
    Augmentation(jitter=0.8),
    Augmentation(grey=0.5),
    Augmentation(erasing=0.5),
    EVERYTHING,
]


def noise(n: int, shape: tuple[int, int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=generator)


def changed(
    augmentation: Augmentation, pixels: torch.Tensor, ids: Any, **keys: int
) -> torch.Tensor:
    stream = Stream(np.asarray(ids), keys.get("seed", 0), keys.get("epoch", 0))
    found = augmentation.change(pixels, stream)
    return augmentation.after(found.float() - 100, stream)


@given(
    st.sampled_from(ONE_BY_ONE),
    st.sampled_from([(3, 16, 18), (1, 9, 9), (3, 1, 5)]),
    st.lists(st.integers(0, 23), max_size=24, unique=True),
    st.integers(0, 5),
)
def test_what_happens_to_a_sample_does_not_depend_on_its_batch(
    augmentation: Augmentation, shape: tuple[int, int, int], ids: list[int], epoch: int
) -> None:
    pixels = noise(24, shape)
    whole = changed(augmentation, pixels, np.arange(24), epoch=epoch)
    part = changed(augmentation, pixels[ids], np.array(ids, np.int64), epoch=epoch)
    assert torch.equal(whole[ids], part)


@pytest.mark.parametrize("augmentation", ONE_BY_ONE)
def test_large_pictures_alone_and_together_are_the_same(augmentation: Augmentation) -> None:
    pixels = noise(6, (3, 150, 131))
    whole = changed(augmentation, pixels, np.arange(6))
    for i in range(6):
        assert torch.equal(whole[i : i + 1], changed(augmentation, pixels[i : i + 1], [i]))


@pytest.mark.parametrize("augmentation", ONE_BY_ONE)
def test_seed_epoch_and_sample_all_count(augmentation: Augmentation) -> None:
    pixels = noise(1, (3, 16, 16)).repeat(64, 1, 1, 1)
    ids = np.arange(64)
    first = changed(augmentation, pixels, ids)
    for other in (
        changed(augmentation, pixels, ids, seed=1),
        changed(augmentation, pixels, ids, epoch=1),
        changed(augmentation, pixels, ids + 64),
    ):
        differing = [not torch.equal(a, b) for a, b in zip(first, other, strict=True)]
        assert np.mean(differing) > 0.3
    assert torch.equal(first, changed(augmentation, pixels, ids))


@pytest.mark.parametrize("augmentation", ONE_BY_ONE)
def test_the_pixels_given_stay_as_they_were(augmentation: Augmentation) -> None:
    pixels = noise(20, (3, 8, 8))
    before = pixels.clone()
    found = augmentation.change(pixels, Stream(np.arange(20), 0, 0))
    assert torch.equal(pixels, before)
    assert found.dtype == torch.uint8
    assert found.shape == pixels.shape


def test_every_place_and_both_directions_come_equally_often() -> None:
    n = 20_000
    pixels = torch.zeros(n, 1, 9, 9, dtype=torch.uint8)
    pixels[:, :, 4, 4], pixels[:, :, 4, 5] = 1, 2
    found = changed(Augmentation(flip=True, pad_crop=1), pixels, np.arange(n)) + 100
    place = found.flatten(1)
    first, second = (place == 1).float().argmax(1), (place == 2).float().argmax(1)
    assert ((second - first) == -1).float().mean() == pytest.approx(0.5, abs=0.02)
    rows = np.bincount(first // 9, minlength=9)[3:6] / n
    assert rows == pytest.approx([1 / 3] * 3, abs=0.015)


def test_settings_of_jitter_lie_in_their_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(colour, "jitter", lambda pixels, *draws: seen.extend(draws) or pixels)
    n = 20_000
    Augmentation(jitter=0.4).change(noise(1, (3, 1, 1)).expand(n, -1, -1, -1), stream(n))
    for draws, low, high in zip(seen, [0.6] * 3 + [-0.1], [1.4] * 3 + [0.1], strict=True):
        assert draws.min() == pytest.approx(low, abs=1e-3)
        assert draws.max() == pytest.approx(high, abs=1e-3)
        assert draws.mean() == pytest.approx((low + high) / 2, abs=0.01)
    assert abs(np.corrcoef(torch.stack(seen).numpy()) - np.eye(4)).max() < 0.03


def stream(n: int) -> Stream:
    return Stream(np.arange(n), 0, 0)


def test_colours_vanish_with_their_probability() -> None:
    pixels = noise(4000, (3, 2, 2))
    found = Augmentation(grey=0.1).change(pixels, stream(4000))
    without = (found[:, 0] == found[:, 1]).flatten(1).all(1)
    assert without.float().mean() == pytest.approx(0.1, abs=0.015)
    assert torch.equal(found[~without], pixels[~without])


def test_turns_stay_below_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    spot = torch.zeros(500, 1, 41, 41, dtype=torch.uint8)
    spot[:, :, 20, 36:39] = 255  # on the right; 15 degrees move it by 17 sin 15 = 4.4 pixels
    found = Augmentation(rotation=15).change(spot, stream(500)).float()[:, 0]
    heights = (found.sum(2) * torch.arange(41)).sum(1) / found.sum((1, 2))
    assert heights.min() == pytest.approx(20 - 17 * np.sin(np.deg2rad(15)), abs=0.2)
    assert heights.max() == pytest.approx(20 + 17 * np.sin(np.deg2rad(15)), abs=0.2)
    assert heights.mean() == pytest.approx(20, abs=0.3)


def test_nothing_asked_is_nothing_done() -> None:
    assert not Augmentation().active
    assert Augmentation().lines() == []
    pixels = noise(3, (3, 4, 4))
    assert torch.equal(Augmentation().change(pixels, stream(3)), pixels)


@pytest.mark.parametrize(
    ("options", "light", "mixes"),
    [
        ({"flip": True}, True, False),
        ({"pad_crop": 1}, True, False),
        ({"resized_crop": 0.08}, False, False),
        ({"jitter": 0.4}, False, False),
        ({"grey": 0.1}, False, False),
        ({"rotation": 15}, False, False),
        ({"policy": "trivialaugment"}, False, False),
        ({"erasing": 0.25}, True, False),
        ({"mixup": 0.2}, True, True),
        ({"cutmix": 1.0}, True, True),
    ],
)
def test_each_option_is_active_and_said(
    options: Mapping[str, Any], light: bool, mixes: bool
) -> None:
    augmentation = Augmentation(**options)
    assert augmentation.active
    assert len(augmentation.lines()) == 1
    assert (augmentation.light, augmentation.mixes) == (light, mixes)


@pytest.mark.parametrize(
    "options",
    [
        {"pad_crop": -1},
        {"pad_crop": 1.5},
        {"resized_crop": 0.0},
        {"resized_crop": 1.1},
        {"jitter": -0.1},
        {"jitter": float("nan")},
        {"jitter": "much"},
        {"flip": 1},
        {"grey": 2.0},
        {"rotation": 181.0},
        {"policy": "randaugmnt"},
        {"policy_ops": 0},
        {"policy_magnitude": 31},
        {"erasing": -1.0},
        {"mixup": 0.0},
        {"cutmix": float("inf")},
    ],
)
def test_settings_outside_their_range_are_refused(options: Mapping[str, Any]) -> None:
    with pytest.raises(OptionError, match=rf"^{next(iter(options))} \(="):
        Augmentation(**options)


def test_a_misspelt_policy_is_told_its_name() -> None:
    with pytest.raises(OptionError, match="Did you mean 'randaugment'"):
        Augmentation(policy="randaugmnt")
