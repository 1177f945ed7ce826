"""Augmentation of series and volumes: formulas, counts, and one result in every batch."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from convarium.data.augment.series import SeriesAugmentation
from convarium.data.augment.volumes import VolumeAugmentation
from convarium.errors import OptionError, ShapeError


def series(n: int, channels: int = 3, length: int = 40) -> torch.Tensor:
    return torch.randn(n, channels, length, generator=torch.Generator().manual_seed(n))


def test_jitter_is_normal_noise_of_its_deviation() -> None:
    found = SeriesAugmentation(jitter=0.3).apply(
        torch.zeros(50, 3, 40), np.arange(50), seed=0, epoch=0
    )
    values = found.numpy().ravel() / 0.3
    assert stats.kstest(values, "norm").pvalue > 0.01
    assert abs(np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1]) < 0.25


def test_scaling_is_one_factor_a_channel() -> None:
    inputs = series(400)
    found = SeriesAugmentation(scaling=0.1).apply(inputs, np.arange(400), seed=0, epoch=0)
    factors = found / inputs
    assert torch.allclose(factors, factors[..., :1].expand_as(factors), atol=1e-4)
    assert stats.kstest((factors[..., 0].numpy().ravel() - 1) / 0.1, "norm").pvalue > 0.01


def test_a_window_of_a_line_is_a_line_between_two_of_its_values() -> None:
    n = 5000
    line = torch.linspace(0, 1, 33).expand(n, 2, -1)
    found = SeriesAugmentation(crop=0.5).apply(line, np.arange(n), seed=0, epoch=0)
    steps = found.diff(dim=2)
    assert torch.allclose(steps, steps[..., :1].expand_as(steps), atol=1e-5)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6
    spans = (found[:, 0, -1] - found[:, 0, 0]).numpy()
    assert stats.kstest(spans, stats.uniform(0.5, 0.5).cdf).pvalue > 0.01
    assert torch.equal(found[:, 0], found[:, 1])


def test_the_whole_window_changes_nothing() -> None:
    inputs = series(5)
    found = SeriesAugmentation(crop=1.0).apply(inputs, np.arange(5), seed=0, epoch=0)
    assert torch.allclose(found, inputs, atol=1e-6)
    single = torch.ones(2, 1, 1)
    kept = SeriesAugmentation(crop=0.5).apply(single, np.arange(2), seed=0, epoch=0)
    assert torch.equal(kept, single)


def test_a_time_mask_is_one_stretch_in_all_channels() -> None:
    n, length = 3000, 20
    found = SeriesAugmentation(time_mask=0.5).apply(
        torch.ones(n, 2, length), np.arange(n), seed=0, epoch=0
    )
    hidden = (found == 0).numpy()
    assert (hidden[:, 0] == hidden[:, 1]).all()
    edges = np.diff(np.pad(hidden[:, 0], ((0, 0), (1, 1))).astype(int), axis=1)
    assert (abs(edges).sum(axis=1) <= 2).all()
    spans = np.bincount(hidden[:, 0].sum(axis=1), minlength=11)
    assert spans / n == pytest.approx([1 / 11] * 11, abs=0.02)


def test_channels_vanish_with_their_probability_and_never_all() -> None:
    n = 4000
    found = SeriesAugmentation(channel_mask=0.3).apply(
        torch.ones(n, 3, 2), np.arange(n), seed=0, epoch=0
    )
    kept = (found[..., 0] == 1).numpy()
    assert kept.any(axis=1).all()
    # each is masked with .3, but for the last one left: (1 - .3^3 - ...) by inclusion
    assert (~kept).sum(axis=1).mean() == pytest.approx(3 * 0.3 - 0.3**3, abs=0.03)


ALL = SeriesAugmentation(jitter=0.1, scaling=0.1, crop=0.6, time_mask=0.3, channel_mask=0.2)
BLOCKS = VolumeAugmentation(flip_axes=("depth", "width"), pad_crop=(1, 0, 2))


@given(st.lists(st.integers(0, 11), min_size=1, max_size=12, unique=True), st.integers(0, 3))
def test_what_happens_to_a_sample_does_not_depend_on_its_batch(ids: list[int], epoch: int) -> None:
    everything = np.arange(12)
    for augmentation, inputs in ((ALL, series(12)), (BLOCKS, torch.randn(12, 2, 3, 4, 5))):
        whole = augmentation.apply(inputs, everything, seed=1, epoch=epoch)
        some = augmentation.apply(inputs[ids], everything[ids], seed=1, epoch=epoch)
        assert torch.equal(whole[ids], some)


def test_inputs_stay_as_they_were() -> None:
    for augmentation, inputs in ((ALL, series(4)), (BLOCKS, torch.randn(4, 2, 3, 4, 5))):
        before = inputs.clone()
        changed = augmentation.apply(inputs, np.arange(4), seed=0, epoch=0)
        assert torch.equal(inputs, before)
        assert not torch.equal(changed, before)
        for nothing in (SeriesAugmentation(), VolumeAugmentation()):
            if isinstance(nothing, type(augmentation)):
                assert torch.equal(nothing.apply(inputs, np.arange(4), seed=0, epoch=0), inputs)


def test_volumes_are_flipped_along_the_axes_that_are_named_only() -> None:
    volume = torch.arange(24.0).view(1, 1, 2, 3, 4)
    many = volume.expand(400, -1, -1, -1, -1)
    found = BLOCKS_FLIPPED.apply(many, np.arange(400), seed=0, epoch=0)
    allowed = {tuple(volume.flip(axes).flatten().tolist()): 0 for axes in ([], [2], [4], [2, 4])}
    for one in found:
        allowed[tuple(one.flatten().tolist())] += 1
    assert list(allowed.values()) == pytest.approx([100] * 4, abs=30)


BLOCKS_FLIPPED = VolumeAugmentation(flip_axes=("depth", "width"))


def test_volumes_are_cut_from_their_padded_selves() -> None:
    volume = torch.arange(1.0, 9).view(1, 1, 2, 2, 2)
    found = VolumeAugmentation(pad_crop=(1, 0, 1)).apply(
        volume.expand(300, -1, -1, -1, -1), np.arange(300), seed=0, epoch=0
    )
    padded = torch.nn.functional.pad(volume, (1, 1, 0, 0, 1, 1))
    cuts = {
        tuple(padded[0, 0, d : d + 2, :, w : w + 2].flatten().tolist())
        for d, w in product(range(3), range(3))
    }
    assert {tuple(one.flatten().tolist()) for one in found} == cuts


@pytest.mark.parametrize(
    "options",
    [
        {"jitter": -1.0},
        {"scaling": float("nan")},
        {"crop": 0.0},
        {"crop": 1.5},
        {"time_mask": 1.0},
        {"channel_mask": -0.1},
    ],
)
def test_settings_of_series_outside_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        SeriesAugmentation(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"flip_axes": ("up",)},
        {"flip_axes": ("width", "width")},
        {"pad_crop": (1, 2)},
        {"pad_crop": (0, 0, -1)},
        {"pad_crop": (0, 0, 0.5)},
    ],
)
def test_settings_of_volumes_outside_their_range_are_refused(options) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        VolumeAugmentation(**options)


def test_inputs_of_another_rank_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(B, C, L\)"):
        ALL.apply(torch.zeros(2, 3), np.arange(2), seed=0, epoch=0)
    with pytest.raises(ShapeError, match=r"\(B, C, D, H, W\)"):
        BLOCKS.apply(torch.zeros(2, 3, 4, 4), np.arange(2), seed=0, epoch=0)
