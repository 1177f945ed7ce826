"""`--time-budget` on images of files: sizes that would not fit are not even looked at."""

from __future__ import annotations

import types

import numpy as np
import pytest
from PIL import Image

from convarium import files, train
from convarium.cli import main
from convarium.train.learner import Learner

SMALL = ["--model", "convnet", "--option", "channels=[2]", "--option", "kernel_sizes=[3]"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Forty pictures of two classes, whose short sides are 96 and more; 28 of them train."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for i in range(40):
        place = folder / f"class{i % 2}" / f"{i}.png"
        place.parent.mkdir(exist_ok=True)
        pixels = generator.integers(0, 256, (96 + i % 3, 100, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place)
    return str(folder)


@pytest.fixture
def looked(monkeypatch, request):
    """Sides of the inputs of all steps; a step at 96 pixels takes a second, and nothing else any.

    Half an epoch is a step, and a look takes two epochs. With `by_pixels` off, a step takes a
    second at any side, as where decoding bounds it.
    """
    clock, sides, gradient = types.SimpleNamespace(now=0.0), [], Learner.gradient
    by_pixels = getattr(request, "param", True)
    clock.monotonic = clock.perf_counter = lambda: clock.now

    def timed(learner, batch, **keywords):
        sides.append(batch.inputs[0].shape[-1])
        clock.now += (sides[-1] / 96) ** 2 if by_pixels else 1.0
        return gradient(learner, batch, **keywords)

    monkeypatch.setattr(Learner, "gradient", timed)
    for module in ("cli.train", "cli.in_time", "train.budget"):
        monkeypatch.setattr(f"convarium.{module}.time", clock)
    return sides


@pytest.mark.parametrize(
    ("seconds", "side", "epochs"),
    [
        (9.0, 48, 5),  # 8.73 - .9 - 4 - 1 for epochs of .5
        (6.0, 32, 3),  # 5.82 - .6 - 4 - .444 for epochs of .222
    ],
)
def test_images_get_as_small_as_five_epochs_need(photos, looked, tmp_path, seconds, side, epochs):
    out = tmp_path / "run"
    words = ["train", photos, *SMALL, "--batch-size", "14", "--out", str(out), "--json"]
    assert main([*words, "--time-budget", f"{seconds}s"]) == 0
    assert looked[:8] == [96] * 4 + [side] * 4
    assert set(looked[8:]) == {side}
    assert train.read_settings(out)["train"]["epochs"] == epochs
    assert files.read_json(out / "card.json")["preprocessing"]["steps"][2]["size"] == [side, side]


@pytest.mark.parametrize("looked", [False], indirect=True)
@pytest.mark.parametrize(
    ("seconds", "epochs"),
    [
        (16.0, 2),  # 15.52 - 1.6 - 4 for epochs of 2 are four, and after one more look two
        (13.0, 1),  # 12.61 - 1.3 - 4, likewise
    ],
)
def test_images_that_are_no_quicker_stay_as_large(photos, looked, tmp_path, seconds, epochs):
    out = tmp_path / "run"
    words = ["train", photos, *SMALL, "--batch-size", "14", "--out", str(out), "--json"]
    assert main([*words, "--time-budget", f"{seconds}s"]) == 0
    assert looked[:4] + looked[8:] == [96] * (4 + 2 * epochs)
    assert max(looked[4:8]) < 96
    assert train.read_settings(out)["train"]["epochs"] == epochs


def test_a_time_too_short_for_the_smallest_images_is_refused(photos, looked, tmp_path, capsys):
    words = ["train", photos, *SMALL, "--batch-size", "14", "--out", str(tmp_path / "run")]
    assert main([*words, "--time-budget", "4.5s"]) == 2
    assert "too short for one epoch" in capsys.readouterr().err
    assert looked == [96] * 4 + [32] * 4
    assert not (tmp_path / "run").exists()
