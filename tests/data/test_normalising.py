"""Normalising in pieces gives the bits of the plain formula, in the order of its argument."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made import arrays, whole

from convarium import data
from convarium.data.augment.crops import flip
from convarium.data.normalising import normalised
from convarium.data.pictures import Pictures


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 3),
    st.integers(1, 4),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.booleans(),
)
def test_the_plain_formula_bit_by_bit(samples, channels, sides, last):
    drawn = torch.Generator().manual_seed(samples + channels)
    pixels = torch.randint(0, 256, (samples, channels, *sides), generator=drawn, dtype=torch.uint8)
    if last and len(sides) == 2:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    ones = [1] * len(sides)
    shift, scale = (100 * torch.rand(channels, *ones, generator=drawn) + 1 for _ in range(2))
    found = normalised(pixels, shift, scale)
    assert torch.equal(found, (pixels.float() - shift) / scale)
    assert found.stride() == pixels.float().stride()


def test_large_samples_in_several_pieces():
    pixels = torch.randint(0, 256, (5, 3, 200, 210), dtype=torch.uint8)
    shift, scale = torch.tensor([3.0, 5.0, 7.0]), torch.tensor([2.0, 9.0, 4.0])
    planes = (x.view(3, 1, 1) for x in (shift, scale))
    expected = (pixels.double().movedim(1, -1) - shift) / scale
    ordered = normalised(pixels, *planes)
    assert torch.allclose(ordered.double().movedim(1, -1), expected, rtol=1e-6)
    planes = (x.view(3, 1, 1) for x in (shift, scale))
    last = normalised(pixels.contiguous(memory_format=torch.channels_last), *planes)
    assert torch.equal(last, ordered)
    assert last.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("side", [6, 90])
@pytest.mark.parametrize("last", [False, True])
def test_chosen_samples_are_mirrored_in_any_memory_order(side, last):
    samples = np.random.default_rng(0).integers(0, 256, (4, 3, side, side + 1), dtype=np.uint8)
    given_ = np.asarray(samples.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2))
    chosen = np.array([True, False, True, False])
    found = flip(given_ if last else samples, chosen, 3)
    for k, mirrored in enumerate(chosen):
        assert np.array_equal(found[k], samples[k, :, :, ::-1] if mirrored else samples[k])
    assert np.array_equal(given_, samples)


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_lie_in_one_order_whether_pictures_were_kept_or_not(channels):
    dataset = arrays(6, (channels, 9, 8))
    steps = data.fit_preprocessing(whole(dataset))
    kept, fresh = (Pictures(dataset, steps, keep=keep) for keep in (True, False))
    fresh._kept = None
    one, other = (pictures.gather(np.arange(4)).pixels for pictures in (kept, fresh))
    assert torch.equal(one, other)
    assert one.stride() == other.stride()
