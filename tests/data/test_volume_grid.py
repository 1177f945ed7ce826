"""The grid of the network's input: its size, true steps, places and what it holds of a volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convarium import data, train
from convarium.cli.announcing import seen_lines
from convarium.data.volumes.fitting import shares_seen
from convarium.data.volumes.resize import centred, resize

SIZES = st.tuples(*[st.integers(1, 9)] * 3)


def steps_of(grid: tuple[int, ...], spacing=None) -> data.VolumePreprocessing:
    return data.VolumePreprocessing(
        (1, *grid), mean=(0,), std=(1,), classes=("a",), spacing=spacing
    )


def saved(folder: Path, sizes: list[tuple[int, int, int]], spacing=(1, 1, 1)) -> data.Dataset:
    for i, size in enumerate(sizes):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True, parents=True)
        values = np.random.default_rng(i).integers(0, 99, size)
        path = folder / "ab"[i % 2] / f"{i}.npz"
        np.savez(path, volume=values.astype(np.int16), axes="DHW", spacing=spacing)
    return data.open_dataset(folder)


@given(SIZES, SIZES, st.sampled_from([None, (1.0, 1.0, 1.0), (0.7, 1.3, 2.0)]))
def test_steps_and_voxels_are_those_of_a_ramp(size, grid, spacing) -> None:
    """What stands in a place of the input is the coordinate of the voxel that it shows."""
    own = (1.5, 1.0, 0.8)
    steps = steps_of(grid, spacing)
    volume = data.Volume(np.zeros((1, *size), np.float32), own)
    to = steps.resampled(volume) if spacing else grid
    at = tuple(side // 3 for side in grid)
    for axis, voxel in enumerate(steps.voxel(at, volume)):
        n, m, side = size[axis], to[axis], grid[axis]
        edges = np.linspace(0, n, m + 1)  # of the places, in voxels
        middles = (edges[1:] + edges[:-1]) / 2
        if spacing:
            shape = [1, 1, 1]
            shape[axis] = m
            ramp = resize(centred(tensor(middles.reshape(1, *shape)), shape), shape)
            shape[axis] = side
            middles = centred(ramp, shape).flatten().numpy()
        assert voxel == int(middles[at[axis]] + 1e-4)
        assert steps.input_spacing(volume)[axis] == pytest.approx(n / m * own[axis])


def tensor(values: np.ndarray):
    import torch

    return torch.from_numpy(values).float()


def test_the_true_step_is_near_the_common_one(tmp_path: Path) -> None:
    volume = data.Volume(np.zeros((1, 5, 7, 100), np.float32), (1.0, 1.0, 1.0))
    found = steps_of((3, 3, 60), (2.0, 2.0, 2.0)).input_spacing(volume)
    assert found == pytest.approx((5 / 2, 7 / 4, 2))  # round(2.5) is 2 and round(3.5) is 4


@pytest.mark.parametrize(("spacing", "most"), [(None, 64), (1, 128)])
def test_the_size_has_one_home(spacing, most: int, tmp_path: Path) -> None:
    dataset = saved(tmp_path, [(4, 66, 150)] * 3)
    part = data.Part(dataset, np.arange(3))
    fitted = data.fit_preprocessing(part, spacing=spacing).input_shape[1:]
    assert fitted == (4, min(66, most), min(150, most))
    assert train.recommend(dataset, spacing=spacing).size == fitted


def test_the_share_that_is_seen_is_what_a_crop_keeps(tmp_path: Path) -> None:
    sizes = [(12, 20, 20), (4, 10, 40), (6, 8, 8), (12, 9, 9)] * 3
    dataset = saved(tmp_path / "d", sizes, spacing=(2, 1, 1))
    part = data.Part(dataset, np.arange(len(sizes)))
    steps = data.fit_preprocessing(part, size=(6, 10, 10), spacing=2)
    seen = shares_seen(part, steps)
    for k, i in enumerate(part.ids):
        volume = dataset.read(int(i))
        whole = np.ones(steps.resampled(volume))
        back = steps.back(tensor(np.ones((1, 6, 10, 10))), volume)
        assert seen[k] == pytest.approx(float(back.mean()), abs=1e-6), whole.shape
    assert (shares_seen(part, steps_of((6, 10, 10))) == 1).all()
    parts = data.Parts(part, part, part)
    told = f"{seen.mean():.1%} of a training volume on average, {seen.min():.1%} at least"
    assert told in seen_lines(parts, steps)[0]
    whole = seen_lines(parts, steps_of((40, 40, 40), (2.0, 2.0, 2.0)))
    assert whole == ["seen: the whole of each training volume"]
    assert seen_lines(parts, steps_of((6, 10, 10))) == []


def test_the_most_channels_are_counted_without_room_for_each_number(tmp_path: Path) -> None:
    for i, channels in enumerate((2, 2, 2, 2, 2, 2, 2, 2, 2, 100_000)):
        (tmp_path / "a").mkdir(exist_ok=True)
        axes = {"axes": "CDHW"}
        np.savez(tmp_path / "a" / f"{i}.npz", volume=np.ones((channels, 1, 1, 2), np.int8), **axes)
    dataset = data.open_dataset(tmp_path)
    assert dataset.channels == 2
    assert dataset.skipped[0].reason == "it has 100000 channels, and most have 2"
