"""RandAugment and TrivialAugment: their tables, and who gets which operation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from convarium.data.augment import policies
from convarium.data.augment.stream import Stream

IMAGE = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)
PIXELS = torch.from_numpy(IMAGE.transpose(2, 0, 1)[None].copy())


def affine(*matrix: float) -> Image.Image:
    image = Image.fromarray(IMAGE)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


def turned(degrees: float) -> Image.Image:
    return Image.fromarray(IMAGE).rotate(degrees, Image.Resampling.NEAREST)


# Strengths at M = 15 of 30, sign -1, written out by hand from the papers' and torchvision's tables.
def expected(policy: str) -> dict[str, Image.Image]:
    image = Image.fromarray(IMAGE)
    large = policy == "trivialaugment"
    factor = 1 - (0.495 if large else 0.45)
    shear = -(0.495 if large else 0.15)
    across, down = (-16, -16) if large else (-13, -9)  # 150/331 * 60 / 2 = 13.6; of 40: 9.06
    return {
        "identity": image,
        "autocontrast": ImageOps.autocontrast(image),
        "equalize": ImageOps.equalize(image),
        "posterize": ImageOps.posterize(image, 5 if large else 6),
        "solarize": ImageOps.solarize(image, 128),
        "brightness": ImageEnhance.Brightness(image).enhance(factor),
        "contrast": ImageEnhance.Contrast(image).enhance(factor),
        "color": ImageEnhance.Color(image).enhance(factor),
        "sharpness": ImageEnhance.Sharpness(image).enhance(factor),
        "rotate": turned(-67.5 if large else -15),
        "shear_x": affine(1, shear, 0, 0, 1, 0),
        "shear_y": affine(1, 0, 0, shear, 1, 0),
        "translate_x": affine(1, 0, across, 0, 1, 0),
        "translate_y": affine(1, 0, 0, 0, 1, down),
    }


@pytest.mark.parametrize("policy", ["randaugment", "trivialaugment"])
@pytest.mark.parametrize("name", policies.OPERATIONS)
def test_operations_have_the_strengths_of_the_papers(name: str, policy: str) -> None:
    levels, signs = np.array([15]), np.array([-1.0])
    found = policies.apply_operation(PIXELS, name, levels, signs, policy)[0].numpy()
    wanted = np.asarray(expected(policy)[name]).transpose(2, 0, 1)
    different = (found != wanted).any(axis=0).mean()
    assert different <= (0.01 if name == "rotate" else 0)  # Pillow rounds the matrix of a turn


@pytest.mark.parametrize("policy", ["randaugment", "trivialaugment"])
@pytest.mark.parametrize("name", sorted({*policies.OPERATIONS} - {"autocontrast", "equalize"}))
def test_strength_nought_changes_nothing(name: str, policy: str) -> None:
    found = policies.apply_operation(PIXELS, name, np.array([0]), np.array([1.0]), policy)
    assert torch.equal(found, PIXELS)


def test_there_are_fourteen_operations() -> None:
    assert len(set(policies.OPERATIONS)) == 14


@pytest.mark.parametrize("policy", ["randaugment", "trivialaugment"])
def test_operations_come_equally_often(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = dict.fromkeys(policies.OPERATIONS, 0)
    levels, signs = [], []

    def count(pixels, name, given, sign, _):
        counts[name] += len(pixels)
        levels.extend(given)
        signs.extend(sign)
        return pixels

    monkeypatch.setattr(policies, "apply_operation", count)
    n = 28_000
    pixels = torch.zeros(n, 1, 1, 1, dtype=torch.uint8)
    policies.apply_policy(pixels, Stream(np.arange(n), 0, 0), policy, count=2, magnitude=9)
    turns = 2 if policy == "randaugment" else 1
    del counts["identity"]  # is not applied at all
    assert list(counts.values()) == pytest.approx([turns * n / 14] * 13, rel=0.1)
    assert np.mean(signs) == pytest.approx(0, abs=0.02)
    if policy == "randaugment":
        assert set(levels) == {9}
    else:
        shares = np.bincount(levels, minlength=31) / len(levels)
        assert shares == pytest.approx([1 / 31] * 31, rel=0.15)


def test_several_operations_follow_each_other() -> None:
    pixels = PIXELS.repeat(64, 1, 1, 1)
    stream = Stream(np.arange(64), 0, 0)
    once = policies.apply_policy(pixels, stream, "randaugment", count=1)
    twice = policies.apply_policy(pixels, stream, "randaugment", count=2)
    changed = [(a != b).any().item() for a, b in zip(once, twice, strict=True)]
    assert 0.6 < np.mean(changed) < 1
    assert torch.equal(pixels, PIXELS.expand_as(pixels))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_the_smallest_pictures_pass_through_every_operation(side: int) -> None:
    pixels = torch.zeros(4, 1, side, side, dtype=torch.uint8)
    for policy in ("randaugment", "trivialaugment"):
        for name in policies.OPERATIONS:
            for level in (0, 30):
                found = policies.apply_operation(
                    pixels, name, np.full(4, level), np.array([1.0, -1, 1, -1]), policy
                )
                assert found.shape == pixels.shape
