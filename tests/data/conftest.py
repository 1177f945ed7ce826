"""A folder of small pictures in two classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(21):
        noise = np.random.default_rng(i).integers(0, 256, (9 + i % 3, 10, 3), dtype=np.uint8)
        (tmp_path / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "ab"[i % 2] / f"{i:02}.png")
    return tmp_path
