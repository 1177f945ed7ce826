"""Vectors of very many inputs as a folder of Parquet files; a job that was stopped goes on.

    inputs -> shards of 100,000, in their order -> part-00000.parquet, part-00001.parquet, ...

A shard gets its name when it is whole, so that what is there need not be made again; shard i is the
work of process i modulo their number, and no process waits for another. `_embedding.json` says what
the folder holds. Memory holds one batch of vectors, whatever the number of inputs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from convarium import files
from convarium.data import Dataset, Part, Skipped
from convarium.data.samples import FileSamples
from convarium.errors import DataError, OptionError, RunError
from convarium.predict.predictor import Predictor
from convarium.predict.vectors import ABOUT, check_type, write_vectors
from convarium.processes import ALONE, World
from convarium.progress import Progress


def write_shards(
    folder: str | Path,
    dataset: Dataset,
    predictor: Predictor,
    about: Mapping[str, Any],
    *,
    shard: int = 100_000,
    dtype: str = "float32",
    batch_size: int = 256,
    workers: int = 0,
    progress: Progress | None = None,
    world: World = ALONE,
) -> tuple[int, int, list[Skipped]]:
    """Write the shards that are missing; gives (rows, length, what could not be read) of all.

    Args:
        folder: is made, or gone on with.
        dataset: the inputs.
        predictor: of a network with `embed`.
        about: what tells the network from others, as JSON.
        shard: inputs of a file.
        dtype: "float32", or "float16" for half the size.
        batch_size: samples at once.
        workers: threads that decode ahead.
        progress: advanced by each shard of this process.
        world: the processes that share the work.

    Raises:
        OptionError: another type, or a shard of no input.
        RunError: the folder holds the vectors of other inputs or of another network.
    """
    check_type(dtype)
    if shard < 1:
        raise OptionError(f"shard (={shard}) must be 1 or more.")
    folder, starts = Path(folder), range(0, len(dataset), shard)
    length = int(getattr(predictor.forward, "num_features", 0))
    told: dict[str, Any] = {"format_version": 1, "n": len(dataset), "shard": shard}
    told |= {"shards": len(starts), "length": length, "dtype": dtype}
    told |= {"inputs": _digest(dataset), **about}
    if world.first:
        _begin(folder, told)
    world.gather(None)  # the others begin when the folder is there
    for number in range(world.rank, len(starts), world.size):
        ids = np.arange(starts[number], min(starts[number] + shard, len(dataset)))
        path = folder / _name(number)
        if not (path.exists() and _list_of(path).exists()):
            skipped: list[Skipped] = []
            some = Part(dataset, ids)
            pairs = predictor.embedded(
                some, batch_size=batch_size, workers=workers, skipped=skipped
            )
            write_vectors(path, dataset, pairs, dtype=dtype, length=length)
            files.write_jsonl(_list_of(path), [item._asdict() for item in skipped])
        if progress is not None:
            progress.advance(len(ids))
    world.gather(None)
    return _finished(folder, len(starts), len(dataset), length)


def _name(number: int) -> str:
    return f"part-{number:05}.parquet"


def _list_of(path: Path) -> Path:
    """Where it is listed what of a shard could not be read; readers of Parquet pass it over."""
    return path.with_name(f"_{path.stem}.skipped.jsonl")


def _begin(folder: Path, told: Mapping[str, Any]) -> None:
    """Say what the folder is to hold, unless it says so already."""
    path = folder / ABOUT
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise RunError(f"{folder} holds something else; choose another name.")
        files.write_json(path, dict(told))
        return
    before = files.read_json(path)
    differing = [name for name in told if before.get(name) != told[name]]
    if differing:
        name = differing[0]
        raise RunError(
            f"{folder} was begun with {name} {before.get(name)!r}, which is {told[name]!r} now; "
            "choose another folder, or give the same again."
        )


def _digest(dataset: Dataset) -> str:
    """BLAKE2b over the names, and over what is in memory, or the size and time of each file."""
    state = hashlib.blake2b(digest_size=16)
    for i in range(len(dataset)):
        state.update(dataset.name(i).encode("utf-8", "surrogatepass") + b"\n")
        state.update(_content(dataset, i) + b"\n")
    told = getattr(dataset.samples, "file_facts", None)  # of shards, whose samples are no files
    state.update(b"" if told is None else told())
    return state.hexdigest()


def _content(dataset: Dataset, i: int) -> bytes:
    """What tells a sample from another of the same name."""
    try:
        if dataset.kind == "texts" and dataset.in_memory:
            text: str = dataset.read(i)
            return text.encode("utf-8", "surrogatepass")
        if dataset.in_memory:
            return str(dataset.samples.facts(i).digest).encode()
        if isinstance(dataset.samples, FileSamples):
            status = os.stat(dataset.samples.encoded(i))
            return f"{status.st_size} {status.st_mtime_ns}".encode()
    except (DataError, OSError):  # it is skipped, and listed
        return b"-"
    return b""


def _finished(folder: Path, shards: int, n: int, length: int) -> tuple[int, int, list[Skipped]]:
    """Rows and skipped inputs of all shards."""
    rows = [
        row
        for number in range(shards)
        for row in files.read_jsonl(_list_of(folder / _name(number)))
    ]
    skipped = [Skipped(row["name"], row["reason"]) for row in rows]
    return n - len(skipped), length, skipped
