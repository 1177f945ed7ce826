"""What the tests of training share: a small data set that can be learnt, and a small network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from convarium import data, models


@pytest.fixture
def parts(tmp_path):
    """Three textures: rows, columns, and neither."""
    generator = np.random.Generator(np.random.PCG64(0))
    targets = np.arange(90) % 3
    images = generator.integers(0, 60, (90, 8, 8), dtype=np.uint8)
    images[targets == 0, ::2] += 190
    images[targets == 1, :, ::2] += 190
    np.savez(tmp_path / "bars.npz", x=images, y=targets)
    return data.split(data.open_dataset(tmp_path / "bars.npz"), seed=0)


@pytest.fixture
def preprocessing(parts):
    return data.fit_preprocessing(parts.train)


@pytest.fixture
def network() -> Callable[..., nn.Module]:
    """Builds the network, each time with the same weights."""

    def build(dropout: float = 0.2, **options) -> nn.Module:
        torch.manual_seed(0)
        shape = {"in_channels": 1, "num_classes": 3, "channels": [8, 8], "kernel_sizes": [3, 3]}
        return models.create("convnet", **{**shape, "dropout": dropout, **options})

    return build
