"""What `convarium train` says before it trains."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import torch
from PIL import Image

from convarium import data, models, train
from convarium.cli.announcing import announce
from convarium.cli.choosing import Prepared
from convarium.train import from_config


@pytest.fixture
def ready(tmp_path):
    """A few files, of which anything may be trained."""
    for k in range(24):
        (tmp_path / "ab"[k % 2]).mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), k, np.uint8)).save(tmp_path / "ab"[k % 2] / f"{k}.png")
    parts = data.split(data.open_dataset(tmp_path), seed=0)
    choice = train.recommend(parts.train.dataset)
    model = models.create("convnet", in_channels=1, num_classes=2, channels=[4])
    return Prepared(choice, parts, data.fit_preprocessing(parts.train), model)


@pytest.mark.parametrize(
    ("device", "workers", "told"),
    [("cuda", 1, True), ("cuda", 8, False), ("cpu", 1, False)],
)
def test_few_threads_beside_a_gpu_are_noted(ready, device, workers, told, monkeypatch, capsys):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(from_config, "device_named", lambda _: torch.device(device))
    config = dataclasses.replace(ready.choice.config, workers=workers)
    announce(dataclasses.replace(ready, choice=dataclasses.replace(ready.choice, config=config)))
    note = "note: --workers is 1 and there are 8 processors; where the GPU waits for images"
    assert (note in capsys.readouterr().out) == told


def test_members_that_share_the_rows_are_told(ready, capsys):
    announce(ready)
    assert "members:" not in capsys.readouterr().out
    ready.model.config["members"] = 3
    announce(ready)
    assert "members: 3 networks share the rows; where neither" in capsys.readouterr().out
