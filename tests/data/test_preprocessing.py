"""Preprocessing: fitted on training data, replayed bit for bit from a card."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convarium import data
from convarium.data.samples import ArraySamples
from convarium.errors import DataError, OptionError

RNG = np.random.default_rng(0)


def part_of(images: np.ndarray, ids: list[int] | None = None) -> data.Part:
    n = len(images)
    dataset = data.Dataset(
        ArraySamples(images, [("image", n)]),
        source="made",
        classes=("a", "b"),
        targets=np.arange(n, dtype=np.int64) % 2,
    )
    return data.Part(dataset, np.arange(n) if ids is None else np.array(ids, np.int64))


def plain(shape: tuple[int, int, int]) -> data.Preprocessing:
    return data.Preprocessing(shape, (0.0,) * shape[0], (1.0,) * shape[0])


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_std_are_those_of_the_training_samples_alone(channels: int) -> None:
    images = RNG.integers(0, 256, (20, channels, 7, 5), dtype=np.uint8)
    images[10:] = 255
    fitted = data.fit_preprocessing(part_of(images, [1, 3, 5, 9]))
    chosen = images[[1, 3, 5, 9]].astype(np.float64) / 255
    assert fitted.mean == pytest.approx(chosen.mean(axis=(0, 2, 3)).tolist(), rel=1e-12)
    assert fitted.std == pytest.approx(chosen.std(axis=(0, 2, 3)).tolist(), rel=1e-12)
    assert fitted.input_shape == (channels, 7, 5)
    assert fitted.classes == ("a", "b")


def test_finished_training_inputs_have_mean_0_and_deviation_1() -> None:
    part = part_of(RNG.integers(0, 256, (50, 3, 6, 6), dtype=np.uint8))
    fitted = data.fit_preprocessing(part)
    inputs = next(data.batches(part, fitted, batch_size=50)).inputs[0]
    assert inputs.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert inputs.std(dim=(0, 2, 3), correction=0).sub(1).abs().max() < 1e-5


def test_a_channel_that_never_changes_does_not_divide_by_zero() -> None:
    fitted = data.fit_preprocessing(part_of(np.full((4, 1, 3, 3), 51, np.uint8)))
    assert fitted.mean == pytest.approx((0.2,))
    assert fitted.std == (1.0,)


def test_a_drawn_sample_stands_for_large_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convarium.data.fitting.STATISTICS_SAMPLES", 500)
    images = RNG.integers(0, 256, (2000, 1, 4, 4), dtype=np.uint8)
    fitted = data.fit_preprocessing(part_of(images))
    assert fitted.mean[0] == pytest.approx(images.mean() / 255, abs=0.01)
    assert fitted == data.fit_preprocessing(part_of(images))


def test_the_size_follows_the_images_or_the_argument() -> None:
    part = part_of(np.zeros((2, 1, 9, 7), np.uint8))
    assert data.fit_preprocessing(part).input_shape == (1, 9, 7)
    assert data.fit_preprocessing(part, size=5).input_shape == (1, 5, 5)
    assert data.fit_preprocessing(part, size=(5, 4), channels=3).input_shape == (3, 5, 4)


def test_images_of_several_sizes_get_their_median_short_side(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for i, size in enumerate([(20, 30), (40, 25), (60, 50)]):
        Image.new("RGB", size).save(tmp_path / "a" / f"{i}.png")
    dataset = data.open_dataset(tmp_path)
    assert data.fit_preprocessing(data.Part(dataset, np.arange(3))).input_shape == (3, 25, 25)


@pytest.mark.parametrize("options", [{"size": 0}, {"size": (3, 0)}, {"channels": 2}])
def test_settings_that_cannot_be_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        data.fit_preprocessing(part_of(np.zeros((2, 1, 4, 4), np.uint8)), **options)


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(DataError, match="empty"):
        data.fit_preprocessing(part_of(np.zeros((2, 1, 4, 4), np.uint8), []))


def test_an_image_of_the_input_size_passes_unchanged() -> None:
    image = RNG.integers(0, 256, (8, 6, 3), dtype=np.uint8)
    assert (plain((3, 8, 6)).apply(image).numpy() == image.transpose(2, 0, 1)).all()


def test_resize_is_that_of_the_short_side_and_the_crop_is_central() -> None:
    image = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    whole = Image.fromarray(image).resize((30, 20), Image.Resampling.BILINEAR)
    wanted = np.asarray(whole)[:, 5:25].transpose(2, 0, 1)
    assert (plain((3, 20, 20)).apply(image).numpy() == wanted).all()


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 1), (7, 7), (100, 3), (30, 31)])
@pytest.mark.parametrize("target", [(4, 4), (6, 3), (3, 8), (32, 32)])
def test_every_size_ends_at_the_input_shape(
    shape: tuple[int, int], target: tuple[int, int]
) -> None:
    grey = np.full((*shape, 1), 77, np.uint8)
    out = plain((1, *target)).apply(grey)
    assert out.shape == (1, *target)
    assert (out == 77).all()


def test_a_thin_image_does_not_fill_the_memory() -> None:
    thin = np.zeros((1, 60_000, 1), np.uint8)
    thin[:, 30_000 - 8 : 30_000 + 8] = 200
    out = plain((1, 224, 224)).apply(thin)
    assert out.shape == (1, 224, 224)
    assert (out == 200).all()


@pytest.mark.parametrize("upright", [False, True])
def test_a_long_input_shows_the_whole_of_a_long_image(upright: bool) -> None:
    ramp = np.arange(500) * 255 / 499
    image = np.broadcast_to(np.rint(ramp).astype(np.uint8), (14, 500))[:, :, None]
    wanted = np.interp(np.arange(1000) / 2 - 0.25, np.arange(500), ramp)
    if upright:
        out = plain((1, 1000, 28)).apply(image.transpose(1, 0, 2)).numpy().transpose(0, 2, 1)
    else:
        out = plain((1, 28, 1000)).apply(image).numpy()
    assert out.shape == (1, 28, 1000)
    assert np.abs(out - wanted).max() <= 1


def test_grey_and_colour_are_turned_into_each_other() -> None:
    grey = RNG.integers(0, 256, (4, 4, 1), dtype=np.uint8)
    assert (plain((3, 4, 4)).apply(grey).numpy() == grey[:, :, 0]).all()
    colour = RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    luma = colour.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(plain((1, 4, 4)).apply(colour).numpy()[0] - luma).max() <= 1


def test_finish_by_its_formula_on_every_value() -> None:
    steps = data.Preprocessing((1, 16, 16), (0.3,), (0.25,))
    values = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    wanted = (np.arange(256) / 255 - 0.3) / 0.25
    assert steps.finish(values).flatten().numpy() == pytest.approx(wanted, abs=1e-6)
    assert steps.finish(values).dtype == torch.float32


def test_a_card_replays_the_same_steps() -> None:
    fitted = data.fit_preprocessing(part_of(RNG.integers(0, 256, (9, 3, 5, 5), dtype=np.uint8)))
    card = json.loads(json.dumps({"task": "classification", **fitted.to_card()}))
    replayed = data.Preprocessing.from_card(card)
    assert replayed == fitted
    assert [step["op"] for step in card["preprocessing"]["steps"]] == [
        "decode", "resize", "center_crop", "scale", "normalize",
    ]  # fmt: skip


def test_a_card_with_foreign_or_missing_steps_is_refused() -> None:
    card = plain((1, 4, 4)).to_card()
    card["preprocessing"]["steps"].insert(1, {"op": "sharpen"})
    with pytest.raises(DataError, match="sharpen"):
        data.Preprocessing.from_card(card)
    card = plain((1, 4, 4)).to_card()
    card["preprocessing"]["steps"][1]["interpolation"] = "lanczos"
    with pytest.raises(DataError, match="install the version that wrote it"):
        data.Preprocessing.from_card(card)
    card = plain((1, 4, 4)).to_card()
    card["preprocessing"]["steps"][1]["short_side"] = 5
    with pytest.raises(DataError, match="install the version that wrote it"):
        data.Preprocessing.from_card(card)
    with pytest.raises(DataError, match="incomplete"):
        data.Preprocessing.from_card({"classes": []})


def published(size: int, resize: int, interpolation: str = "bicubic") -> data.Preprocessing:
    return data.Preprocessing(
        (3, size, size), (0.5,) * 3, (0.5,) * 3, resize=resize, interpolation=interpolation
    )


@pytest.mark.parametrize("shape", [(300, 451), (451, 300), (20, 31), (64, 64), (57, 57)])
@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_a_short_side_is_resized_and_the_centre_cut_as_pillow_does(
    shape: tuple[int, int], name: str
) -> None:
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    height, width = (int(64 * side / min(shape)) for side in shape)
    whole = Image.fromarray(image).resize((width, height), Image.Resampling[name.upper()])
    left, top = round((width - 57) / 2), round((height - 57) / 2)
    wanted = np.asarray(whole.crop((left, top, left + 57, top + 57))).transpose(2, 0, 1)
    assert (published(57, 64, name).apply(image).numpy() == wanted).all()


def test_an_image_of_the_input_size_is_still_resized_to_a_longer_short_side() -> None:
    image = RNG.integers(0, 256, (57, 57, 3), dtype=np.uint8)
    assert not published(57, 64).keeps((3, 57, 57))
    assert published(57, 57).keeps((3, 57, 57))
    assert (published(57, 57).apply(image).numpy() == image.transpose(2, 0, 1)).all()
    assert (published(57, 64).apply(image).numpy() != image.transpose(2, 0, 1)).any()


def test_a_card_with_a_short_side_replays_it() -> None:
    for interpolation in ("bilinear", "bicubic"):
        steps = published(57, 64, interpolation)
        assert data.Preprocessing.from_card(json.loads(json.dumps(steps.to_card()))) == steps
    cover = data.Preprocessing((1, 4, 4), (0.0,), (1.0,), interpolation="bicubic")
    assert data.Preprocessing.from_card(cover.to_card()) == cover


def test_kept_pictures_are_made_anew_where_their_pixels_would_differ() -> None:
    part = part_of(RNG.integers(0, 256, (6, 3, 70, 90), dtype=np.uint8))
    steps = [published(57, 64), published(57, 57), published(57, 57, "bilinear")]
    found = [next(data.batches(part, each, batch_size=6)).inputs[0] for each in steps]
    image = part.dataset.samples.read(2)
    for each, inputs in zip(steps, found, strict=True):
        assert torch.equal(inputs[2], each.finish(each.apply(image)[None])[0])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"resize": 56}, "57"), ({"resize": 64.5}, "whole"), ({"interpolation": "area"}, "bicubic")],
)
def test_short_sides_and_filters_that_cannot_be_are_refused(
    changes: dict[str, object], word: str
) -> None:
    with pytest.raises(DataError, match=word):
        dataclasses.replace(published(57, 64), **changes)


@pytest.mark.parametrize(
    ("shape", "mean", "std"),
    [
        ((2, 4, 4), (0.0, 0.0), (1.0, 1.0)),
        ((1, 0, 4), (0.0,), (1.0,)),
        ((3, 4, 4), (0.0,), (1.0,)),
        ((1, 4, 4), (0.0,), (0.0,)),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    shape: tuple[int, int, int], mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    with pytest.raises(DataError):
        data.Preprocessing(shape, mean, std)


def test_one_file_gives_the_same_bits_in_validation_and_in_prediction(tmp_path: Path) -> None:
    for i in range(23):
        noise = RNG.integers(0, 256, (20 + i, 31, 3), dtype=np.uint8)
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "ab"[i % 2] / f"{i:02}.jpg")
    dataset = data.open_dataset(tmp_path)
    everything = data.Part(dataset, np.arange(23))
    fitted = data.fit_preprocessing(everything, size=17)
    replayed = data.Preprocessing.from_card(json.loads(json.dumps(fitted.to_card())))
    inputs = data.open_inputs([tmp_path])
    runs = [
        (everything, fitted, {"batch_size": 7}),
        (everything, fitted, {"batch_size": 23}),
        (inputs, replayed, {"batch_size": 1}),
        (inputs, replayed, {"batch_size": 5, "workers": 2}),
    ]
    found = [
        torch.cat([batch.inputs[0] for batch in data.batches(source, steps, **options)])
        for source, steps, options in runs
    ]
    assert found[0].shape == (23, 3, 17, 17)
    assert all(torch.equal(found[0], other) for other in found[1:])
    alone = fitted.finish(fitted.apply(inputs.read(4))[None])[0]
    assert torch.equal(alone, found[0][4])


@pytest.mark.parametrize(
    "wrong",
    [{"mean": (float("inf"),)}, {"std": (float("nan"),)}, {"resize": 10**9}],
)
def test_numbers_that_no_image_can_use_are_refused(wrong):
    usual = {"input_shape": (1, 8, 8), "mean": (0.5,), "std": (0.5,)}
    with pytest.raises(DataError, match=r"finite|at most 128"):
        data.Preprocessing(**usual | wrong)
