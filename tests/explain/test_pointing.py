"""The pointing game and energy against closed forms and scipy's distances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from convarium.errors import OptionError, ShapeError
from convarium.explain import Attribution, energy, pointing_game


@settings(max_examples=40)
@given(
    sides=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    tolerance=st.one_of(st.integers(0, 15), st.floats(0, 15)),
    seed=st.integers(0, 99),
)
def test_hits_are_those_of_scipys_distances(sides: list[int], tolerance: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    masks = generator.random((3, *sides)) < 0.05
    masks[(0, *[0] * len(sides))] = True
    heat = generator.permutation(3 * int(np.prod(sides))).reshape(3, *sides).astype(np.float32)
    found = pointing_game(torch.from_numpy(heat), torch.from_numpy(masks), tolerance=tolerance)
    assert found.empty_masks == sum(not mask.any() for mask in masks)
    for row, mask in enumerate(masks):
        if not mask.any() or mask.size == 1:
            assert found.score[row].isnan()
            continue
        distance = distance_transform_edt(~mask)
        hit = distance.flat[heat[row].argmax()] <= tolerance
        assert float(found.score[row]) == hit
        near = (distance <= tolerance).mean()
        assert float(found.random[row]) == pytest.approx(near, abs=1e-6)


def test_tolerance_is_euclidean() -> None:
    heat, masks = torch.zeros(1, 20, 20), torch.zeros(1, 20, 20)
    heat[0, 0, 0] = masks[0, 9, 12] = 1
    assert pointing_game(heat, masks).score.tolist() == [0]
    assert pointing_game(heat, masks, tolerance=14.9).score.tolist() == [0]
    assert pointing_game(heat, masks, tolerance=15).score.tolist() == [1]


def test_equally_hot_positions_count_by_their_share() -> None:
    heat = torch.tensor([[5.0, 5, 5, 1], [1, 1, 1, 1]])
    found = pointing_game(heat, torch.tensor([[1, 0, 0, 1]] * 2))
    assert float(found.score[0]) == pytest.approx(1 / 3)
    assert found.score[1].isnan()
    assert found.empty_maps == 1


def test_an_empty_mask_is_no_hit_and_is_counted() -> None:
    heat = torch.rand(3, 4, 4)
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[1] = True
    found = pointing_game(heat, masks, x=torch.rand(3, 1, 4, 4))
    assert found.edges is not None
    assert found.score.isnan().tolist() == [True, False, True]
    assert (float(found.score[1]), float(found.random[1]), found.empty_masks) == (1, 1, 2)
    means = found.means()
    assert (means.score.n, means.over_random.value) == (1, 0)


def test_controls_of_the_pointing_game() -> None:
    """Edges point at the step, the centre at the middle; heat elsewhere misses."""
    x = torch.zeros(1, 1, 9)
    x[..., 6:] = 1  # the step lies between 5 and 6
    heat = torch.arange(9.0, 0, -1)[None]
    at_step = pointing_game(heat, torch.eye(9)[5:6] + torch.eye(9)[6:7], x=x)
    at_middle = pointing_game(heat, torch.eye(9)[4:5], x=x)
    assert at_step.edges is not None
    assert at_middle.edges is not None
    found = [(float(g.score), float(g.edges), float(g.centre)) for g in (at_step, at_middle)]
    assert found == [(0, 1, 0), (0, 0, 1)]


@settings(max_examples=40)
@given(
    sides=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_energy_area_and_lift(sides: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    heat = generator.standard_normal((4, *sides)).astype(np.float32)
    masks = generator.random((4, *sides)) < 0.5
    found = energy(torch.from_numpy(heat), torch.from_numpy(masks))
    for row in range(4):
        positive = heat[row].clip(0)
        if not masks[row].any() or not positive.any():
            assert found.lift[row].isnan()
            continue
        share = positive[masks[row]].sum() / positive.sum()
        assert float(found.energy[row]) == pytest.approx(share, abs=1e-5)
        assert float(found.area[row]) == pytest.approx(masks[row].mean(), abs=1e-6)
        assert float(found.lift[row]) == pytest.approx(share / masks[row].mean(), abs=1e-4)


def test_even_heat_and_a_region_of_everything_have_lift_one() -> None:
    masks = torch.zeros(2, 5, 4)
    masks[0, :4], masks[1] = 1, 1
    even = energy(torch.full((2, 5, 4), 0.3), masks)
    assert even.energy.tolist() == pytest.approx([0.8, 1])
    assert even.lift.tolist() == pytest.approx([1, 1])
    anything = energy(torch.rand(2, 5, 4), masks)
    assert (float(anything.energy[1]), float(anything.lift[1])) == pytest.approx((1, 1))


def test_the_edge_detectors_lift() -> None:
    """All of the edges of a step lie in two of eight positions: lift 4."""
    x = torch.zeros(1, 1, 8)
    x[..., 4:] = 1
    masks = torch.zeros(1, 8)
    masks[0, 3:5] = 1
    found = energy(torch.ones(1, 8), masks, x=x)
    assert found.edges is not None
    assert (float(found.edges), float(found.random), float(found.lift)) == pytest.approx((4, 1, 1))


def test_what_does_not_count_for_energy() -> None:
    heat = torch.tensor([[1.0, 2], [-1, -2], [torch.nan, 1], [1, 1]])
    masks = torch.tensor([[0, 0], [1, 0], [1, 0], [1, 0]])
    found = energy(heat, masks)
    assert found.lift.isnan().tolist() == [True, True, True, False]
    assert (found.empty_masks, found.empty_maps, found.means().score.n) == (1, 2, 1)


def test_coarse_maps_against_masks_of_the_input() -> None:
    maps = torch.tensor([[[1.0, 0], [0, 0]]])
    heat = Attribution(maps, "", (0,), torch.ones(1), ("fine",), (8, 8))
    masks = torch.zeros(1, 8, 8)
    masks[0, :4, :4] = 1
    shown = heat.display()
    share = float(shown[0, :4, :4].sum() / shown.sum())
    assert float(energy(heat, masks).energy) == pytest.approx(share)
    assert pointing_game(heat, masks).score.tolist() == [1]


def test_masks_that_do_not_fit() -> None:
    heat = torch.rand(2, 4, 4)
    for masks in (torch.ones(2, 8, 8), torch.ones(2, 1, 4, 4), torch.ones(1, 4, 4)):
        for measured in (energy, pointing_game):
            with pytest.raises(ShapeError, match="nearest-exact"):
                measured(heat, masks)
    with pytest.raises(OptionError, match=r"masks > 0\.5"):
        energy(heat, torch.rand(2, 4, 4))
    with pytest.raises(ShapeError, match="the input"):
        energy(heat, torch.ones(2, 4, 4), x=torch.ones(2, 4, 4))
    with pytest.raises(OptionError, match="tolerance"):
        pointing_game(heat, torch.ones(2, 4, 4), tolerance=-1)
    with pytest.raises(ShapeError, match="heat"):
        energy(torch.ones(4), torch.ones(4))
