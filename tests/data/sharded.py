"""The same pictures as files, tar archives, Parquet and the library's tables, for tests."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "emu")


def picture(k: int, side: int = 12) -> bytes:
    """A PNG whose brightness tells the class k % 3, and no other of the same pixels."""
    generator = np.random.Generator(np.random.PCG64(k))
    pixels = generator.integers(0, 60, (side, side, 3), dtype=np.uint8) + np.uint8(90 * (k % 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(root: Path, count: int) -> Path:
    """Class folders."""
    for k in range(count):
        file = root / CLASSES[k % 3] / f"{k:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(k))
    return root


def write_tar(file: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    """An archive of (name, content), in the order given."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file


def tar_members(ids: Sequence[int], label: str = "cls") -> list[tuple[str, bytes]]:
    """Members of samples: an image and its label each."""
    members = []
    for k in ids:
        word = CLASSES[k % 3]
        text = word if label == "cls" else json.dumps({"label": word, "at": k})
        members += [(f"{k:04d}.png", picture(k)), (f"{k:04d}.{label}", text.encode())]
    return members


def write_tars(root: Path, count: int, shards: int, prefix: str = "part") -> list[Path]:
    """Archives of consecutive samples."""
    cuts = np.linspace(0, count, shards + 1).astype(int)
    return [
        write_tar(root / f"{prefix}-{s:04d}.tar", tar_members(range(cuts[s], cuts[s + 1])))
        for s in range(shards)
    ]


def table(ids: Sequence[int], **columns: Any) -> Any:
    """The library's data set of samples: an Image and a ClassLabel."""
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=[*CLASSES])}
    )
    rows = {
        "image": [{"bytes": picture(k), "path": None} for k in ids],
        "label": [k % 3 for k in ids],
    }
    made = datasets.Dataset.from_dict(rows, features=features)
    for name, values in columns.items():
        made = made.add_column(name, values)
    return made


def write_parquets(root: Path, count: int, shards: int, prefix: str = "part") -> list[Path]:
    """Parquet files of consecutive samples, in small row groups."""
    import pyarrow.parquet as pq

    root.mkdir(parents=True, exist_ok=True)
    cuts = np.linspace(0, count, shards + 1).astype(int)
    files = []
    for s in range(shards):
        rows = table(range(cuts[s], cuts[s + 1])).with_format("arrow")[:]
        file = root / f"{prefix}-{s:05d}-of-{shards:05d}.parquet"
        pq.write_table(rows, file, row_group_size=5)
        files.append(file)
    return files
