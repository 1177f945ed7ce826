"""Every option resumes bit for bit, and two runs of one seed are the same."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from dying import KillAt, Killed

from convarium import files, train
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
