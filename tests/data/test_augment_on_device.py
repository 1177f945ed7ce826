"""Augmentation of batches that are on another device: the same numbers, and no way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convarium.data import Augmentation
from convarium.data.augment import colour, crops, on_device, policies
from convarium.data.augment.mixing import MixDraw, mix
from convarium.data.augment.stream import Stream
from convarium.data.augment.volumes import VolumeAugmentation

META = torch.device("meta")  # refuses to work with what is on the processor
WHOLE = Augmentation(
    flip=True, pad_crop=2, rotation=15.0, jitter=0.4, grey=0.5, policy="randaugment", erasing=0.5
)


def samples(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@given(
    st.integers(1, 3),
    st.lists(st.integers(1, 6), min_size=1, max_size=3),
    st.integers(0, 3),
    st.integers(0, 2**16),
)
def test_flips_and_crops_are_those_of_the_processor(count, sides, pad, seed):
    random = np.random.default_rng(seed)
    images = samples((count, 2, *sides), seed)
    pads = [pad] * len(sides)
    starts = [random.integers(0, 2 * pad + 1, count) for _ in sides]
    found = on_device.padded_crop(images, pads, starts)
    assert np.array_equal(found.numpy(), crops.padded_crop(images.numpy(), pads, starts))
    chosen, axis = random.random(count) < 0.5, int(random.integers(2, images.ndim))
    found = on_device.flip(images, chosen, axis)
    assert np.array_equal(found.numpy(), crops.flip(images.numpy(), chosen, axis))


@pytest.mark.parametrize("channels", [1, 3])
def test_all_changes_stay_on_the_device(channels, monkeypatch):
    plain = dict(policies._PLAIN, equalize=torch.clone)  # counting has no shape ahead of time
    monkeypatch.setattr(policies, "_PLAIN", plain)
    stream = Stream(np.arange(64), seed=0, epoch=0)
    pixels = torch.empty(64, channels, 12, 12, dtype=torch.uint8, device=META)
    for policy in ("randaugment", "trivialaugment"):
        change = Augmentation(**{**vars(WHOLE), "policy": policy})
        changed = change.change(pixels, stream)
        assert changed.device == META
        assert changed.shape == pixels.shape
        assert change.after(changed.float(), stream).device == META


def test_mixtures_and_volumes_stay_on_the_device():
    inputs, target = torch.empty(5, 1, 4, 4, device=META), torch.empty(5, device=META)
    for draw in (MixDraw(0.3, None), MixDraw(0.5, ((0, 2), (1, 4)))):
        mixed, partners = mix(inputs, target, draw)
        assert {mixed.device, partners.target.device, partners.share.device} == {META}
    volumes = torch.empty(3, 1, 4, 5, 6, device=META)
    change = VolumeAugmentation(flip_axes=("depth", "width"), pad_crop=(1, 0, 2))
    changed = change.after(volumes, Stream(np.arange(3), seed=0, epoch=0))
    assert changed.device == META
    assert changed.shape == volumes.shape


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_processors_pixels_but_for_rounding():
    stream, pixels = Stream(np.arange(64), seed=0, epoch=0), samples((64, 3, 32, 32))
    exact = Augmentation(flip=True, pad_crop=4)
    there = exact.change(pixels.cuda(), stream)
    assert there.device.type == "cuda"
    assert torch.equal(there.cpu(), exact.change(pixels, stream))
    levels, signs = np.full(64, 17), np.ones(64)
    for name in policies.OPERATIONS:
        here = policies.apply_operation(pixels, name, levels, signs, "randaugment")
        there = policies.apply_operation(pixels.cuda(), name, levels, signs, "randaugment").cpu()
        assert (here.int() - there.int()).abs().max() <= 1, name
    assert torch.equal(colour.grey(pixels.cuda()).cpu(), colour.grey(pixels))
