"""Training from the cache: made once, the same again, refused where it means nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from convarium import data, models, train
from convarium.errors import OptionError

CONFIG = train.TrainConfig(epochs=2, batch_size=8, resized_crop=0.3, seed=1)


@pytest.fixture
def photos(tmp_path):
    """Two textures as PNG files of several sizes."""
    for k in range(40):
        folder = tmp_path / "photos" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        y, x = np.mgrid[: 30 + k % 5, : 40 + k % 7]
        plane = (x if k % 2 else y) * (20 + k) % 256
        Image.fromarray(np.stack([plane] * 3, -1).astype(np.uint8)).save(folder / f"{k}.png")
    return tmp_path / "photos"


def weights(photos, config) -> dict[str, torch.Tensor]:
    """What a small network has learnt from the files."""
    parts = data.split(data.open_dataset(photos), seed=0)
    steps = data.fit_preprocessing(parts.train, size=16)
    torch.manual_seed(0)
    model = models.create("convnet", num_classes=2, channels=[8, 8])
    train.fit(model, parts, config, preprocessing=steps)
    return model.state_dict()


def test_the_cache_is_made_once_and_gives_the_same_training_again(photos, tmp_path):
    config = dataclasses.replace(CONFIG, cache=str(tmp_path / "cache"))
    first = weights(photos, config)
    (pack,) = (tmp_path / "cache").glob("pack-18-*")
    made = (pack / "pixels.bin").stat().st_mtime_ns
    again = weights(photos, config)
    assert (pack / "pixels.bin").stat().st_mtime_ns == made
    assert all(torch.equal(first[name], again[name]) for name in first)
    plain = weights(photos, CONFIG)
    assert any(not torch.equal(first[name], plain[name]) for name in first)  # smaller pictures


def test_a_cache_without_crops_is_refused(photos, tmp_path):
    config = dataclasses.replace(CONFIG, resized_crop=None, cache=str(tmp_path / "cache"))
    with pytest.raises(OptionError, match="set resized_crop too, or leave it out"):
        weights(photos, config)
    assert not (tmp_path / "cache").exists()
