"""Every option resumes bit for bit, and two runs of one seed are the same."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from dying import KillAt, Killed
from PIL import Image

from convarium import data, files, models, train
from convarium.train import TrainConfig

CONFIG = TrainConfig(epochs=3, batch_size=16, learning_rate=2e-3, pad_crop=1, ema=0.9)
OPTIONS = {
    "accumulate": {"accumulate": 3},
    "muon": {"optimizer": "muon"},
    "freezing": {"freeze_epochs": 1, "unfreeze_epochs": 1, "layer_decay": 0.7},
    "weights": {"balance": "weights", "loss": "focal"},
    "sampling": {"balance": "sampling"},
    "one_cycle": {"schedule": "one_cycle", "optimizer": "sgd"},
    "mixing": {"mixup": 0.2, "cutmix": 1.0},
    "augmentation": {
        "resized_crop": 0.5, "rotation": 15.0, "policy": "randaugment", "erasing": 0.5,
    },
    "growing": {"start_size": 0.5, "alternate_flip": True},
    "all at once": {
        "accumulate": 2, "optimizer": "muon", "freeze_epochs": 1, "layer_decay": 0.7,
        "balance": "sampling", "schedule": "one_cycle", "mixup": 0.2, "cutmix": 1.0,
        "policy": "trivialaugment", "jitter": 0.4, "clip_norm": 1.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIONS)
def test_resume_ends_with_the_same_bits_and_so_does_a_second_run(
    name, parts, preprocessing, network, tmp_path
):
    config = dataclasses.replace(CONFIG, **OPTIONS[name])
    often = dataclasses.replace(config, checkpoint_seconds=0.0)

    def fit(folder, config, **options):
        train.fit(
            network(norm="batch"), parts, config, preprocessing=preprocessing,
            out=tmp_path / folder, **options,
        )  # fmt: skip
        return files.sha256(tmp_path / folder / "model.safetensors")

    whole = fit("whole", config)
    assert fit("again", config) == whole
    for step in (4, 6):
        with pytest.raises(Killed):
            fit(f"cut{step}", often, observers=[KillAt(step)])
        torch.manual_seed(99)  # what the process drew in between does not matter
        assert fit(f"cut{step}", config, resume=True) == whole, step


def test_a_run_on_colour_files_in_plain_memory_order_resumes_bit_for_bit(tmp_path):
    colours = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (24, 9, 10, 3), np.uint8)
    for k, pixels in enumerate(colours):
        (tmp_path / "data" / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "data" / "ab"[k % 2] / f"{k}.png")
    parts = data.split(data.open_dataset(tmp_path / "data"), seed=0)
    steps = data.fit_preprocessing(parts.train, size=8)
    config = TrainConfig(epochs=2, batch_size=4, layout="contiguous", checkpoint_seconds=0.0)

    def fit(folder, **options):
        torch.manual_seed(0)
        model = models.create("convnet", num_classes=2, channels=[8])
        train.fit(model, parts, config, preprocessing=steps, out=tmp_path / folder, **options)
        assert all(p.is_contiguous() for p in model.parameters())
        return files.sha256(tmp_path / folder / "model.safetensors")

    whole = fit("whole")
    with pytest.raises(Killed):
        fit("cut", observers=[KillAt(6)])
    assert fit("cut", resume=True) == whole
