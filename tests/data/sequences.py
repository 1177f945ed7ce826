"""Series that tests write: shapes that tell two or three classes apart, and .ts files of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NAMES = ("down", "flat", "up")


def waves(
    count: int, length: int = 30, channels: int = 1, seed: int = 0, classes: int = 2
) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Series of ramps with noise, of unequal lengths where `length` is below 0."""
    random = np.random.default_rng(seed)
    found, labels = [], []
    for i in range(count):
        steps = length if length > 0 else int(random.integers(-length // 2, -length))
        slope = (-1, 1)[i % 2] if classes == 2 else (i % 3) - 1
        ramp = slope * np.linspace(-2, 2, steps)
        found.append(ramp + random.normal(0, 0.5, (channels, steps)))
        labels.append(NAMES[slope + 1])
    return found, labels


def write_ts(path: Path, series: list[NDArray[np.float64]], labels: list[str], **header) -> Path:
    """A .ts file; NaN is written as a question mark."""
    said = {"problemName": path.stem, "timeStamps": "false", **header}
    said.setdefault("classLabel", "true " + " ".join(sorted(set(labels))))
    lines = [f"@{key} {value}" for key, value in said.items()] + ["@data"]
    for values, label in zip(series, labels, strict=True):
        channels = (
            ",".join("?" if np.isnan(v) else repr(float(v)) for v in each) for each in values
        )
        lines.append(":".join([*channels, label]))
    path.write_text("# made for a test\n" + "\n".join(lines) + "\n")
    return path


def write_pair(folder: Path, name: str = "Ramps", **options) -> Path:
    """NAME_TRAIN.ts and NAME_TEST.ts in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_ts(folder / f"{name}_TRAIN.ts", *waves(24, seed=1, **options))
    write_ts(folder / f"{name}_TEST.ts", *waves(12, seed=2, **options))
    return folder
