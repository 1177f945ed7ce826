"""Erasing, mixup and CutMix, against their formulas and by counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from convarium.data.augment.erasing import erase
from convarium.data.augment.mixing import MixDraw, draw_mix, mix
from convarium.data.augment.stream import Stream


def test_mixup_is_the_formula_between_neighbours() -> None:
    inputs = torch.arange(20.0).view(5, 1, 2, 2)
    target = torch.arange(5)
    mixed, found = mix(inputs, target, MixDraw(0.75, None))
    wanted = 0.75 * inputs + 0.25 * inputs[[1, 0, 3, 2, 4]]
    assert mixed.tolist() == wanted.tolist()
    assert torch.equal(mixed[4], inputs[4])
    assert found.target.tolist() == [1, 0, 3, 2, 4]
    assert found.share.tolist() == [0.75] * 4 + [1.0]


def test_cutmix_takes_the_box_from_the_partner() -> None:
    inputs = torch.arange(24.0).view(2, 1, 3, 4)
    mixed, found = mix(inputs, torch.tensor([5, 6]), MixDraw(8 / 12, ((1, 3), (0, 2))))
    assert mixed[0, 0].tolist() == [[0, 1, 2, 3], [16, 17, 6, 7], [20, 21, 10, 11]]
    assert mixed[1, 0].tolist() == [[12, 13, 14, 15], [4, 5, 18, 19], [8, 9, 22, 23]]
    assert found.target.tolist() == [6, 5]
    assert inputs[0, 0, 1, 0] == 4


@given(
    st.sampled_from([0.2, 1.0, 4.0]),
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
    st.integers(0, 10_000),
)
def test_the_share_of_cutmix_is_what_is_left_outside_the_box(
    alpha: float, sides: list[int], step: int
) -> None:
    draw = draw_mix(None, alpha, tuple(sides), seed=0, epoch=1, step=step)
    own = torch.zeros(2, 1, *sides)
    own[1] = 1
    mixed, found = mix(own, torch.tensor([0, 1]), draw)
    assert 1 - mixed[0].mean().item() == pytest.approx(draw.share, abs=1e-6)
    assert found.share.tolist() == pytest.approx([draw.share] * 2)
    assert all(
        0 <= start <= stop <= side for (start, stop), side in zip(draw.box, sides, strict=True)
    )


def test_shares_follow_the_beta_distribution() -> None:
    for alpha in (0.2, 1.0):
        draws = [draw_mix(alpha, None, (4, 4), seed=0, epoch=0, step=k) for k in range(3000)]
        assert all(draw.box is None for draw in draws)
        shares = [draw.share for draw in draws]
        assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_boxes_that_are_not_cut_off_have_the_area_of_the_draw() -> None:
    """At alpha 1 the areas before the cut are even; sides of sqrt(area) around an even centre."""
    draws = [draw_mix(None, 1.0, (512, 512), seed=1, epoch=0, step=k) for k in range(3000)]
    whole = [(b[0][1] - b[0][0]) for d in draws if (b := d.box) and b[0][0] > 0 and b[0][1] < 512]
    inner = [n for n in whole if n < 128]
    # P(side < s and uncut) is the integral of (1 - s / 512) d (s / 512)^2: its mean below 1/4.
    s = np.linspace(0, 0.25, 4001)
    weight = 2 * s * (1 - s)
    assert np.mean(inner) / 512 == pytest.approx((s * weight).sum() / weight.sum(), abs=0.01)


def test_with_both_each_is_taken_half_of_the_time() -> None:
    draws = [draw_mix(0.2, 1.0, (8, 8), seed=0, epoch=0, step=k) for k in range(4000)]
    assert np.mean([draw.box is None for draw in draws]) == pytest.approx(0.5, abs=0.03)


def test_a_mix_belongs_to_seed_epoch_and_step() -> None:
    keys = {"seed": 1, "epoch": 2, "step": 3}
    draw = draw_mix(0.4, None, (8,), **keys)
    assert draw == draw_mix(0.4, None, (8,), **keys)
    for key in keys:
        assert draw != draw_mix(0.4, None, (8,), **{**keys, key: 9})


def test_erased_rectangles_have_the_areas_and_ratios_asked_for() -> None:
    n, side = 6000, 60
    inputs = torch.ones(n, 2, side, side)
    found = erase(inputs, Stream(np.arange(n), 0, 0), 0.25)
    assert found is inputs
    gone = (inputs == 0).numpy()
    assert (gone[:, 0] == gone[:, 1]).all()
    touched = np.flatnonzero(gone.any(axis=(1, 2, 3)))
    assert len(touched) / n == pytest.approx(0.25, abs=0.02)
    tall, wide = (gone[touched, 0].any(axis=axis).sum(axis=1) for axis in (2, 1))
    areas = gone[touched, 0].sum(axis=(1, 2))
    assert (areas == tall * wide).all()  # one rectangle
    shares, ratios = areas / side**2, tall / wide
    assert 0.02 * 0.85 < shares.min() < 0.03
    assert 0.3 < shares.max() < 0.33 * 1.1
    assert shares.mean() == pytest.approx((0.02 + 0.33) / 2, abs=0.012)
    assert 0.3 * 0.85 < ratios.min() < 0.4
    assert 2.6 < ratios.max() < 3.3 * 1.2
    corners = [gone[touched, 0, y, x].mean() for y in (0, -1) for x in (0, -1)]
    assert max(corners) < 0.1
    assert max(corners) > 0


def test_probability_one_erases_every_picture_and_nought_none() -> None:
    for probability, share in ((1.0, 1.0), (0.0, 0.0)):
        inputs = torch.ones(50, 1, 32, 32)
        erase(inputs, Stream(np.arange(50), 0, 0), probability)
        assert (inputs == 0).flatten(1).any(1).float().mean() == share


def test_a_picture_of_one_pixel_is_never_erased() -> None:
    inputs = torch.ones(9, 1, 1, 1)
    assert erase(inputs, Stream(np.arange(9), 0, 0), 1.0).sum() == 9
