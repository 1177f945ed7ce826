"""Volumes from files to batches: resizing, moments, spacing and kinds, against SciPy and NumPy."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import scipy.ndimage
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from convarium import data
from convarium.data.volumes.resize import centred, resize, uncentred
from convarium.errors import DataError, OptionError

RNG = np.random.default_rng(0)
SIZES = st.tuples(*[st.integers(1, 9)] * 3)


def saved(folder: Path, count: int, **changes) -> list[np.ndarray]:
    """Volumes of two classes with a spacing; their values."""
    volumes = []
    for i in range(count):
        size = changes.get("size", (4, 5, 6))
        values = RNG.normal(i, 2, size).astype(changes.get("type", np.float32))
        (folder / "ab"[i % 2]).mkdir(exist_ok=True, parents=True)
        path = folder / "ab"[i % 2] / f"{i:02}.npz"
        np.savez(path, volume=values, axes="DHW", spacing=changes.get("spacing", (2, 1, 0.5)))
        volumes.append(values)
    return volumes


def triangle(n: int, m: int) -> np.ndarray:
    """The matrix `(m, n)` of antialiased linear interpolation from n to m places."""
    step = n / m
    away = np.abs(np.arange(n) + 0.5 - (np.arange(m)[:, None] + 0.5) * step)
    weights = np.maximum(0, 1 - away / max(step, 1))
    return weights / weights.sum(1, keepdims=True)


@given(SIZES, SIZES, st.integers(1, 3))
def test_resizing_is_a_matrix_along_each_axis(size, to, channels) -> None:
    values = np.random.default_rng(sum(size)).uniform(-1, 1, (channels, *size))
    found = resize(torch.from_numpy(values).float(), to).numpy()
    matrices = [triangle(n, m) for n, m in zip(size, to, strict=True)]
    expected = np.einsum("cdhw,Dd,Hh,Ww->cDHW", values, *matrices)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    if size == to:
        np.testing.assert_array_equal(found, values.astype(np.float32))


@given(SIZES, SIZES)
def test_no_result_on_the_way_is_larger_than_both_ends(size, to) -> None:
    made, plain = [], torch.nn.functional.interpolate

    def noted(*args, **options):
        made.append(plain(*args, **options))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "interpolate", noted)
        resize(torch.zeros(2, *size), to)
    assert len(made) == sum(n != m for n, m in zip(size, to, strict=True))
    most = 2 * max(np.prod(size), np.prod(to))
    assert all(each.numel() <= most for each in made)


def test_channels_count_towards_the_limit_at_a_spacing() -> None:
    steps = data.VolumePreprocessing(
        (8, 4, 4, 4), mean=(0,) * 8, std=(1,) * 8, classes=("a",), spacing=(1, 1, 1)
    )
    one = data.Volume(np.zeros((8, 4, 4, 4), np.uint8), spacing=(80, 80, 80))
    assert steps.resampled(one) == (320, 320, 320)
    many = data.Volume(one.values, spacing=(90, 90, 90))
    with pytest.raises(DataError, match="360 x 360 x 360 voxels of 8 channels, more than"):
        steps.resampled(many)


def test_enlarging_is_scipys_linear_interpolation() -> None:
    values, to = RNG.normal(size=(5, 6, 7)), (11, 9, 20)
    places = [(np.arange(m) + 0.5) * n / m - 0.5 for n, m in zip(values.shape, to, strict=True)]
    grid = np.meshgrid(*places, indexing="ij")
    expected = scipy.ndimage.map_coordinates(values, grid, order=1, mode="nearest")
    found = resize(torch.from_numpy(values)[None], to)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_nothing_aliases() -> None:
    """Voxels that alternate have no place on a coarser grid; only edges see more of one of them."""
    board = torch.from_numpy(np.indices((12, 12, 12)).sum(0) % 2).float()[None]
    small = resize(board, (6, 6, 6))
    assert (small[:, 1:-1, 1:-1, 1:-1] - 0.5).abs().max() < 1e-6
    thinned = board[:, ::2, ::2, ::2]
    assert (thinned - 0.5).abs().min() == 0.5


@given(SIZES, SIZES)
def test_the_middle_is_numpys_crop_or_edge_padding(size, to) -> None:
    values = torch.arange(float(np.prod(size))).view(1, *size)
    expected = values[0].numpy()
    for axis, (n, m) in enumerate(zip(size, to, strict=True)):
        pads = [(0, 0)] * 3
        pads[axis] = ((m - n) // 2, m - n - (m - n) // 2) if m > n else (0, 0)
        start = max(0, n - m) // 2
        expected = np.pad(expected, pads, "edge").take(range(start, start + m), axis)
    np.testing.assert_array_equal(centred(values, to)[0].numpy(), expected)
    back = uncentred(centred(torch.ones(1, *size), to), size)
    assert back.shape == (1, *size)
    kept = np.prod([min(n, m) for n, m in zip(size, to, strict=True)])
    assert back.sum() == kept  # ones where the input was, zeros elsewhere


@pytest.mark.parametrize("value", [0.0, 0.1, -1000.3, 3e7])
def test_a_constant_channel_has_the_deviation_one_after_a_resize(value, tmp_path: Path) -> None:
    for i in range(4):
        values = np.stack([np.full((7, 9, 11), value), RNG.normal(size=(7, 9, 11))])
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        path = tmp_path / "ab"[i % 2] / f"{i}.npz"
        np.savez(path, volume=values.astype(np.float32), axes="CDHW")
    part = data.split(data.open_dataset(tmp_path), validation=0, test=0).train
    found = data.fit_preprocessing(part, size=(5, 6, 8))
    assert found.std[0] == 1
    assert 0 < found.std[1] < 1  # the mean of neighbours varies less than they
    inputs = found.finish(found.apply(part.dataset.read(0))[None])
    assert inputs[0, 0].abs().max() <= 1e-6 * max(1, abs(value))


def test_moments_are_numpys_in_float64_whatever_the_offset(tmp_path: Path) -> None:
    values = 1e6 + RNG.normal(0, 1e-1, (9, 2, 12, 10, 9))
    for i, volume in enumerate(values):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        np.save(tmp_path / "ab"[i % 2] / f"{i}.npy", volume.astype(np.float32))
    whole = data.open_dataset(tmp_path)
    part = data.Part(whole, np.arange(9))
    found = data.fit_preprocessing(part)
    exact = values.astype(np.float32).astype(np.float64)
    assert found.input_shape == (2, 12, 10, 9)
    np.testing.assert_allclose(found.mean, exact.mean((0, 2, 3, 4)), rtol=1e-12)
    np.testing.assert_allclose(found.std, exact.std((0, 2, 3, 4)), rtol=1e-6)
    (batch,) = data.batches(part, found)
    assert batch.inputs[0].dtype == torch.float32
    assert batch.inputs[0].shape == (9, 2, 12, 10, 9)


def test_a_volume_is_resized_axis_by_axis_or_resampled_to_a_spacing(tmp_path: Path) -> None:
    values = saved(tmp_path, 4, size=(8, 10, 12))
    part = data.Part(data.open_dataset(tmp_path), np.arange(4))
    plain = data.fit_preprocessing(part, size=(4, 5, 6))
    volume = part.dataset.read(0)
    assert volume.spacing == (2, 1, 0.5)
    assert plain.input_spacing(volume) == (4, 2, 1)
    name = int(part.name(0)[-6:-4])
    whole = torch.from_numpy(values[name])[None]
    torch.testing.assert_close(plain.apply(volume), resize(whole, (4, 5, 6)))
    spaced = data.fit_preprocessing(part, spacing=1)
    assert spaced.input_shape == (1, 16, 10, 6)
    torch.testing.assert_close(spaced.apply(volume), resize(whole, (16, 10, 6)))
    cut = data.fit_preprocessing(part, spacing=(1, 1, 1), size=(6, 12, 6))
    torch.testing.assert_close(cut.apply(volume), centred(resize(whole, (16, 10, 6)), (6, 12, 6)))
    back = cut.back(torch.ones(1, 6, 12, 6), volume)[0]
    assert back.shape == volume.size
    assert back[:, 3:7].sum(0).eq(back[:, 3:7].sum(0)[0, 0]).all()
    assert back[:2].sum() == back[-2:].sum() == 0


def test_median_spacing_comes_from_the_training_part_and_stays_in_the_card(tmp_path: Path) -> None:
    for k, step in enumerate((1.0, 2.0, 5.0)):
        saved(tmp_path / str(k), 2, spacing=(step, 1, 1))
    rows = [f"{path},{path.parent.name}" for path in sorted(tmp_path.rglob("*.npz"))]
    (tmp_path / "t.csv").write_text("\n".join(["volume,label", *rows]))
    dataset = data.open_dataset(tmp_path / "t.csv")
    assert (dataset.kind, len(dataset)) == ("volumes", 6)
    first = data.fit_preprocessing(data.Part(dataset, np.arange(4)), spacing="median")
    assert first.spacing == (1.5, 1, 1)
    again = data.Preprocessing.from_card(first.to_card())
    assert again == first
    assert again.median
    assert [step["op"] for step in first.steps] == [
        "read_volume", "resample", "center_crop_or_pad", "normalize",
    ]  # fmt: skip
    plain = data.fit_preprocessing(data.Part(dataset, np.arange(6)))
    assert data.Preprocessing.from_card(plain.to_card()) == plain
    assert plain.same_pixels(again) is False
    card = first.to_card()
    card["preprocessing"]["steps"][0]["orientation"] = "LPS"
    with pytest.raises(DataError, match="does not replay"):
        data.Preprocessing.from_card(card)
    del card["preprocessing"]["steps"][-1]
    with pytest.raises(DataError, match="incomplete"):
        data.Preprocessing.from_card(card)


def picture(path: Path) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(RNG.integers(0, 255, (8, 8), dtype=np.uint8)).save(path)


def test_the_kind_is_what_most_files_are(tmp_path: Path) -> None:
    saved(tmp_path, 20)
    picture(tmp_path / "a" / "preview.png")
    dataset = data.open_dataset(tmp_path)
    assert dataset.kind == "volumes"
    assert [tuple(item) for item in dataset.skipped] == [
        ("a/preview.png", "not a volume by its name")
    ]
    (tmp_path / "a" / "preview.png").rename(tmp_path / "a" / "preview.npy")
    dataset = data.open_dataset(tmp_path)
    assert len(dataset.survey().broken) == 1
    assert [tuple(item) for item in dataset.skipped] == [
        ("a/preview.npy", "a picture by its content, not a volume")
    ]
    for i in range(7):
        picture(tmp_path / "b" / f"{i}.png")
        shutil.copy(tmp_path / "b" / f"{i}.png", tmp_path / "b" / f"bad{i}.npy")
    with pytest.raises(DataError, match=r"8 of 28 volumes cannot be read, more than .* 10%"):
        data.open_dataset(tmp_path).survey()
    assert len(data.open_dataset(tmp_path, kind="images")) == 7
    assert data.open_inputs([tmp_path], kind="images").kind == "images"
    with pytest.raises(OptionError, match=r"kind \(='volume'\) must be .* Did you mean 'volumes'"):
        data.open_dataset(tmp_path, kind="volume")


@pytest.mark.parametrize("stacks", [0, 2, 4, 6])
def test_tiffs_are_volumes_where_most_are_stacks(stacks: int, tmp_path: Path) -> None:
    for i in range(6):
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        shape = (5, 9, 9) if i < stacks else (9, 9)
        pages = RNG.integers(0, 255, shape, dtype=np.uint8)
        axes = {"axes": "ZYX"[-pages.ndim :]}
        path = tmp_path / "ab"[i % 2] / f"{i}.tif"
        tifffile.imwrite(path, pages, imagej=i == 1, metadata=axes)
    dataset = data.open_dataset(tmp_path)
    assert dataset.kind == ("volumes" if stacks > 3 else "images")
    if stacks == 4:
        with pytest.raises(DataError, match=r"2 of 6 volumes cannot be read, .* no axis of slices"):
            dataset.survey()


@pytest.mark.parametrize("kind", ["images", "volumes"])
def test_what_is_by_its_name_of_the_other_kind_is_skipped(kind: str, tmp_path: Path) -> None:
    few, most = (".png", ".npy")[:: 1 if kind == "volumes" else -1]
    for i in range(20):
        folder = tmp_path / "ab"[i % 2]
        folder.mkdir(exist_ok=True)
        for suffix in (most, few) if i < 18 else (most,):
            if suffix == ".png":
                Image.new("L", (9, 9), i).save(folder / f"{i:02}.png")
            else:
                np.save(folder / f"{i:02}.npy", np.full((9, 9, 9), i, np.uint8))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / f"x{few}").write_bytes(b"")
    dataset = data.open_dataset(tmp_path)
    assert (dataset.kind, len(dataset), list(dataset.classes)) == (kind, 20, ["a", "b"])
    assert all(dataset.name(i).endswith(most) for i in range(20))
    assert (dataset.survey().heights == 9).all()
    reasons = [each.reason for each in dataset.skipped if each.name.endswith(few)]
    assert reasons == [f"not {'an image' if kind == 'images' else 'a volume'} by its name"] * 19
    assert ("c", f"a class folder without {kind}") in [tuple(each) for each in dataset.skipped]


def test_other_channels_than_most_are_left_out(tmp_path: Path) -> None:
    saved(tmp_path, 20)
    odd = np.zeros((2, 4, 5, 6), np.float32)
    np.savez(tmp_path / "a" / "odd.npz", volume=odd, axes="CDHW")
    dataset = data.open_dataset(tmp_path)
    parts = data.split(dataset, seed=0)
    assert sum(parts.counts.values()) == 20
    assert dataset.skipped[0].reason == "it has 2 channels, and most have 1"
    steps = data.fit_preprocessing(parts.train)
    inputs = data.open_inputs([tmp_path / "a" / "odd.npz"])
    with pytest.raises(DataError, match="it has 2 channels, and the network takes 1"):
        list(data.batches(inputs, steps))


def test_facts_of_volumes(tmp_path: Path) -> None:
    values = saved(tmp_path, 6, type=np.int16)
    bad = np.full((4, 5, 6), np.nan, np.float32)
    bad[0] = 7.5
    np.savez(tmp_path / "a" / "nan.npz", volume=bad, axes="DHW", spacing=(4, 4, 4))
    (tmp_path / "b" / "empty.nii.gz").write_bytes(b"")
    found = data.overview(data.open_dataset(tmp_path))
    assert found.volumes.types == {"float32": 1, "int16": 6}
    assert found.volumes.depths == (4, 4, 4)
    assert found.volumes.spacings == ((2, 1, 0.5), (2, 1, 0.5), (4, 4, 4))
    assert found.volumes.lowest == min(volume.min() for volume in values)
    assert found.volumes.highest == max(7.5, *(volume.max() for volume in values))
    assert found.volumes.not_finite == 1
    assert found.skipped[0] == ("b/empty.nii.gz", "the file is empty")
    assert found.to_json()["volumes"]["types"] == found.volumes.types


def test_copies_stay_on_one_side_whatever_their_format(tmp_path: Path) -> None:
    for i, values in enumerate(saved(tmp_path, 20, type=np.int16)):
        image = nibabel.Nifti1Image(values.T, np.eye(4))
        nibabel.save(image, tmp_path / "ab"[i % 2] / f"{i:02}-copy.nii.gz")
    dataset = data.open_dataset(tmp_path)
    assert len(data.overview(dataset).copies) == 20
    parts = data.split(dataset, seed=0)
    sides = [{part.name(k)[:4] for k in range(len(part))} for part in (parts.train, parts.test)]
    assert sides[0].isdisjoint(sides[1])
    assert pickle.loads(pickle.dumps(dataset)).fingerprint() == dataset.fingerprint()


@pytest.mark.parametrize("layout", ["NDHW", "NCDHW", "NDHWC"])
def test_an_npz_of_all_volumes_is_a_data_set(layout: str, tmp_path: Path) -> None:
    values = RNG.integers(0, 4000, (6, 2, 12, 10, 9)).astype(np.uint16)
    if layout == "NDHW":
        values = values[:, :1]
    order = ["NCDHW".index(letter) for letter in layout]
    stored = values[:, 0] if layout == "NDHW" else values.transpose(order)
    np.savez(tmp_path / "d.npz", train_images=stored, train_labels=np.arange(6) % 2)
    dataset = data.open_dataset(tmp_path / "d.npz")
    assert dataset.kind == "volumes"
    np.testing.assert_array_equal(dataset.read(4).values, values[4])
    assert dataset.read(4).values.dtype == np.uint16
    np.savez(tmp_path / "odd.npz", x=np.zeros((6, 5, 5, 5, 5)), y=np.arange(6))
    with pytest.raises(DataError, match=r"x in .*odd\.npz: .* has four axes, and either end"):
        data.open_dataset(tmp_path / "odd.npz")


def test_training_batches_take_the_augmentation_of_their_kind(tmp_path: Path) -> None:
    saved(tmp_path, 12)
    dataset = data.open_dataset(tmp_path)
    part = data.Part(dataset, np.arange(12))
    steps = data.fit_preprocessing(part)
    change = data.VolumeAugmentation(flip_axes=("depth",), pad_crop=(1, 0, 2), mixup=0.4)
    options = {"batch_size": 5, "seed": 3, "epoch": 1}
    found = list(data.training_batches(part, steps, augmentation=change, **options))
    plain = list(data.training_batches(part, steps, **options))
    assert [len(batch) for batch in found] == [5, 5, 2]
    for batch, before in zip(found, plain, strict=True):
        moved = change.apply(before.inputs[0], before.index.numpy(), seed=3, epoch=1)
        share = batch.mix.share.view(-1, 1, 1, 1, 1)
        partner = torch.arange(len(batch)) ^ 1
        partner[-1] = len(batch) - 1 if len(batch) % 2 else partner[-1]
        torch.testing.assert_close(batch.inputs[0], share * moved + (1 - share) * moved[partner])
    with pytest.raises(OptionError, match=r"augmentation \(=Augmentation\) is for images"):
        data.training_batches(part, steps, augmentation=data.Augmentation(flip=True), **options)
    assert change.lines()[:2] == [
        "pad by 1 x 0 x 2 voxels and crop",
        "flip along depth, each with probability 1/2",
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spacing": "mean"}, r"spacing \(='mean'\) must be 'median'"),
        ({"spacing": (1, 2)}, r"spacing \(=\(1, 2\)\) must be a positive number, or three"),
        ({"spacing": 0}, r"spacing \(=0\) must be a positive number"),
        ({"size": (4, 5)}, r"size \(=\(4, 5\)\) must be a positive number, or three"),
        ({"size": -4}, r"size \(=-4\) must be a positive number"),
        ({"channels": 3}, r"channels \(=3\) must be those of the volumes, 1"),
    ],
)
def test_what_does_not_fit_volumes_is_one_sentence(options, words, tmp_path: Path) -> None:
    saved(tmp_path, 4)
    part = data.Part(data.open_dataset(tmp_path), np.arange(4))
    with pytest.raises(OptionError, match=words):
        data.fit_preprocessing(part, **options)
    with pytest.raises(DataError, match=r"it would have .* voxels, more than"):
        data.fit_preprocessing(part, spacing=1e-4)


def test_images_take_no_spacing_and_one_side(tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / "ab"[i % 2] / f"{i}.png")
    part = data.Part(data.open_dataset(tmp_path), np.arange(4))
    with pytest.raises(OptionError, match="belongs to volumes, and these are images"):
        data.fit_preprocessing(part, spacing=2)
    with pytest.raises(OptionError, match="must be one number for images"):
        data.fit_preprocessing(part, size=(4, 4, 4))
