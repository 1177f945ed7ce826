"""Augmented training batches: from the original picture to the mixed batch, alone and in ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made import arrays, plain, whole
from PIL import Image

from convarium import data
from convarium.data.augment.crops import CropDraws
from convarium.data.augment.stream import Stream
from convarium.data.samples import ArraySamples, FileSamples
from convarium.errors import OptionError

AUGMENTATION = data.Augmentation(flip=True, pad_crop=2)
EVERYTHING = data.Augmentation(
    flip=True,
    pad_crop=1,
    resized_crop=0.3,
    jitter=0.4,
    grey=0.2,
    rotation=15,
    policy="randaugment",
    erasing=0.5,
    mixup=0.4,
    cutmix=1.0,
)


def test_flips_that_alternate_show_every_image_both_ways_in_two_epochs() -> None:
    pixels = torch.arange(40 * 3 * 2 * 5).view(40, 3, 2, 5).to(torch.uint8)
    change = data.Augmentation(flip=True, alternate_flip=True)
    seen = [change.change(pixels, Stream(np.arange(40), 7, epoch)) for epoch in (4, 5, 6)]
    mirrored = [(each == pixels.flip(3)).flatten(1).all(1) for each in seen]
    kept = [(each == pixels).flatten(1).all(1) for each in seen]
    assert torch.equal(mirrored[0], kept[1])
    assert torch.equal(kept[0], mirrored[1])
    assert torch.equal(mirrored[0], mirrored[2])
    assert 0 < int(mirrored[0].sum()) < 40


def augmented(
    part: data.Part, steps: data.Preprocessing, augmentation: data.Augmentation, **changed: int
) -> list[data.Batch]:
    options = {"batch_size": 4, "seed": 3, "epoch": 5, **changed}
    return list(data.training_batches(part, steps, augmentation=augmentation, **options))


def tensors(batch: data.Batch) -> list[torch.Tensor]:
    assert batch.target is not None
    mixed = [] if batch.mix is None else [batch.mix.target, batch.mix.share]
    return [*batch.inputs, batch.target, batch.index, *mixed]


def equal(one: list[data.Batch], two: list[data.Batch]) -> bool:
    return len(one) == len(two) and all(
        torch.equal(a, b)
        for first, second in zip(one, two, strict=True)
        for a, b in zip(tensors(first), tensors(second), strict=True)
    )


@given(
    n=st.integers(2, 40),
    batch_size=st.integers(2, 17),
    world=st.integers(1, 5),
    augmentation=st.sampled_from(
        [EVERYTHING, data.Augmentation(mixup=0.2), data.Augmentation(cutmix=1.0), AUGMENTATION]
    ),
)
def test_the_ranks_together_have_exactly_the_batch_of_one_process(
    n: int, batch_size: int, world: int, augmentation: data.Augmentation
) -> None:
    part, steps = whole(arrays(n, (3, 6, 5))), plain((3, 6, 5))
    alone = augmented(part, steps, augmentation, batch_size=batch_size)
    ranks = [
        augmented(part, steps, augmentation, batch_size=batch_size, rank=rank, world=world)
        for rank in range(world)
    ]
    assert {len(batches) for batches in ranks} == {len(alone)}
    for k, batch in enumerate(alone):
        sizes = [len(batches[k]) for batches in ranks]
        assert 1 not in sizes  # which a batch norm could not use
        assert max(sizes) - min(sizes) <= 3
        slices = zip(*(tensors(batches[k]) for batches in ranks), strict=True)
        for together, wanted in zip(map(torch.cat, slices), tensors(batch), strict=True):
            assert torch.equal(together, wanted)


def test_all_of_it_is_the_same_with_any_number_of_workers_and_from_any_start(folder: Path) -> None:
    steps = data.Preprocessing((3, 8, 8), (0.5,) * 3, (0.5,) * 3)
    first = augmented(whole(data.open_dataset(folder)), steps, EVERYTHING)
    assert all(batch.mix is not None for batch in first)
    for workers in (0, 1, 3):
        part = whole(data.open_dataset(folder))
        assert equal(first, augmented(part, steps, EVERYTHING, workers=workers))
        assert equal(first[2:], augmented(part, steps, EVERYTHING, workers=workers, start=2))


@pytest.mark.parametrize("room", [0, 1000, 2**31])
def test_crops_come_from_the_originals_whether_kept_or_not(
    folder: Path, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convarium.data.pictures.MEMORY_BUDGET", room)
    steps = data.Preprocessing((3, 8, 8), (0.0,) * 3, (1.0,) * 3)
    dataset = data.open_dataset(folder)
    crop = data.Augmentation(resized_crop=0.2)
    for epoch in (0, 1):
        for batch in augmented(whole(dataset), steps, crop, epoch=epoch):
            draws = CropDraws(Stream(batch.index.numpy(), 3, epoch), 0.2)
            for place, i in enumerate(batch.index.tolist()):
                image = dataset.read(i)
                top, left, height, width = draws.box(place, *image.shape[:2])
                cut = Image.fromarray(image).crop((left, top, left + width, top + height))
                wanted = np.asarray(cut.resize((8, 8), Image.Resampling.BILINEAR))
                found = batch.inputs[0][place].mul(255).round().numpy().transpose(1, 2, 0)
                assert np.abs(found - wanted).max() <= 1  # torch and Pillow round apart


def test_crops_of_large_files_come_from_a_reduced_scale_that_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    y, x = np.mgrid[:120, :160]
    smooth = np.stack([x, y, (x + y) // 2], -1).astype(np.uint8)
    for k in range(4):
        (tmp_path / "ab"[k % 2]).mkdir(exist_ok=True)
        Image.fromarray(smooth).save(tmp_path / "ab"[k % 2] / f"{k}.jpg", quality=95)
    asked = []
    read = FileSamples.read

    def spied(self, i, at_least=None):
        asked.append((at_least, read(self, i, at_least).shape[:2]))
        return read(self, i, at_least)

    steps = data.Preprocessing((3, 8, 8), (0.0,) * 3, (1.0,) * 3)
    crop = data.Augmentation(resized_crop=0.2)
    kept = augmented(whole(data.open_dataset(tmp_path)), steps, crop)
    monkeypatch.setattr("convarium.data.pictures.MEMORY_BUDGET", 1000)
    dataset = data.open_dataset(tmp_path)
    dataset.survey()
    monkeypatch.setattr(FileSamples, "read", spied)
    found = augmented(whole(dataset), steps, crop)
    assert all(s[0] >= w[0] and s[1] >= w[1] for w, s in asked)
    assert sum(sides < (120, 160) for _, sides in asked) > len(asked) / 2
    for one, other in zip(kept, found, strict=True):
        assert (one.inputs[0] - other.inputs[0]).abs().mean() < 3 / 255


def test_originals_that_fit_are_read_once(folder: Path) -> None:
    dataset = data.open_dataset(folder)
    steps = data.Preprocessing((3, 8, 8), (0.5,) * 3, (0.5,) * 3)
    crop = data.Augmentation(resized_crop=0.2)
    first = augmented(whole(dataset), steps, crop)
    for file in folder.rglob("*.png"):
        file.unlink()
    assert equal(first, augmented(whole(dataset), steps, crop))


def test_arrays_are_cropped_at_their_own_size() -> None:
    dataset = arrays(6, (3, 40, 30))
    batch = augmented(whole(dataset), plain((3, 4, 4)), data.Augmentation(resized_crop=1.0))[0]
    draws = CropDraws(Stream(batch.index.numpy(), 3, 5), 1.0)
    steps = plain((3, 4, 4))
    for place, i in enumerate(batch.index.tolist()):
        top, left, height, width = draws.box(place, 40, 30)
        cut = Image.fromarray(dataset.read(i)).crop((left, top, left + width, top + height))
        pixels = np.array(cut.resize((4, 4), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        apart = batch.inputs[0][place] - steps.finish(torch.from_numpy(pixels))
        assert apart.abs().max() <= 1.01 / 255 / 0.5  # one of 255 levels, normalised


def test_a_mixed_batch_is_the_unmixed_one_with_its_neighbours() -> None:
    part = whole(arrays(23, (1, 6, 6)))
    clean = augmented(part, plain((1, 6, 6)), data.Augmentation(flip=True), batch_size=7)
    mixed = augmented(part, plain((1, 6, 6)), data.Augmentation(flip=True, mixup=0.3), batch_size=7)
    for before, after in zip(clean, mixed, strict=True):
        assert before.target is not None
        assert after.mix is not None
        partner = torch.tensor([i ^ 1 if i ^ 1 < len(before) else i for i in range(len(before))])
        share = after.mix.share.view(-1, 1, 1, 1)
        wanted = share * before.inputs[0] + (1 - share) * before.inputs[0][partner]
        assert torch.allclose(after.inputs[0], wanted, atol=1e-6)
        assert torch.equal(after.target, before.target)
        assert torch.equal(after.mix.target, before.target[partner])
    shares = {batch.mix.share[0].item() for batch in mixed if batch.mix}
    assert len(shares) == len(mixed)


def test_erased_pixels_have_the_mean_colour() -> None:
    images = np.full((40, 3, 16, 16), 255, np.uint8)
    samples = ArraySamples(images, [("image", 40)])
    dataset = data.Dataset(samples, source="made", classes=("a",), targets=np.zeros(40, np.int64))
    steps = data.Preprocessing((3, 16, 16), (0.2, 0.4, 0.6), (0.5,) * 3)
    batch = augmented(whole(dataset), steps, data.Augmentation(erasing=1.0), batch_size=40)[0]
    raw = batch.inputs[0] * 0.5 + torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1)
    gone = (raw[:, 0] - 0.2).abs() < 1e-6
    assert gone.flatten(1).any(1).all()
    for channel, mean in enumerate((0.2, 0.4, 0.6)):
        assert torch.allclose(raw[:, channel][gone], torch.tensor(mean))
        assert torch.allclose(raw[:, channel][~gone], torch.tensor(1.0))


def test_samples_without_labels_cannot_be_mixed() -> None:
    dataset = arrays(4)
    dataset.targets = None
    with pytest.raises(OptionError, match="need labels"):
        augmented(whole(dataset), plain(), data.Augmentation(mixup=0.2))
    plainly = data.training_batches(whole(dataset), plain(), batch_size=4, seed=0, epoch=0)
    assert next(plainly).target is None


@pytest.mark.parametrize("options", [{"rank": 1}, {"rank": -1}, {"world": 0}])
def test_ranks_that_cannot_be_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="rank"):
        augmented(whole(arrays(4)), plain(), AUGMENTATION, **options)
