"""Vectors of very many inputs, or answers, as a folder of Parquet files that can be gone on with.

    inputs -> shards of 100,000, in their order -> part-00000.parquet, part-00001.parquet, ...

A shard gets its name when it is whole, so that what is there need not be made again; shard i is the
work of process i modulo their number, and no process waits for another. `_embedding.json` or
`_answers.json` says what the folder holds. Memory holds one batch, whatever the number of inputs.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from convarium import files
from convarium.data import Dataset, Part, Skipped
from convarium.data.samples import FileSamples
from convarium.errors import DataError, OptionError, RunError
from convarium.predict.predictor import Predictor
from convarium.predict.tables import write_table
from convarium.predict.vectors import ABOUT, check_type, write_vectors
from convarium.processes import ALONE, World
from convarium.progress import Progress

ANSWERS: Final = "_answers.json"  # in a folder of answers: what they are of


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
        RunError: the folder holds the vectors of other inputs or of another network, or the
            processes have different ones.
    """
    check_type(dtype)
    length = int(getattr(predictor.forward, "num_features", 0))

    def write(path: Path, some: Part, skipped: list[Skipped]) -> None:
        pairs = predictor.embedded(some, batch_size=batch_size, workers=workers, skipped=skipped)
        write_vectors(path, dataset, pairs, dtype=dtype, length=length)

    told = {"length": length, "dtype": dtype, **about}
    job = _Job(Path(folder), dataset, shard, ABOUT, told)
    skipped = job.run(write, progress, world)
    return len(dataset) - len(skipped), length, skipped


def write_records(
    folder: str | Path,
    dataset: Dataset,
    predictor: Predictor,
    about: Mapping[str, Any],
    *,
    shard: int = 100_000,
    batch_size: int = 256,
    workers: int = 0,
    progress: Progress | None = None,
    world: World = ALONE,
) -> tuple[int, list[Skipped]]:
    """Write answers as shards, those that are missing; gives (rows, what could not be read) of all.

    Each row has the input's name before what the record says.

    Args:
        folder: is made, or gone on with.
        dataset: the inputs.
        predictor: answers.
        about: what tells the network and its form from others, as JSON.
        shard: inputs of a file.
        batch_size: samples at once.
        workers: threads that decode ahead.
        progress: advanced by each shard of this process.
        world: the processes that share the work.

    Raises:
        OptionError: a shard of no input.
        RunError: the folder holds the answers for other inputs or of another network, or the
            processes have different ones.
    """

    def write(path: Path, some: Part, skipped: list[Skipped]) -> None:
        records = predictor.records(some, batch_size=batch_size, workers=workers, skipped=skipped)
        rows = ({"name": dataset.name(each.id), **each.columns()} for each in records)
        first = next(rows, None)
        if first is not None:
            write_table(path, itertools.chain([first], rows))

    skipped = _Job(Path(folder), dataset, shard, ANSWERS, about).run(write, progress, world)
    return len(dataset) - len(skipped), skipped


class _Job:
    """The shards of a folder.

    Args:
        folder: is made, or gone on with.
        dataset: the inputs.
        shard: inputs of a file.
        name: of the file that says what the folder holds.
        about: what tells this job from others, as JSON.
    """

    def __init__(
        self, folder: Path, dataset: Dataset, shard: int, name: str, about: Mapping[str, Any]
    ) -> None:
        if shard < 1:
            raise OptionError(f"shard (={shard}) must be 1 or more.")
        self.folder, self.dataset, self.shard, self.name = folder, dataset, shard, name
        self.starts = range(0, len(dataset), shard)
        sizes = {"n": len(dataset), "shard": shard, "shards": len(self.starts)}
        self.told = {"format_version": 1, **sizes, "inputs": _digest(dataset), **about}

    def run(
        self,
        write: Callable[[Path, Part, list[Skipped]], None],
        progress: Progress | None,
        world: World,
    ) -> list[Skipped]:
        """Write the shards of this process that are not there; gives what of all was skipped."""
        _check_alike(world.gather(self.told))
        if world.first:
            _begin(self.folder, self.name, self.told)
        world.gather(None)  # the others begin when the folder is there
        for number in range(world.rank, len(self.starts), world.size):
            start = self.starts[number]
            ids = np.arange(start, min(start + self.shard, len(self.dataset)))
            path = self.folder / _name(number)
            if not _is_there(path, len(ids)):
                skipped: list[Skipped] = []
                write(path, Part(self.dataset, ids), skipped)
                files.write_jsonl(_list_of(path), [item._asdict() for item in skipped])
            if progress is not None:
                progress.advance(len(ids))
        world.gather(None)
        lists = [_list_of(self.folder / _name(k)) for k in range(len(self.starts))]
        rows = [row for each in lists for row in files.read_jsonl(each)]
        return [Skipped(row["name"], row["reason"]) for row in rows]


def _name(number: int) -> str:
    return f"part-{number:05}.parquet"


def _is_there(path: Path, count: int) -> bool:
    """Whether a shard is whole: it is listed, as the last thing, what of it could not be read.

    A shard of which nothing could be read may have no file.
    """
    if not _list_of(path).exists():
        return False
    return path.exists() or len(list(files.read_jsonl(_list_of(path)))) == count


def _list_of(path: Path) -> Path:
    """Where it is listed what of a shard could not be read; readers of Parquet pass it over."""
    return path.with_name(f"_{path.stem}.skipped.jsonl")


def _begin(folder: Path, name: str, told: Mapping[str, Any]) -> None:
    """Say what the folder is to hold, unless it says so already.

    What an older folder does not say cannot differ; it was not of reduced pictures.
    """
    path = folder / name
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise RunError(f"{folder} holds something else; choose another name.")
        files.write_json(path, dict(told))
        return
    before = {"reduced": False, **files.read_json(path)}
    differing = [name for name in told if name in before and before[name] != told[name]]
    if differing:
        name = differing[0]
        raise RunError(
            f"{folder} was begun with {name} {before[name]!r}, which is {told[name]!r} now; "
            "choose another folder, or give the same again."
        )


def _check_alike(told: Sequence[Mapping[str, Any]]) -> None:
    """Refuse processes that would write other things into one folder.

    Raises:
        RunError: the job of one of them differs from that of the first.
    """
    for rank, own in enumerate(told):
        for name in own:
            if own[name] != told[0].get(name):
                raise RunError(
                    f"Process {rank} of {len(told)} has {name} {own[name]!r} where the first has "
                    f"{told[0].get(name)!r}; give all of them the same inputs and the same run, "
                    "tuned alike."
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
